"""Creates and deletes the files of published content, with a journal of intents so that a crash loses or leaves no file.

A file and its row cannot be changed in one transaction. An intent row is therefore written before a new file's header
exists: the retirement of a MEK counts it, and the search for leftovers knows the file. A deletion writes an intent in
the transaction that removes the row. After a crash, `recover` keeps the files that rows name, and deletes the others.
The rows of content themselves are written by the callers.
"""

import logging
import threading
from collections.abc import Callable, Collection
from itertools import islice

from strongroom.clock import Clock, format_utc
from strongroom.envelope.header import Placement
from strongroom.envelope.keys import EnvelopeKeys
from strongroom.errors import NotFoundError, StateError, StorageError, StrongroomError
from strongroom.extracts.vault import ExtractVault, StoredFile, VaultReader, VaultWriter
from strongroom.filestore.base import FileStore
from strongroom.repository.gateways.base import PIECE
from strongroom.repository.reach import ROWS
from strongroom.repository.rows import DELETE_INTENT, IntentRow, StoredFields
from strongroom.repository.unit_of_work import Repository, Transaction
from strongroom.system.positions import Span

MAX_AHEAD_BYTES = 1 << 30  # most bytes to allocate ahead because a client announced them
_log = logging.getLogger("backgrounder.StoredFiles")

PUBLISH = "publish"
_OURS = frozenset({PUBLISH, DELETE_INTENT})


