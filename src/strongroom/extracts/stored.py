"""A stored extract as a value, and the handles to write and to read one."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Self

from strongroom.envelope.writer import SealingWriter, stored_bytes
from strongroom.errors import StateError
from strongroom.filestore.base import PendingFile, ReadableFile
from strongroom.system.source_file import SourceFile

_CHUNK_BYTES = 1024 * 1024


@dataclass(frozen=True)
class StoredFile:
    """The description of a stored file, which the caller keeps in a row.

    Attributes:
        storage_key: Key of the file in the file store.
        file_id: Hex of the envelope's file id; empty for a plain file.
        mek_id: The MEK that wraps the data key; empty for a plain file.
        plaintext_bytes: Length of the plaintext.
        stored_bytes: Length of the file.
    """

    storage_key: str
    file_id: str
    mek_id: str
    plaintext_bytes: int
    stored_bytes: int

    @property
    def encrypted(self) -> bool:
        """Whether the file is an envelope."""
        return bool(self.file_id)


class VaultWriter:
    """A new stored file; a context manager that aborts unless it was committed.

    Attributes:
        planned: Storage key, file id and MEK of the new file; its sizes are 0.
    """

    def __init__(
        self, planned: StoredFile, pending: PendingFile, sealing: SealingWriter | None
    ) -> None:
        self.planned = planned
        self._pending, self._sealing = pending, sealing
        self._written = 0
        self._closed = False

    def write(self, data: bytes | bytearray | memoryview) -> int:
        """Take all bytes of a piece of plaintext; returns their number."""
        if self._closed:
            raise StateError(f"{self.planned.storage_key} is finished already")
        if self._sealing is not None:
            self._sealing.write(data)
        else:
            self._pending.write_at(self._written, memoryview(data).cast("B"))
        self._written += len(data)
        return len(data)

    def commit(self) -> StoredFile:
        """Finish the file, sync it, and make it visible."""
        if self._closed:
            raise StateError(f"{self.planned.storage_key} is finished already")
        try:
            size = self._written
            if self._sealing is not None:
                self._sealing.finish()
                size = stored_bytes(self._sealing.prelude, self._written)
            self._pending.commit()
        finally:
            self.abort()
        return replace(self.planned, plaintext_bytes=self._written, stored_bytes=size)

    def abort(self) -> None:
        """Delete the file; does nothing after `commit`."""
        self._closed = True
        if self._sealing is not None:
            self._sealing.discard()
        self._pending.abort()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.abort()


class VaultReader:
    """Random access to a stored file's plaintext, from any thread; a context manager."""

    def __init__(self, source: ReadableFile, file: ReadableFile) -> None:
        self._source, self._file = source, file

    @property
    def size(self) -> int:
        """Length of the plaintext in bytes."""
        return self._source.size

    def read_into_at(self, offset: int, target: memoryview) -> int:
        """Fill the buffer with verified bytes, fewer only at the end; a reader is a `Source`.

        Raises:
            IntegrityError: The file was damaged; the caller must discard the buffer.
        """
        return self._source.read_into_at(offset, target)

    def iterate(
        self, start: int = 0, stop: int | None = None, chunk: int = _CHUNK_BYTES
    ) -> Iterator[bytearray]:
        """The verified bytes of a range, in pieces of at most `chunk`: each a new one, opened where it lies."""
        end = self.size if stop is None else min(stop, self.size)
        for offset in range(start, end, chunk):
            yield self._piece(offset, min(chunk, end - offset))

    def _piece(self, offset: int, count: int) -> bytearray:
        target = bytearray(max(0, min(count, self.size - offset)))
        done = self.read_into_at(offset, memoryview(target))
        del target[done:]
        return target

    def as_file(self) -> SourceFile:
        """A seekable binary file over this reader; closing it closes the reader."""
        return SourceFile(self, self.close)

    def close(self) -> None:
        """Close the file, and drop the buffers with plaintext."""
        self._source.close()
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
