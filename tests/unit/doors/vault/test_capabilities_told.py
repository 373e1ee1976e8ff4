"""A token is told of a path, in whatever spelling, what a call of that path then does (service-keys.md 4.8)."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strongroom.access.acl import Acl, Capability
from strongroom.doors.vault.app import TABLE
from strongroom.doors.vault.routing import NAME, Call, Route
from strongroom.errors import PermissionDeniedError
from strongroom.services.service_keys.mounts import APPROLE
from strongroom.services.service_keys.tokens import Caller, Span

NOTHING: Any = None
FOR_EVER = Span("2026-12-01T00:00:00Z", None)
NAMES = ["prodk", "Prodk", "PRODK", "prod\u212a", "", ".", "..", "a.b", "prodk.", "+", "*"]
REST = [*NAMES, "a//b", "a/../b", "/a", "a/", "A/b"]
MADE = frozenset({Capability.CREATE, Capability.UPDATE})
NEEDED = {
    "read": Capability.READ,
    "list": Capability.LIST,
    "write": Capability.UPDATE,
    "patch": Capability.PATCH,
    "delete": Capability.DELETE,
}


@st.composite
def paths(draw: st.DrawFn) -> tuple[str, str, str]:
    """An engine, a path of one of its routes in some spelling, and what comes before it."""
    route = draw(st.sampled_from(TABLE.routes))
    segments = [
        draw(st.sampled_from(REST if one.endswith("*}") else NAMES)) if one[0] == "{" else one
        for one in route.pattern.split("/")
    ]
    if draw(st.booleans()):
        at = draw(st.integers(0, len(segments) - 1))
        segments[at] = draw(st.sampled_from([segments[at].upper(), f"{segments[at]}/", "."]))
    before = {"sys": "", APPROLE: "auth/Web/"}.get(route.engine, "At/")
    # the door cuts slashes off the ends of every path
    return route.engine, f"{before}{'/'.join(segments)}".strip("/"), before


@st.composite
def rules(draw: st.DrawFn, path: str) -> dict[str, frozenset[Capability]]:
    """Rules about spellings of the path, and patterns that fit some of them."""
    segments = path.split("/")
    spelled = [path, path.lower(), f"{path}/", f"{path.lower()}/", "*", f"{segments[0]}/*"]
    spelled += ["/".join(["+"] * len(segments)), "/".join([*segments[:-1], "+"])]
    few = st.frozensets(st.sampled_from(list(Capability)), min_size=1, max_size=4)
    return draw(st.dictionaries(st.sampled_from(spelled), few, max_size=4))


def is_allowed(route: Route, caller: Caller, path: str, *, there: bool) -> bool:
    """Whether the door lets a call of the route pass; a write needs one of two capabilities, by what is there."""
    request: Any = type("Request", (), {"path": path})
    call = Call(NOTHING, request, NOTHING, caller, {}, NOTHING)
    asked = route if route.exists is None else _with(route, there=there)
    try:
        asked.check(caller, call)
    except PermissionDeniedError:
        return False
    return True


def _with(route: Route, *, there: bool) -> Route:
    given = {name: getattr(route, name) for name in route.__dataclass_fields__}
    return Route(**{**given, "exists": lambda _: there})


@given(data=st.data())
def test_each_call_does_what_was_told(data: st.DataObject) -> None:
    engine, path, before = data.draw(paths())
    caller = Caller(NOTHING, Acl(data.draw(rules(path))), FOR_EVER)
    rest = path.removeprefix(before)
    told = TABLE.may(engine, rest, caller, path)
    assert Capability.DENY not in told
    for operation, needed in NEEDED.items():
        found = TABLE.find(engine, operation, rest)
        if found is None:
            continue
        route = found[0]
        for there in (True, False):
            wants = needed if there or route.exists is None else Capability.CREATE
            does = is_allowed(route, caller, path, there=there)
            # `sudo` is told of a path as a whole: a route that needs it needs both
            may = wants in told and (not route.sudo or Capability.SUDO in told)
            assert may == does, (route.name, sorted(told))


@pytest.mark.parametrize("spelled", ["PRODK", "prod\u212a"])
def test_a_name_in_capitals_is_told_as_it_is_kept(spelled: str) -> None:
    [read] = [one for one in TABLE.routes if one.pattern == f"sys/policies/acl/{NAME}"][:1]
    assert read.operation == "read"
    kept = {"sys/policies/acl/prodk": frozenset({Capability.READ})}
    path = f"sys/policies/acl/{spelled}"
    assert TABLE.may("sys", path, Caller(NOTHING, Acl(kept), FOR_EVER), path) == {Capability.READ}
    forbidden = {"*": MADE, path: frozenset({Capability.DENY})}
    assert TABLE.may("sys", path, Caller(NOTHING, Acl(forbidden), FOR_EVER), path) == frozenset()
