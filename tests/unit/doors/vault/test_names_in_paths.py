"""Names in paths that are kept in lower case: no rule about one is evaded by a capital (service-keys.md 4.7)."""

from typing import Any

import pytest

from strongroom.access.acl import Acl, Capability
from strongroom.doors.vault.app import TABLE
from strongroom.doors.vault.routing import NAME, Call, Route
from strongroom.errors import PermissionDeniedError
from strongroom.services.service_keys.mounts import APPROLE
from strongroom.services.service_keys.tokens import Caller

ALL = frozenset(Capability) - {Capability.DENY}
NONE = frozenset({Capability.DENY})
FOLDED = [one for one in TABLE.routes if one.engine in {"sys", APPROLE} and NAME in one.pattern]
KELVIN = "prod\u212a"  # a sign whose lower case is the letter k
SPELLINGS = ["Prodk", "PRODK", KELVIN]


def path_of(route: Route, name: str) -> str:
    below = "auth/Web/" if route.engine == APPROLE else ""
    return below + route.pattern.replace(NAME, name)


def is_allowed(route: Route, path: str, rules: dict[str, frozenset[Capability]]) -> bool:
    nothing: Any = None
    request: Any = type("Request", (), {"path": path})
    try:
        route.check(
            Caller(nothing, Acl(rules), nothing), Call(nothing, request, nothing, None, {}, nothing)
        )
    except PermissionDeniedError:
        return False
    return True


def test_each_route_with_a_name_of_a_role_or_policy_folds_and_no_other_does() -> None:
    assert len(FOLDED) > 20
    assert [one for one in TABLE.routes if one.folds] == FOLDED


@pytest.mark.parametrize("route", FOLDED, ids=lambda one: one.name)
def test_a_rule_about_a_name_decides_on_every_spelling(route: Route) -> None:
    kept = path_of(route, "prodk")
    below = len("auth/Web/") if route.engine == APPROLE else 0
    for name in ["prodk", *SPELLINGS]:
        path = path_of(route, name)
        parts = route.match(path[below:])
        assert parts is not None
        assert parts["name"] == "prodk", "what is found is what was judged"
        assert is_allowed(route, path, {"*": ALL})
        assert is_allowed(route, path, {kept: ALL})
        assert not is_allowed(route, path, {"*": ALL, kept: NONE})
        assert not is_allowed(route, path, {"*": ALL, path: NONE}), "as it was before"
    assert not is_allowed(route, kept, {path_of(route, "PRODK"): ALL})


@pytest.mark.parametrize(
    ("rules", "allowed"),
    [
        ({"*": ALL}, True),
        ({"*": ALL, "kv/a": NONE}, False),
        ({"*": ALL, "kv/a/": NONE}, False),
        ({"*": ALL, "kv/a": NONE, "kv/a/": ALL}, True),
        ({"kv/+": ALL}, True),
        ({"kv/a": ALL}, True),
        ({}, False),
    ],
)
def test_a_list_is_denied_by_a_rule_without_the_slash_too(
    rules: dict[str, frozenset[Capability]], allowed: bool
) -> None:
    [route] = [one for one in TABLE.routes if (one.engine, one.operation) == ("kv-v1", "list")]
    assert is_allowed(route, "kv/a", rules) is allowed


@pytest.mark.parametrize(
    "route", [one for one in TABLE.routes if not one.folds], ids=lambda one: one.name
)
def test_what_is_kept_as_it_is_written_is_judged_so(route: Route) -> None:
    path = route.pattern.replace("{", "").replace("}", "").replace("*", "")
    parts = route.match(path.replace("name", "Name"))
    assert route.judged("a/B") == "a/B"
    assert parts is None or parts.get("name", "Name") == "Name"
