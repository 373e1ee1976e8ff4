"""Values that are too large for an entry: chunks below a node that is named for the value's digest.

Chunks are written once, by whoever puts the value, before the entry that refers to it; so the previous document costs
nothing but an entry. What nobody refers to is collected later. The version of a blob's node settles who is first, a put
that will refer to the blob, or a collection: both change or check it in the transaction that counts.
"""

from collections.abc import Callable, Collection
from contextlib import suppress
from typing import Final

from strongroom.coordination.zookeeper import requests
from strongroom.coordination.zookeeper.requests import Kind, Operation, Refused
from strongroom.coordination.zookeeper.session import Session, exceptions
from strongroom.coordination.zookeeper.settings import Deadline
from strongroom.coordination.zookeeper.tree import BlobRef, Tree, chunks_of, joined, ref_to

_DYING: Final = b"dying"
_LIVE: Final = b""
_TOGETHER: Final = 4
"""The number of chunks that are under way together."""

Referred = Callable[[], Collection[bytes]]


class Blobs:
    """The blobs of an installation."""

    def __init__(self, session: Session, tree: Tree) -> None:
        self._session = session
        self._tree = tree

    def write(self, value: bytes) -> tuple[BlobRef, Operation]:
        """Store a value, unless it is stored; each group of chunks may take as long as a read.

        Returns:
            The reference to it, and the operation that must stand in the transaction that writes the reference.

        Raises:
            CoordinationError: No server answers in time.
        """
        ref = ref_to(value)
        path = self._tree.blob(ref.digest)
        while True:
            version = self._revived(path)
            # a collection may remove the node meanwhile
            with suppress(exceptions.NoNodeError):
                self._write_chunks(ref, value)
                return ref, Operation(Kind.CHECK, path, version=version)

    def read(self, key: str, ref: BlobRef) -> bytes | None:
        """A value by its reference; None if it has been collected, so that the entry must be read anew.

        Raises:
            CoordinationError: No server answers in time, or the chunks are not those of the reference.
        """
        paths = [self._tree.chunk(ref.digest, number) for number in range(ref.chunks)]
        chunks = [
            one.value for one in requests.read_together(self._session, paths) if one is not None
        ]
        return joined(key, ref, chunks) if len(chunks) == len(paths) else None

    def collect(self, digest: bytes, referred: Referred, deadline: Deadline) -> bool:
        """Remove a blob to which no entry refers; whether it is gone.

        Args:
            digest: The blob.
            referred: Reads the digests to which entries refer.
            deadline: The end of the call.

        Raises:
            CoordinationError: No server answers in time.
        """
        path = self._tree.blob(digest)
        marked = self._marked(path, deadline)
        if marked is None or digest in referred():
            return False
        names = requests.children(self._session, path, deadline)
        gone = [Operation(Kind.DELETE, f"{path}/{name}") for name in names]
        try:
            # a put that has looked since has given the node another version, and this is refused
            requests.transact(
                self._session,
                [Operation(Kind.CHECK, path, version=marked), *gone, Operation(Kind.DELETE, path)],
                deadline,
            )
        except Refused:
            return False
        return True

    def _write_chunks(self, ref: BlobRef, value: bytes) -> None:
        there = set(requests.children(self._session, self._tree.blob(ref.digest)))
        missing = {
            self._tree.chunk(ref.digest, number): chunk
            for number, chunk in enumerate(chunks_of(value))
            if str(number) not in there
        }
        paths = list(missing)
        for start in range(0, len(paths), _TOGETHER):
            group = {path: missing[path] for path in paths[start : start + _TOGETHER]}
            requests.create_all(self._session, group)

    def _revived(self, path: str) -> int:
        """The version of a blob's node that no collection has marked since."""
        while True:
            node = requests.read(self._session, path)
            if node is not None and node.value != _DYING:
                return node.version
            if node is None:
                requests.create_missing(self._session, path)
                continue
            with suppress(exceptions.BadVersionError, exceptions.NoNodeError):
                self._set(path, _LIVE, node.version)

    def _marked(self, path: str, deadline: Deadline) -> int | None:
        """Mark a blob's node as dying; its version then, None if somebody was quicker."""
        node = requests.read(self._session, path, deadline)
        if node is None:
            return None
        try:
            return self._set(path, _DYING, node.version)
        except (exceptions.BadVersionError, exceptions.NoNodeError):
            return None

    def _set(self, path: str, value: bytes, version: int) -> int:
        stat = self._session.ask(lambda client: client.set_async(path, value, version=version))
        return int(stat.version)
