"""Brings the entries of a single node into an empty tree: byte by byte, and at the versions that they had.

The MAC of an entry binds its version (docs/format/entries.md 1.1), and documents name versions of each other. ZooKeeper
counts the versions of a node itself; so each node is written as often as its entry was, hundreds of times in one request,
and only the last write has a value. Until the attempt has ended nobody reads the tree: it is named in no file.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from strongroom.coordination.base import Versioned
from strongroom.coordination.zookeeper import requests
from strongroom.coordination.zookeeper.blobs import Blobs
from strongroom.coordination.zookeeper.requests import Kind, Operation, Refused
from strongroom.coordination.zookeeper.session import Lost, Session, exceptions
from strongroom.coordination.zookeeper.settings import Deadline, Limits
from strongroom.coordination.zookeeper.tree import (
    INLINE_BYTES,
    MAX_MULTI_BYTES,
    BlobRef,
    Tree,
    record,
)
from strongroom.errors import ConflictError, CoordinationError

_CHANGED = (exceptions.BadVersionError, exceptions.NodeExistsError, exceptions.NoNodeError)
_AGAIN: Final = "run the command again: it begins anew where nothing is in force yet"


class Arrival:
    """The way of entries into a tree."""

    def __init__(self, session: Session, tree: Tree, limits: Limits) -> None:
        self._session = session
        self._tree = tree
        self._limits = limits
        self._blobs = Blobs(session, tree)

    def check(self, run: str) -> None:
        """Refuse a tree that holds entries, unless they are what this attempt has brought.

        Raises:
            ConflictError: The tree is in use.
            CoordinationError: No server answers in time.
        """
        marker = requests.read(self._session, self._tree.arriving)
        if marker is not None and marker.value != run.encode():
            raise ConflictError(
                f"another attempt to bring a node into {self._tree.root} of ZooKeeper has not ended",
                hint="finish it on the machine that began it; if that one is gone, remove the tree by hand",
            )
        if marker is None and requests.children(self._session, self._tree.entries):
            raise ConflictError(
                f"there is an installation in {self._tree.root} of ZooKeeper already",
                hint="a copy of this node was brought into a cluster before: two nodes must not be one",
            )

    def bring(self, run: str, found: Mapping[str, Versioned]) -> None:
        """Write all entries; what this attempt had written before goes.

        Args:
            run: The id of the attempt.
            found: The entries by their keys.

        Raises:
            ConflictError: The tree is in use.
            CoordinationError: No server answers in time.
        """
        self.check(run)
        for path in self._tree.above:
            requests.create_missing(self._session, path)
        self._mark(run)
        for folder in (self._tree.entries, self._tree.blobs, self._tree.markers, self._tree.locks):
            self._empty(folder)
        for path in self._tree.folders:
            requests.create_missing(self._session, path)
        for key, one in found.items():
            for operations in self._writes(key, one):
                self._send(operations)

    def end(self, run: str) -> None:
        """Remove the mark of an attempt, if it is this one.

        Raises:
            CoordinationError: No server answers in time.
        """
        marker = requests.read(self._session, self._tree.arriving)
        if marker is not None and marker.value == run.encode():
            requests.remove(self._session, self._tree.arriving)

    def _mark(self, run: str) -> None:
        if requests.read(self._session, self._tree.arriving) is None:
            self._send([Operation(Kind.CREATE, self._tree.arriving, run.encode())])

    def _writes(self, key: str, one: Versioned) -> Iterator[list[Operation]]:
        """The transactions that write an entry, each short enough."""
        path, checks = self._tree.entry(key), list[Operation]()
        content: bytes | BlobRef = one.value
        if len(one.value) > INLINE_BYTES:
            content, check = self._blobs.write(one.value)
            checks = [check]
        raw = record(key, one.version, content)
        steps = [Operation(Kind.CREATE, path, raw if one.version == 1 else b"")]
        for before in range(one.version - 1):
            value = raw if before == one.version - 2 else b""
            steps.append(Operation(Kind.SET, path, value, before))
        least = requests.size(steps[:1]) + requests.size(checks) + len(raw)
        many = max(1, (MAX_MULTI_BYTES - least) // requests.size([Operation(Kind.SET, path)]) - 1)
        for first in range(0, len(steps), many):
            yield [*checks, *steps[first : first + many]]

    def _send(self, operations: Sequence[Operation]) -> None:
        try:
            requests.transact(self._session, operations, Deadline(self._limits.put_s))
        except Lost as lost:
            raise CoordinationError(
                f"ZooKeeper at {self._session.where} did not answer: {lost}", hint=_AGAIN
            ) from lost
        except Refused as refused:
            if not isinstance(refused.reason, _CHANGED):
                raise refused.reason from refused
            raise ConflictError(
                f"somebody else wrote {refused.operation.path} of ZooKeeper meanwhile", hint=_AGAIN
            ) from refused

    def _empty(self, folder: str) -> None:
        for name in requests.children(self._session, folder):
            self._empty(f"{folder}/{name}")
            requests.remove(self._session, f"{folder}/{name}")
