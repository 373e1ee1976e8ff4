"""What a stored extract is, and the handles to write and to read one."""

import io
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Self

from strongroom.envelope.writer import SealingWriter, stored_bytes
from strongroom.errors import StateError
from strongroom.filestore.base import PendingFile, ReadableFile
from strongroom.overriding import override

_CHUNK_BYTES = 1024 * 1024


@dataclass(frozen=True)
class StoredFile:
    """What the caller's row keeps of a stored file.

    Attributes:
        storage_key: Where it lies in the file store.
        file_id: Hex of the envelope's file id; empty if plain.
        mek_id: The MEK that wraps its DEK; empty if plain.
        plaintext_bytes: Size of the content.
        stored_bytes: Size of the file.
    """

    storage_key: str
    file_id: str
    mek_id: str
    plaintext_bytes: int
    stored_bytes: int

    @property
    def encrypted(self) -> bool:
        """Whether it is an envelope."""
        return bool(self.file_id)


class VaultWriter:
    """A new stored file; a context manager that aborts unless it was committed.

    Attributes:
        planned: Key, file id and MEK; the sizes are not known yet.
    """

    def __init__(
        self, planned: StoredFile, pending: PendingFile, sealing: SealingWriter | None
    ) -> None:
        self.planned = planned
        self._pending, self._sealing = pending, sealing
        self._written = 0
        self._closed = False

    def write(self, data: bytes | bytearray | memoryview) -> int:
        """Take plaintext; returns how much (all of it)."""
        if self._closed:
            raise StateError(f"{self.planned.storage_key} is finished already")
        if self._sealing is not None:
            self._sealing.write(data)
        else:
            self._pending.write_at(self._written, memoryview(data).cast("B"))
        self._written += len(data)
        return len(data)

    def commit(self) -> StoredFile:
        """Finish, sync, make visible."""
        if self._closed:
            raise StateError(f"{self.planned.storage_key} is finished already")
        try:
            size = self._written
            if self._sealing is not None:
                self._sealing.finish()
                size = stored_bytes(self._written, self._sealing.segment_bytes)
            self._pending.commit()
        finally:
            self.abort()
        return replace(self.planned, plaintext_bytes=self._written, stored_bytes=size)

    def abort(self) -> None:
        """Leave nothing behind; harmless after commit."""
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
        """Plaintext bytes."""
        return self._source.size

    def read_at(self, offset: int, count: int) -> bytes:
        """Up to `count` verified bytes from this offset; fewer only at the end."""
        target = bytearray(max(0, min(count, self.size - offset)))
        return bytes(target[: self.read_into_at(offset, memoryview(target))])

    def read_into_at(self, offset: int, target: memoryview) -> int:
        """Fill the buffer with verified bytes; less only at the end. A reader is a source of the data path.

        Raises:
            IntegrityError: The file was damaged; the buffer is then worth nothing.
        """
        return self._source.read_into_at(offset, target)

    def iterate(
        self, start: int = 0, stop: int | None = None, chunk: int = _CHUNK_BYTES
    ) -> Iterator[bytes]:
        """The verified bytes of a range, in pieces of at most `chunk`."""
        end = self.size if stop is None else min(stop, self.size)
        for offset in range(start, end, chunk):
            yield self.read_at(offset, min(chunk, end - offset))

    def as_file(self) -> "VaultFile":
        """A seekable binary file over this reader; closing it closes the reader."""
        return VaultFile(self)

    def close(self) -> None:
        """Let go of the file, and of the plaintext that is kept."""
        self._source.close()
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class VaultFile(io.RawIOBase):
    """A reader as a file object, for libraries that want one (zipfile, for one)."""

    def __init__(self, reader: VaultReader) -> None:
        self._reader = reader
        self._position = 0

    @override
    def readable(self) -> bool:
        """Yes."""
        return True

    @override
    def seekable(self) -> bool:
        """Yes."""
        return True

    @override
    def tell(self) -> int:
        """Where the next read begins."""
        return self._position

    @override
    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move; returns the new position."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._reader.size}
        target = base[whence] + offset
        if target < 0:
            raise ValueError(f"negative seek position {target}")
        self._position = target
        return target

    @override
    def readinto(self, target: object) -> int:
        """Fill the buffer; 0 at the end."""
        view = memoryview(target).cast("B")  # type: ignore[arg-type]  # typeshed names no buffer protocol before 3.12
        count = self._reader.read_into_at(self._position, view)
        self._position += count
        return count

    @override
    def close(self) -> None:
        """Close the reader too."""
        self._reader.close()
        super().close()
