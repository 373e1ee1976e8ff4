"""The port to the file store, which keeps the files of extracts, and to its handles for reading and writing at positions."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Final, Protocol

HEADER_PAGE_BYTES: Final = 4096
"""Length of the part of a file that may change: the page with an envelope's header (format/envelope.md §2)."""
SECTOR_BYTES: Final = 512

Step = Callable[[bytes], bytes]
"""Returns the page after the next step, given the present page; the same page if nothing is left to do."""


@dataclass(frozen=True)
class FileStat:
    """The facts that the store knows about a file."""

    bytes: int


class ReadableFile(Protocol):
    """An open stored file; it stays readable after its key was deleted. Threads may share it."""

    @property
    def size(self) -> int:
        """Length of the stored file in bytes."""
        ...

    def read_into_at(self, offset: int, target: memoryview) -> int:
        """Fill the buffer from this offset on; less only at the end of the file."""
        ...

    def close(self) -> None:
        """Close the file."""
        ...


class PendingFile(Protocol):
    """A new file that is invisible until `commit`; threads may share the handle.

    A writer writes each byte exactly once, and leaves no gap. A store that can only take parts in order has to buffer
    those that come early, so a writer keeps near to the order; only the header page may come last.
    """

    def write_at(self, offset: int, data: bytes | memoryview) -> None:
        """Write the whole buffer at this offset."""
        ...

    def commit(self) -> None:
        """Make the file visible under its key; durable when the call returns.

        Raises:
            ConflictError: The key exists already.
            StorageError: The disk refused.
        """
        ...

    def abort(self) -> None:
        """Delete the bytes that were written; does nothing after `commit`."""
        ...


class Kept(Protocol):
    """Files that stay readable, even if they are deleted, until the store lets go of them."""

    def add(self, keys: Iterable[str]) -> list[str]:
        """Keep these files as well; returns the keys of files that do not exist any more.

        Raises:
            UsageError: A text is no key.
            StorageError: The store cannot keep files.
        """
        ...

    def open(self, key: str) -> ReadableFile:
        """Open a kept file."""
        ...


class FileStore(Protocol):
    """Immutable files under path-like keys, but for their header pages.

    The contract (tests/contract/filestore/test_port.py) that every implementation keeps:

    - A file exists whole or not at all, and never changes except in its first `HEADER_PAGE_BYTES`.
    - A reader that has opened a file reads it to its end, even after its key was deleted or its page was swapped.
    - Swaps of one file's page happen one after the other, over all processes; each begins with the page that the one
      before has left. A reader meanwhile sees a page that was whole after one of their steps.
    - Sectors, file systems and syncs are no part of the port; a store uses them as it needs.
    """

    def put(self, key: str, *, expected_bytes: int = 0) -> PendingFile:
        """Begin a new file; `expected_bytes` is a hint for its allocation."""
        ...

    def open(self, key: str) -> ReadableFile:
        """Open a file.

        Raises:
            NotFoundError: The store has no file of this key.
        """
        ...

    def delete(self, key: str) -> None:
        """Delete a file; a missing file is no error."""
        ...

    def list(self) -> Iterator[str]:
        """Every key, in no order."""
        ...

    def stat(self, key: str) -> FileStat:
        """The facts about a file.

        Raises:
            NotFoundError: The store has no file of this key.
        """
        ...

    def swap_header(self, key: str, change: Step) -> None:
        """Change the first page of a file, step by step; durable when it returns.

        Args:
            key: The key of the file.
            change: Returns the page after the next step, given the stored page, and the same page if nothing is left to
                do. A step changes a single sector of 512 bytes, so that a store that overwrites in place is at every
                moment before or after a step; a store that replaces whole pages may take all steps at once. If it
                raises, the page stays as it was after the last step.

        Raises:
            NotFoundError: The store has no file of this key.
            UsageError: A step changes more than one sector, or the length of the page.
            IntegrityError: The page that is read back is not the one that was written.
            StorageError: The disk refused.
        """
        ...

    def keep(self, keys: Iterable[str] = ()) -> Kept:
        """Keep files for a caller, who must hold a lock so that it is the only one; files of a dead caller are let go first.

        Raises:
            UsageError: A text is no key.
            StorageError: The store cannot keep files.
        """
        ...

    @property
    def is_keeping(self) -> bool:
        """Whether files are kept, by a caller that lives or by one that died."""
        ...

    def let_go(self) -> None:
        """Let go of all kept files; does nothing if none are kept."""
        ...

    def free_bytes(self) -> int | None:
        """How many more bytes fit into the store; None if it knows no limit."""
        ...
