"""The board of a cluster in ZooKeeper: nodes of the tree beside the entries (docs/format/node-reports.md 1)."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Final

from strongroom.coordination.board import Posted
from strongroom.coordination.zookeeper import requests
from strongroom.coordination.zookeeper.membership import Membership
from strongroom.coordination.zookeeper.requests import Kind, Node, Operation, Refused
from strongroom.coordination.zookeeper.session import Lost, Session, exceptions, refusals
from strongroom.coordination.zookeeper.settings import Deadline, ZookeeperSettings
from strongroom.coordination.zookeeper.tree import INLINE_BYTES, Tree
from strongroom.coordination.zookeeper.watching import Watch
from strongroom.errors import ConflictError, CoordinationError, UsageError

_LOOK_S: Final = 2.0
"""Seconds after which a watch of a note looks by itself: whoever waits for an answer waits for no longer than some beats."""


class ZookeeperBoard:
    """Implements `Board`, over the session of a coordinator."""

    def __init__(
        self, session: Session, tree: Tree, settings: ZookeeperSettings, membership: Membership
    ) -> None:
        self._session = session
        self._tree = tree
        self._settings = settings
        self._membership = membership

    def read(self, name: str) -> Posted | None:
        """A note; None if it has no place as yet."""
        with self._refusals():
            return self._read(name)

    def read_all(self) -> Mapping[str, Posted]:
        """All notes by name, each as it was at some moment of the call."""
        with self._refusals():
            names = requests.children(self._session, self._tree.notes)
            nodes = requests.read_together(self._session, [self._tree.note(one) for one in names])
            return {
                name: _posted(node)
                for name, node in zip(names, nodes, strict=True)
                if node is not None
            }

    def take_place(self, name: str) -> Posted:
        """A note, whose place is made with no bytes in it if there is none."""
        with self._refusals():
            found = self._read(name)
            if found is None:
                # a tree of a release before has no folder for notes
                requests.create_missing(self._session, self._tree.notes)
                requests.create_missing(self._session, self._tree.note(name))
                found = self._read(name)
        if found is None:
            raise CoordinationError(f"the note {name!r} was removed from ZooKeeper as it was made")
        return found

    def post(self, name: str, value: bytes, replaced: int) -> None:
        """Replace a note."""
        if len(value) > INLINE_BYTES:
            raise UsageError(f"the note {name!r} has {len(value)} bytes, more than {INLINE_BYTES}")
        operation = Operation(Kind.SET, self._tree.note(name), value, replaced - 1)
        with self._refusals():
            try:
                requests.transact(self._session, [operation], self._deadline())
            except Refused as refused:
                if isinstance(refused.reason, exceptions.BadVersionError | exceptions.NoNodeError):
                    raise ConflictError(f"somebody else wrote the note {name!r}") from refused
                raise refused.reason from refused
            except Lost as lost:
                raise CoordinationError(
                    f"ZooKeeper at {self._session.where} did not answer: {lost}"
                ) from lost

    def boots(self) -> Mapping[str, str]:
        """The id of the process that is alive for each node, by node."""
        with self._refusals():
            return self._membership.boots()

    def changed_ms(self, key: str) -> int:
        """When an entry was put, by the clock of the leader; 0 if the entry does not exist."""
        with self._refusals():
            node = requests.read(self._session, self._tree.entry(key))
            return 0 if node is None else node.touched_ms

    def watch(self, name: str, notice: Callable[[Posted | None], None]) -> Callable[[], None]:
        """Call `notice` with each new note of a name; returns the function that stops it."""
        watch = Watch(self._session, self._tree.note(name), _LOOK_S)
        with self._refusals():
            watch.start(lambda: self.read(name), notice)
        return watch.stop

    def _read(self, name: str) -> Posted | None:
        node = requests.read(self._session, self._tree.note(name))
        return None if node is None else _posted(node)

    def _deadline(self) -> Deadline:
        return Deadline(self._settings.limits.read_s)

    def _refusals(self) -> AbstractContextManager[None]:
        return refusals(self._session.where, self._settings.user)


def _posted(node: Node) -> Posted:
    return Posted(node.value, node.version + 1, node.born, node.touched_ms)
