"""The extracts that a backup does not hold, in the object store where they are pinned (docs/format/backup.md 7)."""

from collections.abc import Callable, Mapping
from typing import Final

from strongroom.backup.open_backup import OpenBackup, open_file
from strongroom.crypto.stream import Layout
from strongroom.crypto.workers import default_threads
from strongroom.envelope import spans
from strongroom.envelope.header import DEFAULT_SEGMENT_BYTES
from strongroom.errors import FormatError, IntegrityError, NotFoundError, StateError
from strongroom.filestore.base import PinningStore, StoredContent
from strongroom.kms.keyring import KeyRing
from strongroom.repository.portable import Row
from strongroom.system.plural import counted
from strongroom.system.positions import Progress, Source

_LAYOUT: Final = Layout(DEFAULT_SEGMENT_BYTES)
_NAMED: Final = 5
_GONE: Final = (NotFoundError, IntegrityError, FormatError)
"""The errors that say that bytes are not there; any other error says only that the store was not heard."""


class PinnedFiles:
    """The pinned extracts of one backup.

    Args:
        backup: The backup.
        store: The object store that it names.
    """

    def __init__(self, backup: OpenBackup, store: PinningStore) -> None:
        self._backup, self._store = backup, store

    def open(self, storage_key: str) -> StoredContent:
        """An extract as it was when the backup was made, by the header in the backup.

        Raises:
            NotFoundError: The body is no longer there.
            IntegrityError: The body is of another length.
            FormatError: The backup's entry is damaged.
            StorageError: The store refuses, or does not answer.
        """
        return self._store.open_reference(storage_key, self._backup.reference(storage_key))

    def gone(self, rows: Mapping[str, Row]) -> dict[str, str]:
        """The extracts of rows, by storage key, whose bodies are not there as the backup says, with the reason.

        Raises:
            StorageError: The store refuses, or does not answer: nothing is known of what it has.
        """
        found = {}
        for key in rows:
            try:
                self.open(key).close()
            except _GONE as error:
                found[key] = error.message
        if found:
            # a store answers for an object alike whether the object or the whole bucket is away; for a list it does not
            next(iter(self._store.list()), None)
        return found


def source_of(
    backup: OpenBackup, in_force: str, named: str, store: Callable[[str], PinningStore]
) -> PinnedFiles | None:
    """The pinned extracts of a backup; None if it holds all.

    Args:
        backup: The backup.
        in_force: The address of this installation's store.
        named: The address that the operator gave; empty for none.
        store: Opens the store of an address.

    Raises:
        StateError: The backup names another store than the one in force, or than the operator: nobody vouches for it.
    """
    where = backup.pinned
    if where is None:
        return None
    if where.store != (named or in_force):
        raise StateError(
            f"the extracts of the backup are pinned in {where.store}, not in {named or in_force}",
            hint="if you trust who made the backup, name that store: --pinned-from ADDRESS",
        )
    return PinnedFiles(backup, store(where.store))


def check_there(gone: Mapping[str, str], total: int) -> None:
    """Refuse if pinned extracts are gone.

    Raises:
        StateError: Some are; the message names the first ones.
    """
    if gone:
        first = "; ".join(f"{key}: {why}" for key, why in sorted(gone.items())[:_NAMED])
        more = " …" if len(gone) > _NAMED else ""
        raise StateError(
            f"of {counted(total, 'pinned extract')}, {len(gone)} cannot be read: {first}{more}",
            hint="use a backup that holds them; --despite-missing restores what is there",
        )


def read_whole(file: Source, row: Row, ring: KeyRing, progress: Progress | None = None) -> None:
    """Authenticate every byte of an encrypted extract, bound to its row.

    Raises:
        IntegrityError: A byte is another one, or the extract belongs to another row.
        KeyNotFoundError: The MEK of the extract is not in the ring.
        FormatError: The extract has no readable header.
    """
    with open_file(file, row, ring) as reader:
        if reader.size != row["plaintext_bytes"]:
            raise IntegrityError
        spans.drain(reader, _LAYOUT, threads=default_threads(), progress=progress)
