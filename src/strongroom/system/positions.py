"""Ports for reading and writing bytes at positions, so that envelopes and archives need not know files."""

from collections.abc import Callable
from typing import Protocol

Progress = Callable[[int], None]
"""Called with the number of bytes done since the last call."""

Span = tuple[int, int]
"""Positions from the first one to the one behind the last."""


class Source(Protocol):
    """Something of a known size to read from, in any order and from any thread."""

    @property
    def size(self) -> int:
        """The number of bytes."""
        ...

    def read_into_at(self, offset: int, target: memoryview) -> int:
        """Fill the buffer from this offset on; less only at the end."""
        ...


class Sink(Protocol):
    """Something to write to, in any order and from any thread."""

    def write_at(self, offset: int, data: bytes | memoryview) -> None:
        """Write the whole buffer at this offset."""
        ...


class HeaderPage(Protocol):
    """The header of a stored file under its exclusive lock, for a rewrap (envelope.md §5.1)."""

    def read(self, count: int) -> bytes:
        """The first bytes, read from the store and not from a cache of this process."""
        ...

    def read_back(self, count: int) -> bytes:
        """The first bytes as the disk has them, and not as a cache of the system; after `sync` (envelope.md §5.4)."""
        ...

    def write_at(self, offset: int, data: bytes) -> None:
        """Overwrite one sector of 512 bytes, or one block of 4096."""
        ...


class SharesSync(HeaderPage, Protocol):
    """A page that lies on a file system of this machine: a batch of such pages may share one sync."""

    def sync(self) -> None:
        """Make all that was written durable."""
        ...

    def sync_all(self) -> None:
        """Make everything on the page's file system durable: one call for many pages."""
        ...

    @property
    def device(self) -> int:
        """The file system of the page; pages of the same one may share `sync_all`."""
        ...
