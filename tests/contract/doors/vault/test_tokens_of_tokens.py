"""Tokens that tokens made: none outlives its maker, or what its maker may (docs/format/service-keys.md 4.2, 4.4)."""

import shutil
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from strongroom.clock import FixedClock
from strongroom.errors import AuthenticationError
from strongroom.node import opening
from strongroom.services.service_keys.tokens import MAX_GENERATIONS, Wanted
from tests.support.vault_edges import BY, Edge, edge, request

MAKER = 'path "auth/token/create*" { capabilities = ["update"] }'


@pytest.fixture
def door(pristine_node: Path, tmp_path: Path) -> Iterator[Edge]:
    home = Path(shutil.copytree(pristine_node, tmp_path / "node"))
    with closing(opening.open_node(str(home))) as node, edge(node) as found:
        node.service_policies.write(BY, "maker", MAKER)
        yield found


def child(door: Edge, maker: str, **wanted: Any) -> str:
    said = door.call("auth/token/create", wanted, token=maker)
    assert said.status == 200, said
    found: str = said.json["auth"]["client_token"]
    return found


def is_valid(door: Edge, token: str) -> bool:
    said = door.call("auth/token/lookup-self", method="GET", token=token)
    assert said.status in {200, 403}
    return said.status == 200


def accessor(door: Edge, token: str) -> str:
    found: str = door.call("auth/token/lookup", {"token": token}).json["data"]["accessor"]
    return found


def test_a_token_whose_uses_are_numbered_makes_none(door: Edge) -> None:
    """A token of one use made one without a number, which lived for a month."""
    door.call("auth/token/roles/any", {})
    for path in ("auth/token/create", "auth/token/create/any"):
        once = door.token(policies=["maker", "default"], uses=3)
        said = door.call(path, {}, token=once)
        assert (said.status, said.json["errors"]) == (
            400,
            ["restricted use token cannot generate child tokens"],
        )


