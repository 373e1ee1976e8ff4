"""`tsm maintenance restore`: all checks first, then extracts beside the old ones, keys, and the rows (A-25, A-26).

The commit is the one transaction that replaces the rows. Before it, the old rows and their files are in force, and the
backup's extracts only lie beside them under new names; after it, the new ones. A process killed at any moment leaves
the one or the other, and files that no row names are removed at the next start. The backup's MEKs are added before the
rows that need them, for decryption only: whoever made the backup may know them. Its RMK is not taken over for the same
reason. The configuration is not touched (C-13).
"""

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from strongroom.backup import opening
from strongroom.backup.open_backup import ExaminedRows, OpenBackup, OpenKeys
from strongroom.backup.opening import Opened, OpeningWays
from strongroom.clock import Clock, format_utc
from strongroom.envelope.header import Placement
from strongroom.errors import (
    FormatError,
    NotFoundError,
    StateError,
    StorageError,
    StrongroomError,
)
from strongroom.eventlog.base import Event, EventLog
from strongroom.eventlog.events import backup_events, key_events
from strongroom.extracts.stored import StoredFile
from strongroom.filestore.base import FileStore, PinningStore
from strongroom.kms import any_store, next_store
from strongroom.kms import store as kms_store
from strongroom.kms.closed_stores import MAX_CLOSED, ClosedStore
from strongroom.kms.next_store import NextStore
from strongroom.kms.store import KmsStore
from strongroom.repository.portable import Row
from strongroom.repository.rows import DELETE_INTENT, IntentRow
from strongroom.repository.scratch import scratch_repository
from strongroom.repository.unit_of_work import Repository, Transaction
from strongroom.roots.settings import RootSettings
from strongroom.secrets.asset_ring import AssetRing
from strongroom.services.backups import examining, pinned_files, staging
from strongroom.services.backups.checks import Stage
from strongroom.services.backups.pinned_files import PinnedFiles
from strongroom.services.backups.staging import Staging
from strongroom.services.content.stored_files import PUBLISH, StoredFiles
from strongroom.services.keys.keeper import Present, StoreKeeper
from strongroom.services.keys.rotation_events import rotation_events
from strongroom.services.secrets.embedded import AssetService
from strongroom.system.plural import counted, sized

"""Held by a restore on a node of a cluster; a node that starts meanwhile is not served."""
_SPARE_BYTES = 64 << 20


def _no_store(address: str) -> PinningStore:
    raise StateError(f"there is no object store {address} here")


@dataclass(frozen=True)
class RestorePorts:
    """The ports on which a restore works.

    Attributes:
        scratch: A folder for a temporary repository, in which the rows are tried first.
        prepare_others: Has the other nodes, none of which is served, prove the keys before they serve again; for an
            actor.
        check_alone: Raises if nodes may be served by now, since the lock that keeps them away is lost.
        in_force: Returns the address of the file store in force.
        store_of: Opens the object store of an address, in which extracts are pinned.
    """

    repository: Repository
    files: FileStore
    stored_files: StoredFiles
    keeper: StoreKeeper
    assets: AssetService
    event_log: EventLog
    clock: Clock
    scratch: Path
    prepare_others: Callable[[str], object] = lambda _: None
    check_alone: Callable[[], object] = lambda: None
    in_force: Callable[[], str] = str
    store_of: Callable[[str], PinningStore] = _no_store


@dataclass(frozen=True)
class RestoreRequest:
    """A request for a restore.

    Attributes:
        actor: The person or process that asks, for the events.
        source: Name of the backup.
        without_keys: Restore even if no way opens the backup's keys; encrypted extracts are then unreadable.
        check_space: Refuse if the disk has not enough room.
        pinned_from: The address of the object store in which the extracts are pinned; empty for the one in force.
        despite_missing: Restore even if pinned extracts are gone; their content is then without a file.
    """

    actor: str
    source: str
    without_keys: bool = False
    check_space: bool = True
    pinned_from: str = ""
    despite_missing: bool = False


