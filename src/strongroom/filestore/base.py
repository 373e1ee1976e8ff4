"""The port to the file store, which keeps the files of extracts, and to its handles for reading and writing at positions."""

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Final, NamedTuple, Protocol

from strongroom.errors import UsageError
from strongroom.system.positions import Span

HEADER_BYTES: Final = 8192
"""Length of the part of a file that may change: the longest header of an envelope (format/envelope-2.md §1)."""
BLOCK_BYTES: Final = 4096

# The first character of a part is never a dot: this excludes "..", which would lead out of the store, and hidden files,
# and so every temporary name.
_KEY: Final = re.compile(r"[a-z0-9][a-z0-9._-]{0,99}(/[a-z0-9][a-z0-9._-]{0,99}){0,4}")

Step = Callable[[bytes], bytes]
"""Returns the header after the next step, given the present one; the same if nothing is left to do."""


def checked_key(key: str) -> str:
    """A storage key as it is: 1 to 5 parts of safe names.

    Raises:
        UsageError: The text is no key.
    """
    if not _KEY.fullmatch(key):
        raise UsageError(f"not a storage key: {key!r}")
    return key


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


class StoredContent(ReadableFile, Protocol):
    """An open file of a store, whose reader may say what it comes for."""

    def expect(self, spans: Iterable[Span]) -> None:
        """Hear what will be read next, so that a store far away is asked for all of it at once; it may be read or not."""
        ...


class PendingFile(Protocol):
    """A new file that is invisible until `commit`; threads may share the handle.

    A writer writes each byte exactly once, and leaves no gap. A store that can only take parts in order has to buffer
    those that come early, so a writer keeps near to the order; only the header may come last.
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


class LastingPin(NamedTuple):
    """A pin by which a store keeps what is deleted, for a backup that does not hold it.

    Attributes:
        id: Id of the backup.
        file: Name of the backup's file.
        made_at: When the pin was written, by the store's clock: what was there then can be read.
        until: When the pin ends.
        in_force: Whether the pin had not ended when it was listed, by the store's clock.
    """

    id: str
    file: str
    made_at: datetime
    until: datetime
    in_force: bool


class FileStore(Protocol):
    """Immutable files under path-like keys, but for their headers.

    The contract (tests/contract/filestore/test_port.py) that every implementation keeps:

    - A file exists whole or not at all, and never changes except in its first `HEADER_BYTES`.
    - A reader that has opened a file reads it to its end, even after its key was deleted or its header was swapped.
    - Swaps of one file's header happen one after the other, over all processes; each begins with the header that the one
      before has left. A reader meanwhile sees each block as it was after one of their steps.
    - Sectors, file systems and syncs are no part of the port; a store uses them as it needs.
    """

    def put(self, key: str, *, expected_bytes: int = 0) -> PendingFile:
        """Begin a new file; `expected_bytes` is a hint for its allocation."""
        ...

    def open(self, key: str) -> StoredContent:
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
        """Change the header of a file, step by step; durable when it returns.

        Args:
            key: The key of the file.
            change: Gets the first `HEADER_BYTES` of the stored file, or all of a shorter one; returns them as they are
                after the next step, and the same bytes if nothing is left to do. The function goes by these bytes
                alone, since a store that finds that somebody else changed them meanwhile asks anew with what is there.
                A step changes a single block of 4096 bytes, so that a store that overwrites in place has, whenever it
                dies, the other block as it was; a store that replaces whole files may take all steps at once. If it
                raises, the header stays as it was after the last step.

        Raises:
            NotFoundError: The store has no file of this key.
            UsageError: A step changes more than one block, or the length.
            IntegrityError: The store gives back something else than was written.
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


class NodeFiles(FileStore, Protocol):
    """A file store with what its node does for it."""

    def place_of(self, key: str) -> str:
        """Where the file of a key lies, for a person: a path, or the address of an object.

        Raises:
            UsageError: The text is no key.
        """
        ...

    def remove_leftovers(self) -> int:
        """Remove what dead processes of this node left, at its start; returns how many files went."""
        ...

    def sweep(self) -> int:
        """Remove what nobody needs any longer, while processes work; returns how many files went."""
        ...

    def empty(self) -> int:
        """Remove every file, and all that is left of others; returns how many there were. Nobody may use the store.

        Raises:
            StateError: A backup that does not hold its extracts relies on the store; nothing was removed.
        """
        ...

    def check_unpinned(self) -> None:
        """Look whether a backup relies on what the store keeps, so that the store must not be emptied.

        Raises:
            StateError: A pin of a backup is in force.
            FormatError: An object among the pins is none.
            StorageError: The store refuses, or does not answer.
        """
        ...


class PinningStore(NodeFiles, Protocol):
    """A store that keeps what is deleted for backups that do not hold it (format/object-store.md §6.3)."""

    @property
    def address(self) -> str:
        """The address of the store, as `extracts move` takes it."""
        ...

    def lasting_pins(self) -> tuple[LastingPin, ...]:
        """The pins of backups that do not hold their extracts, those too whose time is over."""
        ...

    def pin(self, pin_id: str, *, file: str, until: datetime) -> None:
        """Keep what is there now, and is deleted later, until a time.

        Raises:
            StorageError: The store refuses, or does not answer.
        """
        ...

    def release(self, pin_id: str) -> None:
        """End a pin before its time.

        Raises:
            NotFoundError: There is no pin of this id.
            StorageError: The store refuses, or does not answer.
        """
        ...

    def reference(self, key: str) -> bytes:
        """The bytes that a backup holds in the place of a file: the file's header, and where its other bytes are.

        Raises:
            NotFoundError: The store has no file of this key, and none that was deleted a short time ago.
            StorageError: The store refuses, or does not answer.
        """
        ...

    def open_reference(self, key: str, reference: bytes) -> StoredContent:
        """The file as it was when its reference was made, by the header of that time.

        Raises:
            NotFoundError: The other bytes are no longer there.
            IntegrityError: The other bytes are of another length.
            FormatError: The bytes are no reference.
            StorageError: The store refuses, or does not answer.
        """
        ...
