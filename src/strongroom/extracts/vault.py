"""Stored extracts, encrypted or plain: create, open, encrypt, decrypt, re-encrypt, rewrap, verify.

It never changes a stored file but for its header page: each change writes a new storage key,
synced and read back; the caller switches its row and then deletes the old key.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from strongroom.envelope.header import Placement
from strongroom.envelope.keys import EnvelopeKeys
from strongroom.filestore.base import FileStore

Throttle = Callable[[int], None]


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


class ExtractVault:
    """Everything that may be done to stored extracts."""

    def __init__(self, files: FileStore, keys: EnvelopeKeys) -> None:
        self._files = files
        self._keys = keys

    def create(self, placement: Placement, *, encrypted: bool) -> "VaultWriter":
        """Begin a new file of unknown length; nothing is visible before its commit."""
        raise NotImplementedError

    def open(self, stored: StoredFile, placement: Placement) -> "VaultReader":
        """Open for random access."""
        raise NotImplementedError

    def encrypt(
        self, stored: StoredFile, placement: Placement, *, throttle: Throttle | None = None
    ) -> StoredFile:
        """A new envelope from a plain file."""
        raise NotImplementedError

    def decrypt(
        self, stored: StoredFile, placement: Placement, *, throttle: Throttle | None = None
    ) -> StoredFile:
        """A new plain file from an envelope."""
        raise NotImplementedError

    def reencrypt(
        self, stored: StoredFile, placement: Placement, *, throttle: Throttle | None = None
    ) -> StoredFile:
        """A new envelope with a new DEK from an envelope; no plaintext touches the disk."""
        raise NotImplementedError

    def rewrap(self, stored: StoredFile, placement: Placement) -> StoredFile:
        """The same file with its DEK under the active MEK and this placement."""
        raise NotImplementedError

    def verify(
        self, stored: StoredFile, placement: Placement, *, throttle: Throttle | None = None
    ) -> int:
        """Authenticate every byte; returns the plaintext's size."""
        raise NotImplementedError

    def delete(self, storage_key: str) -> None:
        """Remove a stored file."""
        raise NotImplementedError

    def mek_ids(self, storage_key: str) -> set[str]:
        """The MEKs that a stored file depends on, of both slots; empty if plain."""
        raise NotImplementedError

    def leftovers(self, known: set[str]) -> list[str]:
        """Storage keys that are in the store and not among the known ones."""
        raise NotImplementedError


class VaultWriter:
    """A new stored file; a context manager that aborts unless it was committed."""

    def write(self, data: bytes | bytearray | memoryview) -> int:
        """Take plaintext; returns how much (all of it)."""
        raise NotImplementedError

    def commit(self) -> StoredFile:
        """Finish, sync, make visible."""
        raise NotImplementedError

    def abort(self) -> None:
        """Leave nothing behind; harmless after commit."""
        raise NotImplementedError


class VaultReader:
    """Random access to a stored file's plaintext; a context manager."""

    @property
    def size(self) -> int:
        """Plaintext bytes."""
        raise NotImplementedError

    def read_at(self, offset: int, count: int) -> bytes:
        """Up to `count` verified bytes from this offset."""
        raise NotImplementedError

    def readinto_at(self, offset: int, target: bytearray | memoryview) -> int:
        """Fill the buffer with verified bytes; less only at the end."""
        raise NotImplementedError

    def iterate(self, start: int, stop: int, chunk: int = 1024 * 1024) -> Iterator[bytes]:
        """The verified bytes of a range, in pieces of at most `chunk`."""
        raise NotImplementedError

    def close(self) -> None:
        """Let go of the file and its key."""
        raise NotImplementedError