@dataclass
class Restored:
    """The result of a restore.

    Attributes:
        backup_id: Id of the backup.
        opened_by: Words that name the way by which the keys opened; empty if they stayed closed.
        origin: Words that name the secret of ours that the backup's maker had; empty if the backup was possible without
            one.
        rows: Number of rows by table.
        extracts: Number of extracts that were restored.
        pinned: How many of these were not in the backup, but pinned.
        bytes: Stored bytes of those extracts.
        missing: Content whose key is not available, or whose file is damaged, with the reason.
        lost: Content whose file was lost before the backup was made, and that the target lacks, too.
        gone: Content whose pinned extract is no longer as the backup says, with the reason; each is lost, missing or
            kept as well.
        kept: Content whose file the backup lacks and the target has; the file stays, and opens.
        credentials_dropped: Number of embedded credentials that were left out, since no key opens them.
        tokens_dropped: Number of access tokens that were left out, since they were revoked after the backup.
        adopted: MEKs of the backup that were added.
        rmk_id: The new RMK; empty if the keys were not changed.
        mek_id: The new active MEK; empty if the keys were not changed.
    """

    backup_id: str
    opened_by: str = ""
    origin: str = ""
    rows: dict[str, int] = field(default_factory=dict)
    extracts: int = 0
    pinned: int = 0
    bytes: int = 0
    missing: dict[str, str] = field(default_factory=dict)
    lost: list[str] = field(default_factory=list)
    gone: dict[str, str] = field(default_factory=dict)
    kept: list[str] = field(default_factory=list)
    credentials_dropped: int = 0
    tokens_dropped: int = 0
    adopted: list[str] = field(default_factory=list)
    rmk_id: str = ""
    mek_id: str = ""


