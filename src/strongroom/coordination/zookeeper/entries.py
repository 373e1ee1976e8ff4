"""Reads entries: one at its last version, or several as of one moment."""

from collections.abc import Mapping

from strongroom.coordination.base import LOCKS, Versioned
from strongroom.coordination.zookeeper import requests
from strongroom.coordination.zookeeper.blobs import Blobs
from strongroom.coordination.zookeeper.requests import Node
from strongroom.coordination.zookeeper.session import Session
from strongroom.coordination.zookeeper.settings import Deadline
from strongroom.coordination.zookeeper.tree import BlobRef, Tree, content_of
from strongroom.errors import CoordinationError


class Entries:
    """The entries of an installation, for reading."""

    def __init__(self, session: Session, tree: Tree) -> None:
        self._session = session
        self._tree = tree
        self._blobs = Blobs(session, tree)

    def get(self, key: str) -> Versioned | None:
        """The value of a key; None if the key does not exist.

        Raises:
            CoordinationError: No server answers in time, or the entry is damaged.
        """
        if key.startswith(LOCKS):
            node = requests.read(self._session, self._path(key))
            return (
                Versioned(node.value, node.version) if node is not None and node.version else None
            )
        while True:
            node = requests.read(self._session, self._path(key))
            if node is None:
                return None
            value = self._value(key, node)
            if value is not None:
                return Versioned(value, node.version + 1)

    def version(self, key: str) -> int:
        """The version of a key's value, 0 if the key does not exist.

        Raises:
            CoordinationError: No server answers in time.
        """
        found = requests.version(self._session, self._path(key))
        if found is None:
            return 0
        return found if key.startswith(LOCKS) else found + 1

    def list(self, prefix: str, deadline: Deadline) -> Mapping[str, Versioned]:
        """The entries whose keys begin with a prefix, in the order of their keys and as of one moment.

        Raises:
            CoordinationError: No server answers in time, or no moment was found in which nobody wrote.
        """
        while True:
            # every put writes the parent, so what lies between two equal reads of it is of one moment
            before = requests.read(self._session, self._tree.entries, deadline)
            found = self._listed(prefix, deadline)
            after = requests.read(self._session, self._tree.entries, deadline)
            if before == after and found is not None:
                return found
            if deadline.is_over:
                raise CoordinationError(
                    f"the entries below {prefix!r} change faster than ZooKeeper can be read",
                    hint="try again",
                )

    def referred(self) -> frozenset[bytes]:
        """The digests of all blobs to which entries refer.

        Raises:
            CoordinationError: No server answers in time, or an entry is damaged.
        """
        names = requests.children(self._session, self._tree.entries)
        paths = [f"{self._tree.entries}/{name}" for name in names]
        nodes = requests.read_together(self._session, paths)
        contents = [
            content_of(self._tree.key(name), node.version + 1, node.value)
            for name, node in zip(names, nodes, strict=True)
            if node is not None
        ]
        return frozenset(one.digest for one in contents if isinstance(one, BlobRef))

    def _listed(self, prefix: str, deadline: Deadline) -> dict[str, Versioned] | None:
        """The entries below a prefix; None if one of them changed meanwhile."""
        keys = sorted(
            map(self._tree.key, requests.children(self._session, self._tree.entries, deadline))
        )
        # the prefix itself is no key that begins with it
        inside = [key for key in keys if key.startswith(prefix) and key != prefix]
        nodes = requests.read_together(self._session, [self._path(key) for key in inside], deadline)
        found: dict[str, Versioned] = {}
        for key, node in zip(inside, nodes, strict=True):
            value = None if node is None else self._value(key, node)
            if node is None or value is None:
                return None
            found[key] = Versioned(value, node.version + 1)
        return found

    def _value(self, key: str, node: Node) -> bytes | None:
        """The value of an entry's node; None if it was in a blob that is gone, since the entry has changed."""
        content = content_of(key, node.version + 1, node.value)
        return self._blobs.read(key, content) if isinstance(content, BlobRef) else content

    def _path(self, key: str) -> str:
        if key.startswith(LOCKS):
            return self._tree.epoch(key.removeprefix(LOCKS))
        return self._tree.entry(key)
