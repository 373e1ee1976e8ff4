"""Leaves encrypted extracts out of a backup: a pin keeps them in their object store (docs/format/backup.md 7).

The pin is written before the rows are read, and taken back if the backup fails. The backup holds the head of each file,
so that its own keys open it.
"""

from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

from strongroom.backup import manifest, pinned
from strongroom.backup.archive import ArchiveWriter
from strongroom.backup.pinned import PinnedExtracts
from strongroom.backup.place import PINNED_VERSION, VERSION
from strongroom.clock import format_utc
from strongroom.errors import StateError, StrongroomError
from strongroom.filestore.base import PinningStore
from strongroom.services.backups import checks

SEALED: Final = ".sealed"


@dataclass(frozen=True)
class PinnedPart:
    """The part of a backup that is pinned.

    Attributes:
        store: Where the pinned extracts are; None if the backup copies all.
        until: The time until which they are pinned.
    """

    store: PinningStore | None = None
    until: str = ""

    @property
    def version(self) -> int:
        """The version of the backup."""
        return VERSION if self.store is None else PINNED_VERSION

    @property
    def entry_bytes(self) -> int:
        """The most bytes that the backup has of a pinned extract."""
        return pinned.MAX_REFERENCE_BYTES

    def divided(self, keys: Sequence[str]) -> tuple[list[str], list[str]]:
        """The extracts to copy, and those that stay: nothing but a digest would prove a plain one."""
        if self.store is None:
            return list(keys), []
        left = [key for key in keys if key.endswith(SEALED)]
        return [key for key in keys if not key.endswith(SEALED)], left

    def add(self, writer: ArchiveWriter, keys: Sequence[str]) -> dict[str, frozenset[str] | None]:
        """Write the entries of pinned extracts, each of which is looked for; returns the MEKs of each.

        Raises:
            NotFoundError: The bytes of an extract are not in the store.
            IntegrityError: The bytes of an extract are of another length.
        """
        meks: dict[str, frozenset[str] | None] = {}
        if self.store is None:
            return meks
        for key in keys:
            reference = self.store.reference(key)
            with closing(self.store.open_reference(key, reference)) as file:
                meks[key] = checks.meks_of(key, file)
            writer.add_bytes(f"{manifest.PINNED}{key}", reference)
        writer.add_bytes(pinned.WHERE, PinnedExtracts(self.store.address, self.until).serialize())
        return meks


NONE: Final = PinnedPart()


@contextmanager
def held(
    store: PinningStore | None, backup_id: str, *, path: Path, until: datetime
) -> Iterator[PinnedPart]:
    """Pin what is there now; the pin is taken back if the backup ends without its file.

    Raises:
        StateError: The extracts do not lie in an object store.
        StorageError: The store refuses, or does not answer.
    """
    if store is None:
        raise StateError(
            "the extracts lie on the disk, where nothing keeps what is deleted",
            hint="leave out --extracts pin, or bring them into an object store: 'strongroom extracts move'",
        )
    store.pin(backup_id, file=path.name, until=until)
    try:
        yield PinnedPart(store, format_utc(until))
    except BaseException:
        if not path.exists():
            with suppress(StrongroomError):
                store.release(backup_id)
        raise
