"""Files of published content on their way in and out, with a journal so that none is lost or left (architecture 9 rules 1 and 4).

A file that is being written is announced as an intent before its header exists: whoever retires a MEK counts it, whoever
looks for leftovers knows it. A file that is to go is announced in the transaction that takes its row away. `recover` brings
both to their end after a crash. Rows themselves are the callers' business.
"""

import logging
from collections.abc import Collection

from strongroom.clock import Clock, format_utc
from strongroom.envelope.header import Placement
from strongroom.envelope.keys import EnvelopeKeys
from strongroom.errors import StrongroomError
from strongroom.extracts.vault import ExtractVault, StoredFile, VaultReader, VaultWriter
from strongroom.filestore.base import FileStore
from strongroom.repository.rows import DELETE_INTENT, IntentRow, StoredFields
from strongroom.repository.unit_of_work import Repository, Transaction

MAX_AHEAD_BYTES = 1 << 30  # allocated on a client's word alone
_log = logging.getLogger("backgrounder.StoredFiles")

PUBLISH = "publish"
_OURS = frozenset({PUBLISH, DELETE_INTENT})


class StoredFiles:
    """A vault with a journal."""

    def __init__(
        self, repository: Repository, files: FileStore, keys: EnvelopeKeys, clock: Clock
    ) -> None:
        self._repository = repository
        self._files = files
        self._vault = ExtractVault(files, keys, intent=self._announce)
        self._keys = keys
        self._clock = clock

    def create(
        self, placement: Placement, *, encrypted: bool, expected_bytes: int = 0
    ) -> VaultWriter:
        """Begin a new file; the intent of an envelope is written before its header.

        Args:
            placement: What the envelope is bound to.
            encrypted: Whether it is one.
            expected_bytes: A hint of somebody who may be wrong, or lie.
        """
        writer = self._vault.create(
            placement, encrypted=encrypted, expected_bytes=min(expected_bytes, MAX_AHEAD_BYTES)
        )
        if not encrypted:
            self._announce(writer.planned)  # nothing has been written yet, nor is visible
        return writer

    def open(self, stored: StoredFields, placement: Placement) -> VaultReader:
        """Open a stored file for reading."""
        return self._vault.open(stored_file(stored), placement)

    def current(self, stored: StoredFile, placement: Placement) -> StoredFile:
        """The file under the MEK that encrypts now: the one it was begun under may have become decrypt-only meanwhile."""
        if not stored.encrypted or stored.mek_id == self._keys.active_mek_id:
            return stored
        return self._vault.rewrap(stored, placement)

    def abandon(self, storage_key: str) -> None:
        """Remove a file that got no row, and its intent."""
        self._vault.delete(storage_key)
        with self._repository.transaction() as tx:
            tx.intents.delete(storage_key)

    def discard_later(self, tx: Transaction, storage_key: str) -> None:
        """Note, in the transaction that takes the row away, that the file has to go."""
        if storage_key:
            tx.intents.delete(storage_key)  # a job may have noted it for a reason of its own
            tx.intents.insert(IntentRow(storage_key, "", "", DELETE_INTENT, self._now()))

    def discard(self, storage_key: str) -> None:
        """Remove a file that `discard_later` noted; readers that have it open may finish.

        What was asked for is done and durable by now, so a disk that refuses this is no failure of
        it: the note stays, and `recover` ends it.
        """
        if storage_key:
            try:
                self.abandon(storage_key)
            except StrongroomError as error:
                _log.warning("the file %s goes at the next start: %s", storage_key, error.message)

    def recover(self, keep: Collection[str] = ()) -> int:
        """Finish what dead processes left; returns how many files went. Only while no other process publishes.

        Every file is announced before it is visible, whoever writes it: so what is in the store first, and unknown after
        that, belongs to nobody.

        Args:
            keep: Storage keys that rows are about to name: what nobody knows yet stays all the same.
        """
        present = set(self._files.list())
        gone = self._finish_intents()
        with self._repository.reading() as tx:
            orphans = present - tx.storage_keys() - set(keep)
        for storage_key in orphans:
            self._vault.delete(storage_key)
        return gone + len(orphans)

    def _finish_intents(self) -> int:
        with self._repository.reading() as tx:
            left = [intent for intent in tx.intents.list() if intent.purpose in _OURS]
            known = tx.contents.storage_keys() | tx.uploads.storage_keys()
        for intent in left:
            if intent.storage_key in known:
                with self._repository.transaction() as tx:
                    tx.intents.delete(intent.storage_key)
            else:
                self.abandon(intent.storage_key)
        return sum(intent.storage_key not in known for intent in left)

    def _announce(self, planned: StoredFile) -> None:
        with self._repository.transaction() as tx:
            tx.intents.insert(
                IntentRow(
                    planned.storage_key, planned.file_id, planned.mek_id, PUBLISH, self._now()
                )
            )

    def _now(self) -> str:
        return format_utc(self._clock.now())


def stored_file(fields: StoredFields) -> StoredFile:
    """What a row says of its file, as the vault takes it."""
    return StoredFile(
        fields.storage_key,
        fields.file_id,
        fields.mek_id,
        fields.plaintext_bytes,
        fields.stored_bytes,
    )