def test_a_token_ends_with_each_of_its_makers_by_time(
    door: Edge, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody had removed its row when the maker's time was over, and it was taken until somebody did."""
    clock = FixedClock(door.node.clock.now())
    monkeypatch.setattr(door.node.service_tokens, "_clock", clock)
    first = door.token(policies=["maker", "default"], ttl_s=60)
    second = child(door, first, ttl="30d")
    third = child(door, second, ttl="30d")
    named = accessor(door, third)
    clock.moment += timedelta(seconds=59)
    assert is_valid(door, third)
    clock.moment += timedelta(seconds=1)
    for token in (first, second, third):
        assert not is_valid(door, token)
    assert door.call("auth/token/lookup", {"token": third}).status == 403
    assert door.call("auth/token/renew-accessor", {"accessor": named}).status == 400
    assert named not in door.call("auth/token/accessors", method="LIST").json["data"]["keys"]
    assert door.node.service_tokens.remove_ended() == 1
    with door.node.repository.reading() as tx:
        assert tx.service_tokens.find(named) is None


def test_a_maker_that_was_revoked_in_that_moment_leaves_no_child(door: Edge) -> None:
    """The maker is admitted, then revoked, then the child's row is written."""
    tokens = door.node.service_tokens
    maker = tokens.create(BY, Wanted(policies=["maker"]))
    admitted = tokens.caller_of(maker.secret)
    orphan = tokens.create(BY, Wanted(policies=["maker"], is_orphan=True), None)
    tokens.revoke(BY, maker.token)
    for wanted in (Wanted(), Wanted(is_by_role=True, is_orphan=True)):
        with pytest.raises(AuthenticationError):
            tokens.create(BY, wanted, admitted)
    assert tokens.caller_of(orphan.secret).token.id == orphan.token.id


def test_a_token_whose_makers_row_is_gone_is_of_no_use(door: Edge) -> None:
    maker = door.token(policies=["maker", "default"])
    made = child(door, maker)
    with door.node.repository.transaction() as tx:
        tx.service_tokens.delete(accessor(door, maker))
    assert not is_valid(door, made)


def test_what_was_made_before_the_clock_was_set_back_is_of_no_use(
    door: Edge, monkeypatch: pytest.MonkeyPatch
) -> None:
    """R13: made while the clock was a year ahead, each would be valid for a year and its own time."""
    node, ahead = door.node, FixedClock(door.node.clock.now() + timedelta(days=365))
    role = "auth/approle/role/ahead"
    assert door.call(role, {}).status == 204
    body = {"role_id": door.call(f"{role}/role-id", method="GET").json["data"]["role_id"]}
    with monkeypatch.context() as patch:
        for service in (node.service_tokens, node.service_roles, node.service_wrapping):
            patch.setattr(service, "_clock", ahead)
        token = door.token(policies=["default"])
        made = child(door, door.token(), policies=["default"], ttl="1h")
        root = door.token()
        body["secret_id"] = door.call(f"{role}/secret-id", {}, token=root).json["data"]["secret_id"]
        answer = waiting(door, root)
        for one in (token, made, root):
            assert is_valid(door, one)
    for one in (token, made, root):
        assert not is_valid(door, one)
        revoked = door.call("auth/token/revoke-accessor", {"accessor": accessor(door, one)})
        assert revoked.status == 204, "shown, and ended by hand"
    assert door.call("auth/approle/login", body, token="none").status == 403
    assert door.call("sys/wrapping/unwrap", {"token": answer["token"]}, token="none").status == 400


def test_a_clock_that_differs_a_little_does_no_harm(
    door: Edge, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nodes of a cluster have clocks of their own."""
    ahead = FixedClock(door.node.clock.now() + timedelta(minutes=4))
    with monkeypatch.context() as patch:
        patch.setattr(door.node.service_tokens, "_clock", ahead)
        token = door.token(policies=["default"])
    assert is_valid(door, token)


def test_the_line_of_makers_has_an_end(door: Edge) -> None:
    """Each call looks at all makers of its token."""
    token = door.token(policies=["maker", "default"])
    for _ in range(MAX_GENERATIONS - 1):
        token = child(door, token)
    said = door.call("auth/token/create", {}, token=token)
    assert (said.status, "makers" in said.json["errors"][0]) == (400, True)


# ---- answers that wait for their reader ------------------------------------------------------------


def waiting(door: Edge, token: str = "") -> dict[str, Any]:
    with door.line() as line:
        more, body = "X-Vault-Wrap-TTL: 60\r\n", {"a": "secret"}
        said = line.call(request("sys/wrapping/wrap", body, token or door.root, more=more))
    found: dict[str, Any] = said.json["wrap_info"]
    return found


def values(door: Edge) -> int:
    with door.node.repository.reading() as tx:
        return sum(one.versions for one in tx.service_material.use().values())


def test_an_answer_goes_with_its_token_however_that_ends(
    door: Edge, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The token was removed and the sealed answer stayed for ever, in every backup, and under a MEK in use (R9)."""
    before = values(door)
    used, revoked, named = waiting(door), waiting(door), waiting(door)
    assert values(door) == before + 3
    assert door.call("secret/data/x", method="GET", token=used["token"]).status == 403
    assert values(door) == before + 2
    assert door.call("auth/token/revoke", {"token": revoked["token"]}).status == 204
    assert values(door) == before + 1
    assert door.call("auth/token/revoke-accessor", {"accessor": named["accessor"]}).status == 204
    assert values(door) == before
    waiting(door)
    clock = FixedClock(door.node.clock.now())
    monkeypatch.setattr(door.node.service_tokens, "_clock", clock)
    clock.moment += timedelta(seconds=61)
    child(door, door.token(policies=["maker"]))  # whoever makes a token removes those that ended
    assert values(door) == before


def test_an_answer_without_a_token_goes_with_the_upkeep(door: Edge) -> None:
    """A restore ends all tokens, and brings the answers back that waited."""
    before, found = values(door), waiting(door)
    with door.node.repository.transaction() as tx:
        tx.service_tokens.delete(found["accessor"])
    assert values(door) == before + 1
    assert door.node.service_tokens.remove_ended() == 0
    assert values(door) == before
