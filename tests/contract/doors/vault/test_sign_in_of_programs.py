"""Roles and their secret ids: what could not be used later is refused at once, and no use is taken in vain (K6, K11)."""

import shutil
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from strongroom.errors import StorageError
from strongroom.node import opening
from strongroom.services.service_keys.tokens import MAX_METADATA, MAX_POLICIES
from tests.support.vault_edges import BY, Edge, Said, edge

ROLE = "auth/approle/role"


@pytest.fixture(scope="module")
def door(pristine_node: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Edge]:
    home = Path(shutil.copytree(pristine_node, tmp_path_factory.mktemp("roles") / "node"))
    with closing(opening.open_node(str(home))) as node, edge(node) as found:
        yield found


def sign_in(door: Edge, role_id: str, secret_id: str) -> Said:
    body = {"role_id": role_id, "secret_id": secret_id}
    return door.call("auth/approle/login", body, token="none")


def role(door: Edge, name: str, **options: Any) -> str:
    assert door.call(f"{ROLE}/{name}", options).status == 204
    found: str = door.call(f"{ROLE}/{name}/role-id", method="GET").json["data"]["role_id"]
    return found


def secret_id(door: Edge, name: str, **options: Any) -> str:
    said = door.call(f"{ROLE}/{name}/secret-id", options)
    assert said.status == 200, said
    found: str = said.json["data"]["secret_id"]
    return found


def test_a_role_may_have_any_name(door: Edge) -> None:
    """A role `login` was made by nobody: its path was taken for a sign-in, which has no caller."""
    role_id = role(door, "login", token_policies="app")
    assert sign_in(door, role_id, secret_id(door, "login")).status == 200
    assert door.call(f"{ROLE}/login", {}, token="none").status == 403
    assert door.call(f"{ROLE}/login", method="GET", token="none").status == 403
    assert door.call(f"{ROLE}/login", method="DELETE").status == 204
    assert door.call("auth/nowhere/login", {}, token="none").status == 404


@pytest.mark.parametrize(
    "options",
    [
        {"token_policies": ["a b"]},
        {"token_policies": "a/b"},
        {"token_policies": ["p" * 129]},
        {"token_policies": [f"p{number}" for number in range(MAX_POLICIES)]},
    ],
    ids=["space", "slash", "long", "many"],
)
def test_policies_that_no_token_can_have_are_refused_when_the_role_is_written(
    door: Edge, options: dict[str, Any]
) -> None:
    """The role was taken, and every sign-in with it refused."""
    assert door.call(f"{ROLE}/later", options).status == 400
    assert door.call(f"{ROLE}/later", method="GET").status == 404


@pytest.mark.parametrize("name", ["allowed_policies", "disallowed_policies"])
def test_so_are_those_of_a_role_of_tokens(door: Edge, name: str) -> None:
    assert door.call("auth/token/roles/later", {name: ["a b"]}).status == 400
    assert door.call("auth/token/roles/later", method="GET").status == 404


def test_as_many_policies_as_a_token_has_are_taken(door: Edge) -> None:
    policies = [f"p{number}" for number in range(MAX_POLICIES - 1)]
    role_id = role(door, "many", token_policies=policies)
    assert sign_in(door, role_id, secret_id(door, "many")).status == 200


def test_metadata_that_no_token_can_have_are_refused_with_the_secret_id(door: Edge) -> None:
    """The secret id was given out, and every sign-in with it refused; the tokens say the role's name as well."""
    role_id = role(door, "told")
    for metadata in (
        {f"m{number}": "" for number in range(MAX_METADATA)},
        {"a": "b" * 513},
        {"a" * 513: "b"},
    ):
        said = door.call(f"{ROLE}/told/secret-id", {"metadata": metadata})
        assert said.status == 400, said
    most = {f"m{number}": "b" * 512 for number in range(MAX_METADATA - 1)}
    said = sign_in(door, role_id, secret_id(door, "told", metadata=most))
    assert (said.status, len(said.json["auth"]["metadata"])) == (200, MAX_METADATA)


def test_no_use_of_a_secret_id_is_taken_for_which_no_token_is_given(
    door: Edge, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The use was counted, and then the disk was full, or the process killed: the only secret id was gone."""
    role_id = role(door, "once", secret_id_num_uses=1)
    secret = secret_id(door, "once")

    def full(*_: object) -> None:
        raise StorageError("the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(door.node.service_tokens, "_sweep", full)
        assert sign_in(door, role_id, secret).status == 503
    assert sign_in(door, role_id, secret).status == 200
    assert sign_in(door, role_id, secret).status == 403


def test_whoever_has_no_ids_does_not_wait_for_writers(door: Edge) -> None:
    """Each sign-in with wrong ids took the lock of all writers, and needs no account (S2)."""
    role_id = role(door, "busy")
    with door.node.repository.transaction():
        assert sign_in(door, "unknown", "unknown").status == 403
        assert sign_in(door, role_id, "unknown").status == 403
        assert door.call("sys/wrapping/unwrap", {"token": "unknown"}, token="none").status == 400


def test_sign_ins_are_switched_by_whoever_has_sudo(door: Edge) -> None:
    """As Vault has it: a policy that is brought here opens no more than it did there."""
    rule = 'path "sys/auth/*" { capabilities = ["create", "update", "delete"%s] }'
    door.node.service_policies.write(BY, "plain", rule % "")
    door.node.service_policies.write(BY, "sudo", rule % ', "sudo"')
    plain, sudo = door.token(policies=["plain"]), door.token(policies=["sudo"])
    mount = {"type": "approle"}
    assert door.call("sys/auth/web", mount, token=plain).status == 403
    assert door.call("sys/auth/web", mount, token=sudo).status == 204
    assert door.call("sys/auth/web", method="DELETE", token=plain).status == 403
    assert door.call("sys/auth/web", method="DELETE", token=sudo).status == 204
