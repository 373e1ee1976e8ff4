"""A new file on its way into an object store: the body goes in parts while it is written, the head makes it be there (§3)."""

import threading
import time
from concurrent.futures import Executor, Future
from contextlib import suppress
from typing import Final

from strongroom.errors import ConflictError, StateError, StorageError, StrongroomError
from strongroom.filestore.base import HEADER_BYTES
from strongroom.ids import new_id
from strongroom.objectstore import heads
from strongroom.objectstore.base import Bucket, MissingError
from strongroom.objectstore.head import Head

PART_BYTES: Final = 8 << 20
_LARGE_PART_BYTES: Final = 64 << 20
_SMALL_PARTS: Final = 2000
PARTS_AT_ONCE: Final = 3
"""Parts of one file that are on their way; as many are in memory, and one more."""
FRESH_S: Final = 3600
"""A body that was complete so long ago may be swept any time from then on (§3.1)."""


class PendingObject:
    """A new file, invisible until `commit`; threads may share it.

    Bytes that come early are kept until those before them are there.

    Args:
        bucket: The objects of the store.
        key: The key of the file.
        pool: Runs the requests of the parts.
    """

    def __init__(self, bucket: Bucket, key: str, pool: Executor) -> None:
        self._bucket, self._key = bucket, key
        self._id = new_id().replace("-", "")
        self._lock = threading.Lock()
        self._header = bytearray()
        self._header_parts: dict[int, bytes] = {}
        self._early: dict[int, bytes] = {}
        self._body = _Body(bucket, heads.body_place(key, self._id), pool)
        self._is_done = False

    def write_at(self, offset: int, data: bytes | memoryview) -> None:
        """Take the whole buffer at this offset.

        Raises:
            StorageError: The store refuses a part, or does not answer.
        """
        piece = memoryview(data).cast("B")
        inside = max(0, min(len(piece), HEADER_BYTES - offset))
        with self._lock:
            if inside:
                self._header_parts[offset] = bytes(piece[:inside])
            if inside < len(piece):
                self._take(offset + inside - HEADER_BYTES, piece[inside:])

    def commit(self) -> None:
        """Complete the body, and let the file be there.

        Raises:
            ConflictError: The key exists already.
            StorageError: The store refuses, or does not answer.
        """
        with self._lock:
            if self._is_done:
                raise StateError(f"the file {self._key} is finished already")
            header = self._whole_header()
            if self._early:
                raise StateError(f"the file {self._key} has gaps")
            size = self._body.finish()
            complete = time.clock_gettime(time.CLOCK_BOOTTIME)
            self._check(size)
            if time.clock_gettime(time.CLOCK_BOOTTIME) - complete > FRESH_S:
                raise StorageError(f"the file {self._key} was not finished in time")
            # From here on the head may be there, whatever is answered, and then it needs the body. Only another writer's head
            # shows that ours is not: without one, the sweep removes the body.
            self._is_done = True
            try:
                heads.Heads(self._bucket).create(self._key, Head(header, size, self._id))
            except ConflictError:
                self._is_done = False
                raise

    def abort(self) -> None:
        """Remove what was written; does nothing after `commit`, also if nobody knows what became of that."""
        with self._lock:
            if self._is_done:
                return
            self._is_done = True
            self._early.clear()
            with suppress(StrongroomError):  # the sweep removes it later
                self._body.discard()

    # ---- inside ----------------------------------------------------------------------------------

    def _take(self, at: int, piece: memoryview) -> None:
        if at != self._body.written:
            self._early[at] = bytes(piece)
            return
        self._body.append(piece)
        while (found := self._early.pop(self._body.written, None)) is not None:
            self._body.append(memoryview(found))

    def _whole_header(self) -> bytes:
        header = bytearray()
        for offset in sorted(self._header_parts):
            if offset != len(header):
                raise StateError(f"the file {self._key} has gaps")
            header += self._header_parts[offset]
        if self._body.written and len(header) != HEADER_BYTES:
            raise StateError(f"the file {self._key} has gaps")
        return bytes(header)

    def _check(self, size: int) -> None:
        """A store that lost a part must be found out before anything relies on the file."""
        if not size:
            return
        try:
            stored = self._bucket.size(self._body.name)
        except MissingError:
            stored = 0
        if stored != size:
            raise StorageError(
                f"the object store {self._bucket.address.shown} has {stored} of {size} bytes of {self._body.name}"
            )


class _Body:
    """The bytes behind the header, in parts of one upload, or as one object if they are few; one caller at a time."""

    def __init__(self, bucket: Bucket, name: str, pool: Executor) -> None:
        self._bucket, self.name, self._pool = bucket, name, pool
        self.written = 0
        self._buffer = bytearray()
        self._upload_id = ""
        self._parts: list[Future[str]] = []
        self._is_written = False

    def append(self, piece: memoryview) -> None:
        """Take the next bytes; waits while enough parts are on their way."""
        self.written += len(piece)
        while len(piece):
            room = self._part_bytes - len(self._buffer)
            self._buffer += piece[:room]
            piece = piece[room:]
            if len(self._buffer) == self._part_bytes and len(piece):
                self._send()

    def finish(self) -> int:
        """Make the object; returns its length, 0 if there is none since no bytes came."""
        if self._upload_id:
            self._send()
            tags = [part.result() for part in self._parts]
            self._bucket.complete_parts(self.name, self._upload_id, tags)
            self._is_written, self._upload_id = True, ""
        elif self.written:
            self._is_written = (
                True  # before its time, so that `discard` removes what a lost answer left
            )
            self._bucket.write(self.name, bytes(self._buffer))
        return self.written

    def discard(self) -> None:
        """Remove the parts, or the object."""
        for part in self._parts:
            part.cancel()
        for part in self._parts:
            with suppress(BaseException):
                part.result()
        if self._upload_id:
            self._bucket.abort_parts(self.name, self._upload_id)
        if self._is_written:
            self._bucket.delete(self.name)

    @property
    def _part_bytes(self) -> int:
        return PART_BYTES if len(self._parts) < _SMALL_PARTS else _LARGE_PART_BYTES

    def _send(self) -> None:
        if not self._upload_id:
            self._upload_id = self._bucket.begin_parts(self.name)
        if len(self._parts) >= PARTS_AT_ONCE:
            self._parts[-PARTS_AT_ONCE].result()
        data, self._buffer = bytes(self._buffer), bytearray()
        number = len(self._parts) + 1
        self._parts.append(
            self._pool.submit(self._bucket.write_part, self.name, self._upload_id, number, data)
        )
