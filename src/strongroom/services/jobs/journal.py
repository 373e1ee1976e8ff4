"""Keeps intents in the repository for the files that jobs write and delete.

An intent is written before a new file's header exists, and, in the transaction that switches a row to the new file, for
the old file that must be deleted. A process that dies therefore leaves no file without an intent or a row: `recover`,
in the next process that works on jobs, deletes every file with an intent that no row names.
"""

import threading
from typing import Final

from strongroom.clock import Clock, format_utc
from strongroom.errors import StrongroomError
from strongroom.extracts.vault import StoredFile
from strongroom.filestore.base import FileStore
from strongroom.repository.reach import ROWS
from strongroom.repository.rows import IntentRow
from strongroom.repository.unit_of_work import Repository, Transaction

PURPOSE: Final = "job"


class JobJournal:
    """The intents of jobs; threads may share it."""

    def __init__(self, repository: Repository, files: FileStore, clock: Clock) -> None:
        self._repository = repository
        self._files = files
        self._clock = clock
        self._lock = threading.Lock()
        self._dropped: list[str] = []

    def announce(self, planned: StoredFile) -> None:
        """Write the intent of a file that is about to be written; refused if its MEK is being retired."""
        with self._repository.transaction(ROWS) as tx:
            tx.meks.check_usable(planned.mek_id)
            tx.intents.insert(self._intent(planned))

    def may_switch(self, tx: Transaction, *, old: StoredFile, new: StoredFile) -> bool:
        """Whether the new file stays: if its intent is not this process's any more, others take that for dead and remove it."""
        return old.storage_key == new.storage_key or tx.intents.is_own(new.storage_key)

    def switched(self, tx: Transaction, *, old: StoredFile, new: StoredFile) -> None:
        """Replace the new file's intent by one for the old file, in the transaction that switches the row."""
        if old.storage_key != new.storage_key:
            tx.intents.delete(new.storage_key)
            tx.intents.delete(old.storage_key)
            tx.intents.insert(self._intent(old))

    def drop(self, storage_key: str, *, kept: str) -> str:
        """Delete a file that has an intent; if that fails, the next start tries again.

        Returns:
            The reason why the file still exists; empty if it was deleted, or is the one to keep.
        """
        if storage_key == kept:
            return ""
        try:
            self._files.delete(storage_key)
        except StrongroomError as error:
            return error.with_hint
        with self._lock:
            self._dropped.append(storage_key)
        return ""

    def forget_dropped(self) -> None:
        """Delete the intents of the files that were deleted."""
        with self._lock:
            gone, self._dropped = self._dropped, []
        if gone:
            with self._repository.transaction(ROWS) as tx:
                for storage_key in gone:
                    tx.intents.delete(storage_key)

    def recover(self, place: int = 0) -> int:
        """Delete the files that dead processes of this node and place were writing or deleting; returns how many.

        Only who holds the lock of that place may call this: the files of a living job look the same.
        """
        with self._repository.reading() as tx:
            left = [
                one.storage_key
                for one in tx.intents.list_own()
                if one.purpose == PURPOSE and one.owner.place == place
            ]
            named = tx.named(left)
        for storage_key in left:
            if storage_key not in named:
                self._files.delete(storage_key)
        with self._repository.transaction(ROWS) as tx:
            for storage_key in left:
                tx.intents.delete(storage_key)
        return sum(storage_key not in named for storage_key in left)

    def _intent(self, stored: StoredFile) -> IntentRow:
        now = format_utc(self._clock.now())
        return IntentRow(stored.storage_key, stored.file_id, stored.mek_id, PURPOSE, now)
