"""Roles of tokens: what a token made by one is like, whatever its maker has (service-keys.md 4.6)."""

from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from shutil import copytree
from typing import Any

import pytest

from strongroom.clock import FixedClock
from strongroom.node import opening
from tests.support.vault_edges import BY, Edge, Said, edge

MAY_MAKE = 'path "auth/token/create/*" { capabilities = ["update"] }'
PLAIN = 'path "auth/token/create" { capabilities = ["update"%s] }'
LONG = "36500d"
ASKED: tuple[dict[str, object], ...] = (
    {},
    {"ttl": "30d"},
    {"lease": "30d"},
    {"explicit_max_ttl": "30d"},
    {"period": LONG},
    {"no_parent": True},
    {"period": LONG, "no_parent": True},
    {"period": LONG, "explicit_max_ttl": "30d", "ttl": "30d"},
    {"num_uses": 1000},
)
"""All that a caller may say of how long its token lives, or how often it is used."""


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


@pytest.fixture
def clock(door: Edge, monkeypatch: pytest.MonkeyPatch) -> FixedClock:
    found = FixedClock(door.node.clock.now())
    monkeypatch.setattr(door.node.service_tokens, "_clock", found)
    return found


def renewed_s(door: Edge, secret: str) -> int:
    """For how long a token lives after a renewal that asks for much; 0 if it ended."""
    body = {"token": secret, "increment": "30d"}
    said = door.call("auth/token/renew", body)
    return int(said.json["auth"]["lease_duration"]) if said.status == 200 else 0


