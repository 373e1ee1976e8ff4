"""Roles of tokens: what a token made by one is like, whatever its maker has (service-keys.md 4.6)."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from shutil import copytree
from typing import Any

import pytest

from strongroom.node import opening
from tests.support.vault_edges import BY, Edge, Said, edge

MAY_MAKE = 'path "auth/token/create/*" { capabilities = ["update"] }'


@pytest.fixture(scope="module")
def door(pristine_node: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Edge]:
    home = Path(copytree(pristine_node, tmp_path_factory.mktemp("roles") / "node"))
    with closing(opening.open_node(str(home))) as node, edge(node) as found:
        node.service_policies.write(BY, "maker", MAY_MAKE)
        yield found


def role(door: Edge, name: str, **options: Any) -> None:
    assert door.call(f"auth/token/roles/{name}", options).status == 204


def made(door: Edge, name: str, token: str = "", **wanted: Any) -> dict[str, Any]:
    said = door.call(f"auth/token/create/{name}", wanted, token=token)
    assert said.status == 200, said
    auth: dict[str, Any] = said.json["auth"]
    return auth


def refused(door: Edge, name: str, token: str = "", **wanted: Any) -> Said:
    said = door.call(f"auth/token/create/{name}", wanted, token=token)
    assert said.status in {400, 403}, said
    return said


def test_roles_are_made_shown_listed_and_removed(door: Edge) -> None:
    role(door, "CI", allowed_policies="one,Two", period="1h", path_suffix="x", renewable=False)
    assert "ci" in door.call("auth/token/roles", method="LIST").json["data"]["keys"]
    shown = door.call("auth/token/roles/ci", method="GET").json["data"]
    assert (shown["name"], shown["allowed_policies"]) == ("ci", ["one", "two"])
    assert (shown["token_period"], shown["renewable"], shown["orphan"]) == (3600, False, False)
    role(door, "ci", orphan=True)
    shown = door.call("auth/token/roles/ci", method="GET").json["data"]
    assert (shown["token_period"], shown["orphan"]) == (3600, True), "the rest stays"
    assert door.call("auth/approle/role", method="LIST").status == 404, "none of AppRole"
    assert door.call("auth/token/roles/ci", method="DELETE").status == 204
    assert door.call("auth/token/roles/ci", method="GET").status == 404
    assert "unknown role ci" in str(refused(door, "ci").json)


def test_a_role_gives_policies_that_the_maker_has_not_and_no_others(door: Edge) -> None:
    role(door, "app", allowed_policies=["read", "write"])
    maker = door.token(policies=["maker"])
    assert made(door, "app", maker)["policies"] == ["default", "read", "write"]
    assert made(door, "app", maker, policies=["Read"])["policies"] == ["default", "read"]
    assert made(door, "app", maker, policies=["default"])["policies"] == ["default"]
    bare = made(door, "app", maker, policies=["read"], no_default_policy=True)
    assert bare["policies"] == ["read"]
    for wanted in (["read", "other"], ["maker"], ["root"], ["ROOT"]):
        assert "subset" in str(refused(door, "app", maker, policies=wanted).json)
        assert "subset" in str(refused(door, "app", policies=wanted).json), "not even for root"
    nobody = door.token(policies=["nobody"])
    assert refused(door, "app", nobody).status == 403
    assert door.call("auth/token/create", {"policies": ["read"]}, token=maker).status == 403


def test_a_role_without_policies_gives_what_its_maker_has_but_those_that_it_bars(
    door: Edge,
) -> None:
    role(door, "own", disallowed_policies=["secret", "default"])
    maker = door.token(policies=["maker", "secret"])
    assert made(door, "own", maker)["policies"] == ["maker"]
    assert refused(door, "own", maker, policies=["secret"]).status == 400
    assert refused(door, "own", maker, policies=["other"]).status == 403
    assert refused(door, "own", maker, policies=["default"]).status == 400
    assert made(door, "own", policies=["other"])["policies"] == ["other"], "root has all"
    assert refused(door, "own", policies=["root"]).status == 400
    role(door, "bare", token_no_default_policy=True, allowed_policies=["a"])
    assert made(door, "bare")["policies"] == ["a"]


def test_root_gives_root_by_no_role(door: Edge) -> None:
    role(door, "any")
    assert made(door, "any")["policies"] == ["default"]
    assert refused(door, "any", policies=["root"]).status == 400
    for name in ("allowed_policies", "token_policies"):
        assert door.call("auth/token/roles/r", {name: ["root"]}).status == 400


def test_a_role_bounds_what_its_tokens_are(door: Edge) -> None:
    role(door, "bound", allowed_policies=["a"], token_explicit_max_ttl="5m", token_num_uses=3)
    auth = made(door, "bound", ttl="1h", num_uses=9)
    assert (auth["lease_duration"], auth["num_uses"], auth["orphan"]) == (300, 3, False)
    assert made(door, "bound", num_uses=2)["num_uses"] == 2
    assert made(door, "bound", ttl="1h", explicit_max_ttl="1m")["lease_duration"] == 60
    role(
        door,
        "long",
        allowed_policies=["a"],
        token_period="30m",
        orphan=True,
        renewable=False,
        path_suffix="build",
    )
    auth = made(door, "long", ttl="5m")
    assert (auth["lease_duration"], auth["orphan"], auth["renewable"]) == (1800, True, False)
    look = door.call("auth/token/lookup", {"token": auth["client_token"]}).json["data"]
    assert look["path"] == "auth/token/create/long/build"


@pytest.mark.parametrize(
    "options",
    [
        {"path_suffix": "a/b"},
        {"path_suffix": "x" * 129},
        {"token_type": "batch"},
        {"allowed_policies_glob": ["a*"]},
        {"token_bound_cidrs": ["10.0.0.0/8"]},
        {"what": 1},
    ],
)
def test_what_a_role_cannot_hold_is_refused_by_its_name(
    door: Edge, options: dict[str, object]
) -> None:
    (name,) = options
    said = door.call("auth/token/roles/bad", options)
    assert said.status == 400
    assert name in str(said.json["errors"])
    assert door.call("auth/token/roles/bad", method="GET").status == 404


def test_each_call_of_a_role_leaves_its_event(door: Edge) -> None:
    before = len(door.events())
    role(door, "told", allowed_policies=["a"])
    auth = made(door, "told")
    door.call("auth/token/roles/told", method="GET")
    door.call("auth/token/roles/told", method="DELETE")
    told = [(one["id"], one["details"]["what"]) for one in door.events()[before:]]
    changed, read = "SERVICE_ACCESS_CHANGED", "SERVICE_ACCESS_READ"
    assert told == [
        (changed, "auth/token/told"),
        (changed, f"auth/token/create/told {auth['accessor']}"),
        (read, "auth/token/told"),
        (changed, "auth/token/told"),
    ]