class StoredFiles:
    """The files of published content, each creation and deletion covered by an intent."""

    def __init__(
        self,
        repository: Repository,
        files: FileStore,
        keys: EnvelopeKeys,
        clock: Clock,
        other_nodes: Callable[[], tuple[str, ...]] = tuple,
    ) -> None:
        """Take the stores.

        Args:
            repository: The rows.
            files: The files of this node.
            keys: The keys of the envelopes.
            clock: Gives the times of intents.
            other_nodes: Returns the ids of nodes that have files of their own.
        """
        self._repository = repository
        self._files = files
        self._vault = ExtractVault(files, keys, check_usable=repository.check_usable)
        self._keys = keys
        self._clock = clock
        self._other_nodes = other_nodes
        self._doubts: set[str] = set()
        self._doubts_lock = threading.Lock()

    def create(
        self, placement: Placement, *, encrypted: bool, expected_bytes: int = 0
    ) -> VaultWriter:
        """Begin a new file, whose intent is written before its header and deleted if this fails.

        Args:
            placement: The site and item to which the envelope is bound.
            encrypted: Whether the file is an envelope; otherwise its bytes are stored as they come.
            expected_bytes: The size that the client announced, which may be wrong or a lie.
        """
        self.settle()
        announced: list[str] = []
        writer: VaultWriter | None = None

        def announce(planned: StoredFile) -> None:
            announced.append(planned.storage_key)
            self._announce(planned)

        vault = ExtractVault(self._files, self._keys, intent=announce)
        try:
            writer = vault.create(
                placement, encrypted=encrypted, expected_bytes=min(expected_bytes, MAX_AHEAD_BYTES)
            )
            if not encrypted:
                # a plain file has no header and so no callback; nothing is written or visible yet, so this is early
                # enough
                announce(writer.planned)
        except BaseException:
            # an intent that stayed would count its MEK as in use for ever, so that nobody could retire it (findings R9)
            if writer is not None:
                writer.abort()
            for storage_key in announced:
                self.give_up(storage_key)
            raise
        return writer

    def open(
        self, stored: StoredFields, placement: Placement, wanted: Span | None = None
    ) -> VaultReader:
        """Open a stored file for reading; `wanted` is what will be read first, if it is known."""
        return self._vault.open(stored_file(stored), placement, wanted)

    def open_here(
        self, stored: StoredFields, placement: Placement, wanted: Span | None = None
    ) -> VaultReader:
        """Open a stored file for reading; one that is missing here may lie on another node.

        Raises:
            StateError: The file is not on this node, and there are others.
            NotFoundError: The file is not there.
        """
        try:
            return self.open(stored, placement, wanted)
        except NotFoundError:
            others = self._other_nodes()
            if not others:
                raise
            raise StateError(
                "the file is not on this node: it lies on the disk of the node that took it,"
                f" {' or '.join(others)}",
                hint="ask that node; nodes share their files in an object store: 'strongroom extracts move'",
            ) from None

    def current(self, stored: StoredFile, placement: Placement) -> StoredFile:
        """Rewrap a finished file if its MEK was rotated while it was written, so that it is under the active MEK."""
        if not stored.encrypted or stored.mek_id == self._keys.active_mek_id:
            return stored
        return self._vault.rewrap(stored, placement)

    def abandon(self, storage_key: str) -> None:
        """Delete a file that got no row, and then its intent."""
        self._vault.delete(storage_key)
        with self._repository.transaction(ROWS) as tx:
            tx.intents.delete(storage_key)
        self._sure(storage_key)

    def give_up(self, storage_key: str) -> None:
        """As `abandon`, but never raises, since the caller reports another error; `settle` tries again later."""
        try:
            self.abandon(storage_key)
        except StrongroomError as error:
            _log.warning("the file %s goes later: %s", storage_key, error.with_hint)
            self.doubt(storage_key)

    def doubt(self, storage_key: str) -> None:
        """Remember a file that this process has finished writing and that may or may not have a row; `settle` will look."""
        with self._doubts_lock:
            self._doubts.add(storage_key)

    def settle(self) -> None:
        """Keep or remove the files whose end was in doubt, by their rows as they are now.

        A commit that reported an error may or may not be durable. The transaction here decides. With SQLite it is
        written to the same place of the database's log, so once it is durable the failed one cannot come back; with
        PostgreSQL it waits for the end of every other writer, the doubtful one included. So the rows that it sees are
        final. It also deletes the intent. A process killed before the file is deleted leaves a file without
        row or intent, which the next start deletes.
        """
        with self._doubts_lock:
            doubts = sorted(self._doubts)
        for storage_key in doubts:
            try:
                with self._repository.transaction() as tx:
                    known = bool(tx.named([storage_key]))
                    tx.intents.delete(storage_key)
                if not known:
                    self._vault.delete(storage_key)
            except StrongroomError as error:
                _log.warning("the file %s goes later: %s", storage_key, error.with_hint)
                return
            self._sure(storage_key)

    def _sure(self, storage_key: str) -> None:
        with self._doubts_lock:
            self._doubts.discard(storage_key)

    def arrived(self, tx: Transaction, stored: StoredFile) -> None:
        """Delete the intent of a new file, in the transaction that gives the file a row (format/repository.md 3).

        Raises:
            StateError: The intent is not this process's any more: other nodes took that for dead, and remove the file.
                Or the MEK of the file is being retired, which this process does not know yet.
        """
        tx.meks.check_usable(stored.mek_id)
        if not tx.intents.is_own(stored.storage_key):
            raise StateError(
                "this node was taken for a dead one meanwhile, and the file was removed",
                hint="send it again",
            )
        tx.intents.delete(stored.storage_key)

    def discard_later(self, tx: Transaction, storage_key: str) -> None:
        """Write an intent to delete a file, in the transaction that removes its row."""
        if storage_key:
            tx.intents.delete(storage_key)  # a job may have an intent of its own for the same file
            tx.intents.insert(IntentRow(storage_key, "", "", DELETE_INTENT, self._now()))
            # until `discard`: if the caller's commit reports an error, it may still be durable
            self.doubt(storage_key)

    def discard(self, storage_key: str) -> None:
        """Delete a file for which `discard_later` wrote an intent; readers that have the file open may finish.

        The deletion of the item is durable by now, so an error of the disk here must not be reported as its failure:
        the intent stays, and `settle` or `recover` deletes the file later.
        """
        if storage_key:
            self.give_up(storage_key)

    def recover(self, keep: Collection[str] = ()) -> int:
        """Finish what this node's dead processes left, and remove files that belong to nobody; returns how many were deleted.

        No other process of this node may publish meanwhile.

        Args:
            keep: Storage keys that rows are about to name, whose files stay.
        """
        gone = self.finish_intents()
        return gone + self.remove_orphans(keep)

    def remove_orphans(
        self, keep: Collection[str] = (), *, may_go_on: Callable[[], bool] = lambda: True
    ) -> int:
        """Remove files without row and intent; returns how many.

        Others may publish and delete meanwhile, and wait for nothing: the store is listed piece by piece, and after each
        piece the rows and intents of these files alone are read. Every file has an intent before it appears in the store,
        and one of the two in every state after that, until it is deleted: so a file that was listed and has neither
        afterwards belongs to nobody.

        Args:
            keep: Storage keys that rows are about to name, whose files stay.
            may_go_on: Asked before each piece.
        """
        removed, kept, listed = 0, frozenset(keep), iter(self._files.list())
        while may_go_on() and (piece := frozenset(islice(listed, PIECE))):
            with self._repository.reading() as tx:
                orphans = piece - tx.named(piece) - tx.intents.named(piece) - kept
            for storage_key in sorted(orphans):
                self._vault.delete(storage_key)
            removed += len(orphans)
        return removed

    def finish_intents(self, *, beside_own: bool = False) -> int:
        """Finish what this node's dead processes, and nodes that are gone, left; returns how many files were deleted.

        A file that is damaged holds up no other one: its intent stays, and the next look tries again.

        Raises:
            StorageError: The file store or the repository does not answer, which it would not for the next file either.

        Args:
            beside_own: This process publishes meanwhile, and what it is writing stays; no other process of this node may.
        """
        with self._repository.reading() as tx:
            left = [
                intent
                for intent in tx.intents.list_own()
                if intent.purpose in _OURS
                and not (
                    beside_own
                    and intent.purpose == PUBLISH
                    and tx.intents.is_own(intent.storage_key)
                )
            ]
            known = tx.named([intent.storage_key for intent in left])
        return sum(self._finish(intent.storage_key, known) for intent in left)

    def _finish(self, storage_key: str, known: Collection[str]) -> bool:
        """Delete the intent of a file, and the file if no row names it; whether a file was deleted."""
        try:
            if storage_key not in known:
                self.abandon(storage_key)
                return True
            with self._repository.transaction(ROWS) as tx:
                tx.intents.delete(storage_key)
        except StorageError:
            raise
        except StrongroomError as error:
            _log.warning("the file %s stays for now: %s", storage_key, error.with_hint)
        return False

    def _announce(self, planned: StoredFile) -> None:
        with self._repository.transaction(ROWS) as tx:
            tx.meks.check_usable(planned.mek_id)
            tx.intents.insert(
                IntentRow(
                    planned.storage_key, planned.file_id, planned.mek_id, PUBLISH, self._now()
                )
            )

    def _now(self) -> str:
        return format_utc(self._clock.now())


def stored_file(fields: StoredFields) -> StoredFile:
    """The fields of a row that describe its file, as the vault takes them."""
    return StoredFile(
        fields.storage_key,
        fields.file_id,
        fields.mek_id,
        fields.plaintext_bytes,
        fields.stored_bytes,
    )
