"""Routes of the door: what a call of an operation at a path does, and what its caller must be allowed."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from strongroom.access.acl import Capability
from strongroom.doors.vault.wire import Answer, Fields, Request
from strongroom.errors import PermissionDeniedError
from strongroom.repository.service_rows import ServiceMountRow
from strongroom.services.service_keys.by import By
from strongroom.services.service_keys.tokens import Caller

if TYPE_CHECKING:
    from strongroom.doors.vault.ports import VaultServices

NAME = "{name}"
"""The segment of a pattern that is kept in lower case, on routes that fold."""
_BY_OPERATION = {
    "read": Capability.READ,
    "list": Capability.LIST,
    "write": Capability.UPDATE,
    "patch": Capability.PATCH,
    "delete": Capability.DELETE,
}


_ASKED = {operation: frozenset({one}) for operation, one in _BY_OPERATION.items()} | {
    "write": frozenset({Capability.CREATE, Capability.UPDATE})
}


def _nothing_at(_: str) -> frozenset[Capability]:
    """The capabilities of nobody, at whatever path: none."""
    return frozenset()


class Call(NamedTuple):
    """A call on its way to its handler.

    Attributes:
        by: The caller, for the services and their events.
        known: The caller with its token; None on a route that is open to all.
        parts: The segments of the path, by the names of the route's pattern.
        mount: The mount below which the path lies; None for the system's own paths.
        may_at: Returns the capabilities by which a call of the caller at some path would be judged.
    """

    services: "VaultServices"
    request: Request
    by: By
    known: Caller | None
    parts: Mapping[str, str]
    fields: Fields
    mount: ServiceMountRow | None = None
    may_at: Callable[[str], frozenset[Capability]] = _nothing_at

    @property
    def caller(self) -> Caller:
        """The caller of a route that is not open.

        Raises:
            PermissionDeniedError: The call has none.
        """
        if self.known is None:
            raise PermissionDeniedError("permission denied")
        return self.known

    @property
    def at(self) -> ServiceMountRow:
        """The mount of a route below one.

        Raises:
            PermissionDeniedError: The call has none.
        """
        if self.mount is None:
            raise PermissionDeniedError("permission denied")
        return self.mount


Handle = Callable[[Call], Answer]
Exists = Callable[[Call], bool]


@dataclass(frozen=True)
class Route:
    """A route of the door.

    Attributes:
        engine: `sys` for paths of the system, or the kind of the mount below which the pattern begins.
        operation: The operation.
        pattern: Segments; `{name}` is one of any text, `{name*}` at the end is any rest.
        is_open: Whether a call needs no token.
        sudo: Whether the caller needs the capability `sudo` as well.
        exists: For writes that may make something: whether it is there; then the caller needs `update`, else `create`.
        folds: Whether the name in the path is kept in lower case. The call then has that name, and its caller is judged
            by the path with it: no rule is evaded by a capital.
    """

    engine: str
    operation: str
    pattern: str
    handle: Handle
    is_open: bool = False
    sudo: bool = False
    exists: Exists | None = None
    folds: bool = False

    @property
    def name(self) -> str:
        """How the route is called in tests and events."""
        return f"{self.engine} {self.operation} {self.pattern}"

    def match(self, path: str) -> dict[str, str] | None:
        """The parts of a path that fits; None if it does not."""
        wanted, given = self.pattern.split("/"), path.split("/")
        is_long = wanted[-1].endswith("*}")
        if len(given) < len(wanted) or (len(given) > len(wanted) and not is_long):
            return None
        if is_long:
            given = [*given[: len(wanted) - 1], "/".join(given[len(wanted) - 1 :])]
        parts: dict[str, str] = {}
        for one, other in zip(wanted, given, strict=True):
            if one.startswith("{"):
                if not other and not one.endswith("*}"):
                    return None
                parts[one[1:-1].rstrip("*")] = (
                    other.lower() if self.folds and one == NAME else other
                )
            elif one != other:
                return None
        return parts

    def judged(self, path: str) -> str:
        """The path by which a caller of this route is judged: that of the call, with the name as it is kept."""
        if not self.folds:
            return path
        given, wanted = path.split("/"), self.pattern.split("/")
        place = len(given) - len(wanted) + wanted.index(NAME)
        return "/".join([*given[:place], given[place].lower(), *given[place + 1 :]])

    def check(self, caller: Caller, call: Call) -> None:
        """Refuse a caller whose policies do not allow the call.

        Raises:
            PermissionDeniedError: The policies do not allow the call.
        """
        needed = _BY_OPERATION[self.operation]
        if self.exists is not None and not self.exists(call):
            needed = Capability.CREATE
        may = self.may(caller, call.request.path)
        if needed not in may or (self.sudo and Capability.SUDO not in may):
            raise PermissionDeniedError("1 error occurred:\n\t* permission denied\n\n")

    def may(self, caller: Caller, path: str) -> frozenset[Capability]:
        """The capabilities by which a call of this route is judged.

        Args:
            caller: The caller.
            path: The path of the call, as it is written; it fits the route.
        """
        kept = self.judged(path)
        if kept != path and Capability.DENY in self._may(caller, path):
            return frozenset()  # a rule that was written with the capitals forbids them still
        return self._may(caller, kept)

    def _may(self, caller: Caller, path: str) -> frozenset[Capability]:
        if self.operation != "list":
            return caller.acl.capabilities(path)
        listed = f"{path}/"
        may, bare = caller.acl.capabilities(listed), caller.acl.capabilities(path)
        if Capability.DENY in may:
            return may
        if Capability.DENY in bare:
            # Vault, too, looks at the rule for exactly the path without a slash before any pattern
            return may if listed in caller.acl.rules else bare
        return may | bare


class Table:
    """All routes, found by engine, operation and path."""

    def __init__(self, routes: Iterable[Route]) -> None:
        self.routes = tuple(routes)
        self._by_first: dict[tuple[str, str, str], list[Route]] = {}
        self._open: dict[tuple[str, str], list[Route]] = {}
        for route in self.routes:
            first = route.pattern.split("/")[0]
            if first.startswith("{"):
                self._open.setdefault((route.engine, route.operation), []).append(route)
            else:
                place = (route.engine, route.operation, first)
                self._by_first.setdefault(place, []).append(route)

    def find(self, engine: str, operation: str, path: str) -> tuple[Route, dict[str, str]] | None:
        """The first route that fits, and the parts of the path."""
        first = path.partition("/")[0]
        for routes in (
            self._by_first.get((engine, operation, first), ()),
            self._open.get((engine, operation), ()),
        ):
            for route in routes:
                parts = route.match(path)
                if parts is not None:
                    return route, parts
        return None

    def may(self, engine: str, rest: str, caller: Caller, path: str) -> frozenset[Capability]:
        """The capabilities of a caller at a path, each operation as its own route judges it; without any, none and not `deny`.

        Args:
            engine: `sys`, or the kind of the mount below which the path lies.
            rest: The path as the patterns of that engine have it.
            caller: The caller.
            path: The whole path.
        """
        found = set[Capability]()
        for operation, asked in _ASKED.items():
            route = self.find(engine, operation, rest)
            may = caller.acl.capabilities(path) if route is None else route[0].may(caller, path)
            found |= may & (asked | {Capability.SUDO})
        return frozenset(found)

    def knows(self, engine: str, path: str) -> bool:
        """Whether the path has a route of any operation."""
        return any(one.engine == engine and one.match(path) is not None for one in self.routes)
