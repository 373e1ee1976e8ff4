"""Walks a subtree of ZooKeeper, and has the ACL of each node name exactly the valid passwords of a digest user.

A digest user exists only in the ACLs that name a hash of its name and password. The walk goes from the top down, and
lists the children of a node after its ACL is set: so a client with a password that is no longer named cannot add a
child where the walk has passed.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

if TYPE_CHECKING:
    from kazoo.security import ACL

T = TypeVar("T")

Request = Callable[[Any], Any]
"""Sends something by a client of kazoo, and returns its asynchronous result."""
_CHUNK = 500
"""The number of requests that are under way at a time, which is ten times as fast as one by one."""


class Ask(Protocol):
    """Sends requests together."""

    def __call__(self, requests: Sequence[Request], /, *expected: type[Exception]) -> list[Any]:
        """The answers in their order; None where the node does not exist, and for an expected refusal."""
        ...


class AclWalk:
    """The walks over one user's subtree."""

    def __init__(
        self,
        user: str,
        top: str,
        ask: Ask,
        refused: Callable[[str], Exception],
        *,
        is_shared: bool = False,
    ) -> None:
        """Prepare; nothing is sent.

        Args:
            user: The digest user.
            top: The subtree's top, which must be the user's.
            ask: Sends requests together.
            refused: Makes the error of a node that the user does not administer.
            is_shared: Whether nodes below the top may be of other users; they stay as they are.
        """
        self._user = user
        self._top = top
        self._ask = ask
        self._refused = refused
        self._is_shared = is_shared

    def name(self, valid: Sequence[str]) -> int:
        """Have every ACL name exactly these ids of the user; returns the number of ACLs that did not.

        Raises:
            Exception: The error of `refused`: a node is not the user's.
        """
        return sum(self.set_acls(paths, valid) for paths in self._down())

    def lacking(self, wanted: str) -> str | None:
        """A node whose ACL does not name this id of the user; None if all do."""
        for paths in self._down():
            for path, told in zip(paths, self._acls(paths), strict=True):
                if told is not None and wanted not in {str(one.id.id) for one in told[0]}:
                    return path
        return None

    def set_acls(self, paths: Sequence[str], valid: Sequence[str]) -> int:
        """Have the ACLs of these nodes name exactly the valid ids of the user; returns the number that did not."""
        from kazoo.exceptions import BadVersionError

        sent = []
        for path, told in zip(paths, self._acls(paths), strict=True):
            if told is None and path == self._top:
                raise self._refused(path)
            if told is None:  # the node was deleted during the walk, or belongs to another user
                continue
            present, stat = told
            wanted = self._wanted(path, present, valid)
            if set(wanted) != set(present):
                sent.append(_setting(path, wanted, stat.aversion))
        # BadVersionError: the ACL was changed during the walk, and the next walk corrects it
        self._ask(sent, BadVersionError)
        return len(sent)

    def is_own(self, entry: "ACL") -> bool:
        """Whether an entry of an ACL names the user, by whichever password."""
        return entry.id.scheme == "digest" and str(entry.id.id).startswith(f"{self._user}:")

    def _down(self) -> Iterator[Sequence[str]]:
        """The nodes by levels; the children of one level are listed when its nodes were dealt with."""
        level = [self._top]
        while level:
            below: list[str] = []
            for paths in _chunks(level):
                yield paths
                listed = self._ask([_listing(path) for path in paths], *self._passed)
                for path, names in zip(paths, listed, strict=True):
                    below += [f"{path}/{name}" for name in names or ()]
            level = below

    def _acls(self, paths: Sequence[str]) -> list[Any]:
        return self._ask([_reading(path) for path in paths], *self._passed)

    @property
    def _passed(self) -> tuple[type[Exception], ...]:
        from kazoo.exceptions import NoAuthError

        return (NoAuthError,) if self._is_shared else ()

    def _wanted(self, path: str, present: "Sequence[ACL]", valid: Sequence[str]) -> "list[ACL]":
        """The ACL that gives the user's rights to the valid ids only, and keeps the entries of other users."""
        from kazoo.security import ACL, Id

        own = [entry for entry in present if self.is_own(entry)]
        is_needed = path == self._top or not self._is_shared
        # x: ZooKeeper hides the hash from whoever does not administer the node
        if any(entry.id.id == f"{self._user}:x" for entry in own) or (not own and is_needed):
            raise self._refused(path)
        perms = 0
        for entry in own:
            perms |= entry.perms
        others = [entry for entry in present if not self.is_own(entry)]
        named = [ACL(perms, Id("digest", one)) for one in valid] if own else []
        return others + named


def _setting(path: str, wanted: "list[ACL]", version: int) -> Request:
    return lambda client: client.set_acls_async(path, wanted, version=version)


def _listing(path: str) -> Request:
    return lambda client: client.get_children_async(path)


def _reading(path: str) -> Request:
    return lambda client: client.get_acls_async(path)


def _chunks(paths: Sequence[T]) -> Iterator[Sequence[T]]:
    return (paths[start : start + _CHUNK] for start in range(0, len(paths), _CHUNK))