class RestoreService:
    """Restores backups; the caller ensures that no server and no other command works on any node meanwhile."""

    def __init__(self, ports: RestorePorts) -> None:
        self._ports = ports

    def restore(
        self, backup: OpenBackup, means: OpeningWays, request: RestoreRequest, stage: Stage
    ) -> Restored:
        """Replace the rows and extracts of this node by those of a backup.

        Args:
            backup: The backup, whose digests were verified.
            means: The means by which its keys may be opened.
            request: The actor, and what may be skipped.
            stage: Called at the start of a stage with its name and size in bytes; returns the progress callback, or
                None.

        Raises:
            StrongroomError: A check failed, and nothing was changed; or the disk or a root refused later, and rows and
                files are as before.
        """
        opened = self._opened(backup, means, request)
        examining.check_schema(backup)
        found = backup.examine_rows()
        done = Restored(backup.manifest.id)
        done.origin = opening.origin_by_identity(backup, means)
        if opened is not None:
            done.opened_by, done.origin = opened.by, opened.origin
        pinned = self._pinned(backup, found, request, done)
        roots = opening.trusted_roots(backup, means)
        names = staging.new_names(found)
        work = _Restore(backup, opened.keys if opened else None, names, done, roots, pinned)
        done.extracts, done.pinned = len(names), len(found.pinned)
        done.bytes = self._staging(work, found).size
        self._try_rows(work)
        done.missing = examining.unreadable(backup, found, work.keys)
        self._check_target(work)
        self._check_claims(found)
        # the leftovers of a killed restore take room, so they go before the space is checked
        self._ports.stored_files.recover(keep=found.lost)
        if request.check_space:
            self._check_space(done.bytes)
        # everything above only reads; the changes begin here
        try:
            self._stage(work, found, stage)
            self._ports.prepare_others(request.actor)
            self._take_keys(work, request)
            self._look_for_lost(found, done)
            self._ports.check_alone()
            gone = self._switch(work, request)
        except BaseException:
            # Remove files that no row names. Whether the switch was committed does not matter: `recover` goes by the
            # rows as they are now. If it fails as well, the next start does it.
            with suppress(StrongroomError):
                self._ports.stored_files.recover(keep=found.lost)
            raise
        self._remove(gone)
        return done

    # ---- checks ----------------------------------------------------------------------------------

    def _opened(
        self, backup: OpenBackup, means: OpeningWays, request: RestoreRequest
    ) -> Opened | None:
        try:
            return opening.open_keys(backup, means)
        except opening.NOT_OPENED:
            if not request.without_keys:
                raise
            return None

    def _pinned(
        self, backup: OpenBackup, found: ExaminedRows, request: RestoreRequest, done: Restored
    ) -> PinnedFiles | None:
        """The pinned extracts; those that are gone are taken for lost, if that is agreed to.

        Raises:
            StateError: The store is another one than was named, or extracts are gone.
            StorageError: The store refuses, or does not answer: an outage is no loss, whatever was agreed to.
        """
        in_force, store = self._ports.in_force(), self._ports.store_of
        pinned = pinned_files.source_of(backup, in_force, request.pinned_from, store)
        if pinned is not None:
            gone = pinned.gone(found.pinned)
            if not request.despite_missing:
                pinned_files.check_there(gone, len(found.pinned))
            for key, why in gone.items():
                found.lost[key] = row = found.pinned.pop(key)
                done.gone[row["id"]] = why
        return pinned

    def _try_rows(self, work: "_Restore") -> None:
        """Insert the rows into a temporary repository, to see whether they fit the schema and each other."""
        ring = self._ports.assets.ring()
        with scratch_repository(self._ports.scratch) as trial, trial.transaction() as tx:
            tx.rows.replace(lambda table: work.rows(table, ring, None, _Dropped()))

    def _check_target(self, work: "_Restore") -> None:
        """Refuse if the target's keys do not open, its root does not answer, or the backup's keys would be too many."""
        keeper = self._ports.keeper
        keeper.check_epoch()
        present = keeper.cache.opened()
        keeper.providers.all_for(present.store, present.store.mode).primary.check()
        count = len(present.ring.meks) + 1
        if work.keys is not None:
            count = len(present.ring.with_adopted(work.keys.ring, self._now()).meks) + 1
        kept = set(present.store.former) - _opens(work)
        closed = len(kept | _closes(present.store, work).keys())
        if count > kms_store.MAX_MEKS or closed > MAX_CLOSED:
            raise StateError(
                f"the KMS store would have {counted(count, 'MEK')} and {counted(closed, 'closed store')}",
                hint="retire MEKs that nothing uses, and adopt closed stores, first",
            )

    def _check_claims(self, found: ExaminedRows) -> None:
        """Refuse a backup that names, as lost, a storage key that belongs to other content on this node.

        Rows of lost files keep their storage key, and the target's file of that key would become theirs. A storage key
        is made anew for each file, so in a genuine backup it names the same file; a forged one could claim a file of
        another site. An encrypted file is bound to its content by its header, and a plain one by nothing but this
        check.
        """
        with self._ports.repository.reading() as tx:
            claimed = tx.contents.storage_keys() | tx.uploads.storage_keys()
            for key in claimed & found.lost.keys():
                own = tx.contents.find(found.lost[key]["id"])
                if own is None or own.storage_key != key:
                    raise FormatError(
                        f"the backup names the file {key!r}, which belongs to something else here",
                        hint="the backup was not made by this program: use another one",
                    )

    def _check_space(self, needed: int) -> None:
        free = self._ports.files.free_bytes()
        if free is not None and free < needed + _SPARE_BYTES:
            raise StorageError(
                f"the file store has {sized(free)} free, the extracts need {sized(needed)} beside the"
                " present ones",
                hint="free some space, or --override-disk-space-check",
            )

    # ---- changes ---------------------------------------------------------------------------------

    def _stage(self, work: "_Restore", found: ExaminedRows, stage: Stage) -> None:
        """Write the extracts under new names; an intent announces each before the file exists, so that none is orphaned."""
        now = format_utc(self._now())
        with self._ports.repository.transaction() as tx:
            for key, row in (*found.extracts.items(), *found.pinned.items()):
                new = work.names[key]
                tx.intents.insert(IntentRow(new, row["file_id"], "", PUBLISH, now))
        self._staging(work, found).write(self._ports.files, stage, work.done.missing)

    @staticmethod
    def _staging(work: "_Restore", found: ExaminedRows) -> Staging:
        ring = work.keys.ring if work.keys is not None else None
        return Staging(work.backup, work.names, found, work.pinned, ring)

    def _take_keys(self, work: "_Restore", request: RestoreRequest) -> None:
        keeper = self._ports.keeper

        def build(before: Present) -> NextStore:
            present = before.opened
            closes = _closes(present.store, work)
            if work.keys is None:
                return next_store.closing(present, closes)
            ring = present.ring.with_adopted(work.keys.ring, self._now())
            own = {mek.id for mek in present.ring}
            work.done.adopted = [mek.id for mek in ring if mek.id not in own]
            roots = keeper.providers.all_for(present.store, present.store.mode)
            drops = _opens(work)
            return next_store.rotated(
                present, roots, self._now(), ring=ring, closes=closes, drops=drops
            )

        def events_of(before: Present, new: NextStore) -> list[Event]:
            if work.keys is None:
                rmk_id = work.backup.store.rmk_id
                return [
                    key_events.key_moved(request.actor, "closed store", rmk_id, place="kms store")
                ]
            work.done.rmk_id, work.done.mek_id = new.store.rmk_id, new.ring.active.id
            adopted = [
                key_events.meks_adopted(request.actor, mek_id) for mek_id in work.done.adopted
            ]
            return [*adopted, *rotation_events(request.actor, before.opened, new)]

        def resettle(present: tuple[RootSettings, ...]) -> tuple[RootSettings, ...]:
            known = {(one.kind, one.root_key_id) for one in present}
            more = (one for one in work.roots if (one.kind, one.root_key_id) not in known)
            return (*present, *more)

        store, _ = keeper.current()
        closes = bool(_closes(store, work))
        if work.keys is not None or closes:
            keeper.commit(build, events_of, resettle if closes and work.roots else None)

    def _look_for_lost(self, found: ExaminedRows, done: Restored) -> None:
        """Sort content whose file the backup lacks: the target has the file and it opens, or has a damaged one, or none."""
        for key, row in found.lost.items():
            stored = StoredFile(key, row["file_id"], row["mek_id"], row["plaintext_bytes"], 0)
            try:
                self._ports.stored_files.open(stored, Placement(row["site_id"], row["id"])).close()
            except NotFoundError:
                done.lost.append(row["id"])
            except StrongroomError as error:
                # the file stays as it is: it may be the only copy, and a key for it may turn up
                done.missing[row["id"]] = error.with_hint
            else:
                done.kept.append(row["id"])

    def _switch(self, work: "_Restore", request: RestoreRequest) -> list[str]:
        """Replace all rows in one transaction, the commit of the restore; returns the files to delete afterwards."""
        now, done = format_utc(self._now()), work.done
        with self._ports.repository.transaction() as tx:
            # The asset keys are read within the transaction. Credentials sealed by a ring read earlier could be under a
            # key that a regeneration has removed meanwhile.
            ring, kept = self._ports.assets.ring(), self._tokens_to_keep(tx, work)
            before = tx.contents.storage_keys() | tx.uploads.storage_keys()
            dropped = _Dropped()
            done.rows = tx.rows.replace(lambda table: work.rows(table, ring, kept, dropped))
            done.credentials_dropped, done.tokens_dropped = dropped.credentials, dropped.tokens
            for key in work.names.values():
                tx.intents.delete(key)
            # a row whose file the backup lacks keeps its storage key, and the file of that key is then its own: do not
            # delete
            gone = sorted(before - tx.contents.storage_keys())
            for key in gone:
                tx.intents.delete(key)
                tx.intents.insert(IntentRow(key, "", "", DELETE_INTENT, now))
            # The event comes before the commit. If we die in between, the log names a restore that did not happen,
            # which misleads nobody for long; a restore without event would go unnoticed.
            self._ports.event_log.append(
                [
                    backup_events.restored(
                        request.actor,
                        source=request.source,
                        backup_id=done.backup_id,
                        extracts=done.extracts,
                        missing=len(done.missing) + len(done.lost),
                    )
                ]
            )
        return gone

    def _tokens_to_keep(self, tx: Transaction, work: "_Restore") -> frozenset[str] | None:
        """The access tokens, and secret ids of services, that may come back; None for all.

        On the installation that made the backup only tokens that still exist come back: otherwise a restore would make
        a token valid again that was revoked since, perhaps because it was stolen.
        """
        own = self._ports.keeper.current()[0].installation_id
        same = own == work.backup.manifest.installation
        if not same:
            return None
        return frozenset(tx.rows.ids("tokens") | tx.rows.ids("service_secret_ids"))

    def _remove(self, gone: list[str]) -> None:
        """Delete the files of the replaced rows; a file that cannot be deleted now is deleted at the next start."""
        with suppress(StrongroomError):
            for key in gone:
                self._ports.files.delete(key)
            with self._ports.repository.transaction() as tx:
                for key in gone:
                    tx.intents.delete(key)

    def _now(self) -> datetime:
        return self._ports.clock.now()


