"""The port to where files lie, and the handles it gives: positional reads and writes."""

from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class FileStat:
    """What the store knows of a file."""

    bytes: int


class ReadableFile(Protocol):
    """An open stored file; it stays readable after its key was deleted. Threads may share it."""

    @property
    def size(self) -> int:
        """Bytes stored."""
        ...

    def read_into_at(self, offset: int, target: memoryview) -> int:
        """Fill the buffer from this offset on; less only at the end of the file."""
        ...

    def close(self) -> None:
        """Let go of it."""
        ...


class PendingFile(Protocol):
    """A new file that nobody sees until `commit`. Threads may share it."""

    def write_at(self, offset: int, data: bytes | memoryview) -> None:
        """Write the whole buffer at this offset."""
        ...

    def commit(self) -> None:
        """Make it visible under its key; durable when it returns.

        Raises:
            ConflictError: The key exists already.
            StorageError: The disk refused.
        """
        ...

    def abort(self) -> None:
        """Remove what was written; harmless after `commit`."""
        ...


class HeaderPage(Protocol):
    """The first page of a stored file under its exclusive lock, for a rewrap."""

    def read(self, count: int) -> bytes:
        """The first bytes, from the store, not from a cache of ours."""
        ...

    def write_sector(self, offset: int, sector: bytes) -> None:
        """Overwrite one 512-byte sector."""
        ...

    def sync(self) -> None:
        """Make all written sectors durable."""
        ...

    def sync_all(self) -> None:
        """Make everything on its file system durable: one call for many pages."""
        ...

    @property
    def device(self) -> int:
        """Which file system it is on."""
        ...


class FileStore(Protocol):
    """Immutable files under path-like keys, but for their header pages."""

    def put(self, key: str, *, expected_bytes: int = 0) -> PendingFile:
        """Begin a new file; `expected_bytes` is a hint for its allocation."""
        ...

    def open(self, key: str) -> ReadableFile:
        """Open a file.

        Raises:
            NotFoundError: There is none under this key.
        """
        ...

    def delete(self, key: str) -> None:
        """Remove a file; one that is not there is no error."""
        ...

    def list(self) -> Iterator[str]:
        """Every key, in no order."""
        ...

    def stat(self, key: str) -> FileStat:
        """What is known of a file.

        Raises:
            NotFoundError: There is none under this key.
        """
        ...

    def replace_header(self, key: str) -> AbstractContextManager[HeaderPage]:
        """Lock a file for a rewrap of its header page."""
        ...