@pytest.mark.parametrize("asked", ASKED, ids=lambda one: "+".join(one) or "nothing")
@pytest.mark.parametrize(
    "bounds",
    [
        ({"token_explicit_max_ttl": "1h"}, 3600, 3600),
        ({"token_period": "20m"}, 1200, None),
        ({"token_period": "20m", "token_explicit_max_ttl": "1h"}, 1200, 3600),
        ({"token_period": "2h", "token_explicit_max_ttl": "1h"}, 3600, 3600),
        ({"token_num_uses": 500}, 32 * 86_400, 32 * 86_400),
    ],
    ids=["longest", "period", "period-in-longest", "period-beyond-longest", "uses"],
)
@pytest.mark.parametrize("by_root", [False, True], ids=["weak", "root"])
def test_no_field_of_a_caller_goes_beyond_a_number_of_the_role(
    door: Edge,
    clock: FixedClock,
    bounds: tuple[dict[str, object], int, int | None],
    asked: dict[str, object],
    by_root: bool,
) -> None:
    """A period and `no_parent` of a maker with `update` alone made tokens of 100 years, whatever the role said."""
    numbers, at_once_s, whole_s = bounds
    role(door, "numbers", token_explicit_max_ttl=0, token_period=0, token_num_uses=0)
    role(door, "numbers", allowed_policies=["deploy"], **numbers)
    maker = door.root if by_root else door.token(policies=["maker"])
    if "no_parent" in asked or ("period" in asked and not by_root):
        refused(door, "numbers", maker, **asked)
        return
    if by_root and "period" in asked and "token_num_uses" in numbers:
        return  # root may give a period where the role names no time
    auth = made(door, "numbers", maker, **asked)
    assert not auth["orphan"]
    if "token_num_uses" in numbers:
        assert 0 < auth["num_uses"] <= 500
    secret, began = auth["client_token"], clock.moment
    assert 0 < auth["lease_duration"] <= at_once_s
    for _ in range(4):
        clock.moment += timedelta(seconds=at_once_s * 9 // 10)
        lived = int((clock.moment - began).total_seconds())
        left = renewed_s(door, secret)
        assert left <= at_once_s
        if whole_s is None:
            assert left
        else:
            assert left <= max(0, whole_s - lived)


def test_an_orphan_is_made_by_its_role_alone(door: Edge) -> None:
    role(door, "free", allowed_policies=["a"], orphan=True)
    maker = door.token(policies=["maker"])
    for asked in ({}, {"no_parent": True}, {"no_parent": False}):
        assert made(door, "free", maker, **asked)["orphan"]
    role(door, "bound", allowed_policies=["a"], orphan=False)
    child = made(door, "bound", maker)["client_token"]
    assert door.call("auth/token/revoke-self", {}, token=maker).status == 204
    assert door.call("auth/token/lookup-self", token=child, method="GET").status == 403


def test_a_period_and_an_orphan_need_sudo_without_a_role_too(door: Edge, clock: FixedClock) -> None:
    """As Vault does; and the longest life of a token bounds its period."""
    for name, more in (("plain", ""), ("strong", ', "sudo"')):
        door.node.service_policies.write(BY, name, PLAIN % more)
    weak, strong = door.token(policies=["plain"]), door.token(policies=["strong"])
    for asked, kind in (({"period": "1h"}, "periodic"), ({"no_parent": True}, "orphan")):
        said = door.call("auth/token/create", asked, token=weak)
        assert said.status == 403
        assert f"sudo privileges required to create {kind} token" in str(said.json)
        assert door.call("auth/token/create", asked, token=strong).status == 200
    assert door.call("auth/token/create", {"ttl": "1h"}, token=weak).status == 200
    assert door.call("auth/token/create-orphan", {}, token=strong).status == 403
    body = {"period": "40m", "explicit_max_ttl": "1h"}
    auth = door.call("auth/token/create", body, token=strong).json["auth"]
    assert auth["lease_duration"] == 2400
    clock.moment += timedelta(minutes=30)
    assert renewed_s(door, auth["client_token"]) == 1800
    body = {"period": "40m", "explicit_max_ttl": "10m"}
    assert door.call("auth/token/create", body).json["auth"]["lease_duration"] == 600


@pytest.mark.parametrize(
    ("numbers", "lease_s"),
    [
        ({"token_explicit_max_ttl": "10h", "token_max_ttl": "1h"}, 3600),
        ({"token_explicit_max_ttl": "1h", "token_max_ttl": "10h"}, 3600),
        ({"token_explicit_max_ttl": "1h", "token_period": "10h"}, 3600),
        ({"token_max_ttl": "1h", "token_period": "10h"}, 36_000),
    ],
)
def test_the_least_number_of_a_role_of_programs_counts(
    door: Edge, numbers: dict[str, object], lease_s: int
) -> None:
    """Of AppRole; the longest life that is not explicit does not end a token with a period, as in Vault."""
    path = f"auth/approle/role/least{lease_s}{len(str(numbers))}"
    body = {"bind_secret_id": False, "token_ttl": "20h", **numbers}
    assert door.call(path, body).status == 204
    role_id = door.call(f"{path}/role-id", method="GET").json["data"]["role_id"]
    said = door.call("auth/approle/login", {"role_id": role_id})
    assert door.call(path, method="DELETE").status == 204
    assert said.json["auth"]["lease_duration"] == lease_s


def test_a_rule_about_a_name_holds_for_every_spelling_of_it(door: Edge) -> None:
    """Roles and policies were found by their names in lower case, and their callers judged by the path as it was sent."""
    role(door, "prod", allowed_policies=["a"])
    rules = 'path "auth/token/*" { capabilities = ["update", "read"] }\n' + "".join(
        f'path "auth/token/{where}/prod" {{ capabilities = ["deny"] }}\n'
        for where in ("create", "roles")
    )
    door.node.service_policies.write(BY, "most", rules)
    token = door.token(policies=["most"])
    for name in ("prod", "Prod", "PROD", "%50rod"):
        for where in ("create", "roles"):
            assert door.call(f"auth/token/{where}/{name}", {}, token=token).status == 403, name
    assert made(door, "PROD")["policies"] == ["a", "default"], "whoever may uses any spelling"


def test_a_mount_is_not_another_one_by_its_capitals(door: Edge) -> None:
    """A role of the mount `auth/Token` was one of tokens, which its caller had no business to write."""
    role(door, "mine", allowed_policies=["a"])
    assert door.call("sys/auth/Token", {"type": "approle"}).status == 204
    body = {"token_policies": ["b"], "bind_secret_id": False}
    assert door.call("auth/Token/role/MINE", body).status == 204
    assert "token_policies" not in door.call("auth/token/roles/mine", method="GET").json["data"]
    path = "auth/Token/role/mine/role-id"
    role_id = door.call(path, method="GET").json["data"]["role_id"]
    assert door.call("auth/Token/login", {"role_id": role_id}).status == 200
    assert door.call("sys/auth/Token", method="DELETE").status == 204
    assert door.call("auth/token/roles/mine", method="GET").status == 200


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
