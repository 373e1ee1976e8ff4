"""What jobs are writing and what they are about to remove: intents in the repository.

An intent is written before a new file's header exists, and, in the transaction that switches a row, for the old
file that has to go. So whoever dies leaves nothing that is not written down: `recover` brings it to its end, in the
next process that may work on jobs. It never touches a file that a row names.
"""

import threading
from typing import Final

from strongroom.clock import Clock, format_utc
from strongroom.errors import StrongroomError
from strongroom.extracts.vault import StoredFile
from strongroom.filestore.base import FileStore
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
        """Write down a file that is about to be written."""
        with self._repository.transaction() as tx:
            tx.intents.insert(self._intent(planned))

    def switched(self, tx: Transaction, *, old: StoredFile, new: StoredFile) -> None:
        """The row names the new file now, and the old one has to go."""
        if old.storage_key != new.storage_key:
            tx.intents.delete(new.storage_key)
            tx.intents.delete(old.storage_key)
            tx.intents.insert(self._intent(old))

    def drop(self, storage_key: str, *, kept: str) -> str:
        """Remove a file that was written down; one that cannot be removed now goes at the next start.

        Returns:
            Why it is still there; empty if it is gone.
        """
        if storage_key == kept:
            return ""
        try:
            self._files.delete(storage_key)
        except StrongroomError as error:
            return error.message
        with self._lock:
            self._dropped.append(storage_key)
        return ""

    def forget_dropped(self) -> None:
        """End the intents of the files that went."""
        with self._lock:
            gone, self._dropped = self._dropped, []
        if gone:
            with self._repository.transaction() as tx:
                for storage_key in gone:
                    tx.intents.delete(storage_key)

    def recover(self) -> int:
        """Remove what dead processes were writing or removing; returns how many files.

        Only for the one process that may work on jobs.
        """
        with self._repository.reading() as tx:
            left = [one.storage_key for one in tx.intents.list() if one.purpose == PURPOSE]
            named = tx.contents.storage_keys()
        for storage_key in left:
            if storage_key not in named:
                self._files.delete(storage_key)
        with self._repository.transaction() as tx:
            for storage_key in left:
                tx.intents.delete(storage_key)
        return sum(storage_key not in named for storage_key in left)

    def _intent(self, stored: StoredFile) -> IntentRow:
        now = format_utc(self._clock.now())
        return IntentRow(stored.storage_key, stored.file_id, stored.mek_id, PURPOSE, now)