_REVOCABLE = frozenset({"tokens", "service_secret_ids"})


@dataclass
class _Dropped:
    """Counts the rows that one pass over a backup left out; the rows are read twice, and each pass counts for itself."""

    credentials: int = 0
    tokens: int = 0


@dataclass(frozen=True)
class _Restore:
    """The inputs of one restore, decided once, and in `done` its result so far."""

    backup: OpenBackup
    keys: OpenKeys | None
    names: dict[str, str]
    done: Restored
    roots: tuple[RootSettings, ...]
    pinned: PinnedFiles | None = None

    def rows(
        self, table: str, ring: AssetRing, tokens: frozenset[str] | None, dropped: _Dropped
    ) -> Iterator[Row]:
        """The rows of a table as they go into the target.

        Args:
            table: Name of the table.
            ring: The target's asset keys, by which credentials are sealed anew.
            tokens: Access tokens that may come back; None for all.
            dropped: Counts the rows that are left out.
        """
        for row in self.backup.rows(table):
            if table == "contents":
                key = row["storage_key"]
                yield {**row, "storage_key": self.names.get(key, key)}
            elif table == "credentials":
                yield from self._credential(row, ring, dropped)
            elif table in _REVOCABLE and tokens is not None and row["id"] not in tokens:
                dropped.tokens += 1
            else:
                yield row

    def _credential(self, row: Row, ring: AssetRing, dropped: _Dropped) -> Iterator[Row]:
        """The credential sealed under the target's asset key, or no row if the credential does not open."""
        try:
            if self.keys is None:
                raise StateError("the backup's keys are closed")
            plain = self.keys.assets.open_(
                row["asset_key_id"], row["sealed"], content_id=row["content_id"]
            )
        except StrongroomError:
            dropped.credentials += 1
            return
        key_id, sealed = ring.seal(plain.reveal(), content_id=row["content_id"])
        yield {**row, "asset_key_id": key_id, "sealed": sealed}


def _closes(present: KmsStore, work: _Restore) -> dict[ClosedStore, bytes]:
    """The closed stores that the target gets: those of the backup, and the backup's own store if it does not open now."""
    backup = work.backup
    found = backup.closed
    if work.keys is None:
        found[any_store.reference(backup.raw_store)] = backup.raw_store
    return {one: raw for one, raw in found.items() if one not in present.former}


def _opens(work: _Restore) -> set[ClosedStore]:
    """The backup's own store if it opens: a target that kept it closed need not do so any longer."""
    return set() if work.keys is None else {any_store.reference(work.backup.raw_store)}
