"""`tsm maintenance restore`: every check first, then extracts beside the old ones, keys, and all rows at once (A-25, A-26).

Until the one transaction of rows the old rows and files are what counts, after it the new ones; a kill leaves the one
or the other, and what is left over goes at the next start. MEKs come in decrypt-only, before the rows that need them;
the backup's RMK is not taken over. The configuration is not touched (C-13).
"""

import shutil
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path

from strongroom.backup.restore import Found, OpenBackup, OpenKeys
from strongroom.clock import Clock, format_utc
from strongroom.envelope.header import Placement
from strongroom.errors import (
    FormatError,
    NotFoundError,
    StateError,
    StorageError,
    StrongroomError,
)
from strongroom.eventlog import events
from strongroom.eventlog.base import Event, EventLog
from strongroom.extracts.stored import StoredFile
from strongroom.filestore.base import FileStore
from strongroom.ids import new_id
from strongroom.kms import store as kms_store
from strongroom.kms.opening import OpenStore
from strongroom.kms.store import KmsStore
from strongroom.repository.portable import Row
from strongroom.repository.rows import DELETE_INTENT, IntentRow
from strongroom.repository.scratch import scratch_repository
from strongroom.repository.unit_of_work import REVISION, Repository, Transaction
from strongroom.roots.settings import RootSettings
from strongroom.secrets.asset_ring import AssetRing
from strongroom.services import backup_opening, kms_change
from strongroom.services.assets import AssetService
from strongroom.services.backup_opening import Means, Opened
from strongroom.services.backups import Stage
from strongroom.services.kms_change import NextStore
from strongroom.services.kms_keeper import StoreKeeper, rotation_events
from strongroom.services.stored_files import PUBLISH, StoredFiles

_SPARE_BYTES = 64 << 20


@dataclass(frozen=True)
class RestorePorts:
    """What a restore works on.

    Attributes:
        folder: Of the file store.
        scratch: A folder to try the rows in.
    """

    repository: Repository
    files: FileStore
    stored_files: StoredFiles
    keeper: StoreKeeper
    assets: AssetService
    log: EventLog
    clock: Clock
    folder: Path
    scratch: Path


@dataclass(frozen=True)
class RestoreRequest:
    """What is wanted.

    Attributes:
        actor: Who asks.
        source: Name of the backup.
        without_keys: Go on if nothing opens its keys.
        check_space: Refuse if the disk has not enough room.
    """

    actor: str
    source: str
    without_keys: bool = False
    check_space: bool = True


@dataclass
class Restored:
    """What was done.

    Attributes:
        backup_id: Of the backup.
        opened_by: What opened its keys; empty if nothing did.
        origin: What proves who made it; empty if nothing does.
        rows: Rows by table.
        extracts: Extracts that were restored.
        bytes: Their bytes.
        missing: Content whose key is not there, or whose file is damaged, with the reason.
        lost: Content whose file was lost before the backup was made, and is not here either.
        kept: Content whose file the backup lacks, but the target has: it stays, and opens.
        credentials_dropped: Embedded credentials that nothing opens.
        tokens_dropped: Access tokens that were revoked since.
        adopted: MEKs that came in.
        rmk_id: The new RMK; empty if there is none.
        mek_id: The new MEK that encrypts; empty likewise.
    """

    backup_id: str
    opened_by: str = ""
    origin: str = ""
    rows: dict[str, int] = field(default_factory=dict)
    extracts: int = 0
    bytes: int = 0
    missing: dict[str, str] = field(default_factory=dict)
    lost: list[str] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)
    credentials_dropped: int = 0
    tokens_dropped: int = 0
    adopted: list[str] = field(default_factory=list)
    rmk_id: str = ""
    mek_id: str = ""


class RestoreService:
    """Restores backups; only while nothing else serves or works on the node."""

    def __init__(self, ports: RestorePorts) -> None:
        self._ports = ports

    def restore(
        self, backup: OpenBackup, means: Means, request: RestoreRequest, stage: Stage
    ) -> Restored:
        """Put a backup in the place of what is there.

        Args:
            backup: Checked already.
            means: What its keys may be opened with.
            request: Who asks, and how.
            stage: Told of each stage's bytes.

        Raises:
            StrongroomError: A check failed: nothing was changed. Or the disk or a root refused later:
                rows and files are as they were.
        """
        opened = self._opened(backup, means, request)
        check_schema(backup)
        found = backup.examine_rows()
        done = Restored(backup.manifest.id)
        if opened is not None:
            done.opened_by, done.origin = opened.by, opened.origin
        done.extracts, done.bytes = len(found.extracts), backup.extract_bytes
        roots = backup_opening.trusted_roots(backup, means)
        work = _Work(backup, opened.keys if opened else None, _new_names(found), done, roots)
        self._try_rows(work)
        done.missing = unreadable(backup, found, work.keys)
        self._check_target(work)
        self._check_claims(found)
        self._ports.stored_files.recover(keep=found.lost)  # what a killed restore left takes room
        if request.check_space:
            self._check_space(backup.extract_bytes)
        # the first change
        try:
            self._stage(work, found, stage)
            self._take_keys(work, request)
            self._look_for_lost(found, done)
            gone = self._switch(work, request)
        except BaseException:
            with suppress(StrongroomError):  # else at the next start
                # keeps what rows name, whichever these are now
                self._ports.stored_files.recover(keep=found.lost)
            raise
        self._remove(gone)
        return done

    # ---- checks ----------------------------------------------------------------------------------

    def _opened(self, backup: OpenBackup, means: Means, request: RestoreRequest) -> Opened | None:
        try:
            return backup_opening.open_keys(backup, means)
        except backup_opening.NOT_OPENED:
            if not request.without_keys:
                raise
            return None

    def _try_rows(self, work: "_Work") -> None:
        """Whether the rows fit the schema and each other, and whether credentials open: in a scratch repository."""
        ring = self._ports.assets.ring()
        with scratch_repository(self._ports.scratch) as trial, trial.transaction() as tx:
            tx.rows.replace(lambda table: work.rows(table, ring, None))

    def _check_target(self, work: "_Work") -> None:
        """Whether the target's keys open, can be made anew, and take in those of the backup."""
        keeper = self._ports.keeper
        keeper.check_epoch()
        present = keeper.keys.opened()
        keeper.roots.all_for(present.store, present.store.mode).primary.check()
        count = len(present.ring.meks) + 1
        if work.keys is not None:
            count = len(present.ring.with_adopted(work.keys.ring, self._now()).meks) + 1
        former = _former(present.store, work)
        if count > kms_store.MAX_MEKS or len(former) > kms_store.MAX_FORMER:
            raise StateError(
                f"the KMS store would have {count} MEKs and {len(former)} closed stores",
                hint="retire MEKs that nothing uses, and adopt closed stores, first",
            )

    def _check_claims(self, found: Found) -> None:
        """Whether a lost file's key is that of something else here.

        A key is made anew for each file that is written, and only the header page of a file changes after that: so in a
        true backup the same key is the same file. A plain file proves by nothing else whose it is.
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
        free = shutil.disk_usage(self._ports.folder).free
        if free < needed + _SPARE_BYTES:
            raise StorageError(
                f"{self._ports.folder} has {free} bytes free, the extracts need {needed} beside the"
                " present ones",
                hint="free some space, or --override-disk-space-check",
            )

    # ---- changes ---------------------------------------------------------------------------------

    def _stage(self, work: "_Work", found: Found, stage: Stage) -> None:
        """The extracts under new names, announced before they are visible."""
        now = format_utc(self._now())
        with self._ports.repository.transaction() as tx:
            for key, row in found.extracts.items():
                new = work.names[key]
                tx.intents.insert(IntentRow(new, row["file_id"], "", PUBLISH, now))
        progress = stage("restore", work.backup.extract_bytes)
        for key, new in work.names.items():
            size = work.backup.extract(key).size
            pending = self._ports.files.put(new, expected_bytes=size)
            try:
                position = 0
                for piece in work.backup.pieces(key):
                    pending.write_at(position, piece)
                    position += len(piece)
                    if progress is not None:
                        progress(len(piece))
                pending.commit()
            finally:
                pending.abort()

    def _take_keys(self, work: "_Work", request: RestoreRequest) -> None:
        keeper = self._ports.keeper

        def change(present: OpenStore) -> NextStore:
            former = _former(present.store, work)
            if work.keys is None:
                grown = replace(present.store, epoch=present.store.epoch + 1, former=former)
                sealed = kms_store.seal_ring(grown, present.ring, present.rmk)
                return NextStore(sealed, present.rmk, present.ring)
            ring = present.ring.with_adopted(work.keys.ring, self._now())
            own = {mek.id for mek in present.ring}
            work.done.adopted = [mek.id for mek in ring if mek.id not in own]
            roots = keeper.roots.all_for(present.store, present.store.mode)
            base = OpenStore(replace(present.store, former=former), present.rmk, ring)
            return kms_change.rotated(base, roots, self._now())

        def told(old: OpenStore, new: NextStore) -> list[Event]:
            if work.keys is None:
                rmk_id = work.backup.store.rmk_id
                return [events.key_moved(request.actor, "closed store", rmk_id, place="kms store")]
            work.done.rmk_id, work.done.mek_id = new.store.rmk_id, new.ring.active.id
            adopted = [events.meks_adopted(request.actor, mek_id) for mek_id in work.done.adopted]
            return [*adopted, *rotation_events(request.actor, old, new)]

        def resettle(present: tuple[RootSettings, ...]) -> tuple[RootSettings, ...]:
            known = {(one.kind, one.root_key_id) for one in present}
            more = (one for one in work.roots if (one.kind, one.root_key_id) not in known)
            return (*present, *more)

        store, _ = keeper.current()
        closes = _former(store, work) != store.former
        if work.keys is not None or closes:
            keeper.change(change, told, resettle if closes and work.roots else None)

    def _look_for_lost(self, found: Found, done: Restored) -> None:
        """Which files the backup lacks and the target has, and whether they are what the rows say."""
        for key, row in found.lost.items():
            stored = StoredFile(key, row["file_id"], row["mek_id"], row["plaintext_bytes"], 0)
            try:
                self._ports.stored_files.open(stored, Placement(row["site_id"], row["id"])).close()
            except NotFoundError:
                done.lost.append(row["id"])
            except StrongroomError as error:  # left as it lies: it may be the only one there is
                done.missing[row["id"]] = error.message
            else:
                done.kept.append(row["id"])

    def _switch(self, work: "_Work", request: RestoreRequest) -> list[str]:
        """The one transaction after which the backup's rows count; returns the files that have to go."""
        now, done = format_utc(self._now()), work.done
        with self._ports.repository.transaction() as tx:
            # read within the transaction: a regeneration reseals what it finds after its own change
            ring, kept = self._ports.assets.ring(), self._tokens_to_keep(tx, work)
            before = tx.contents.storage_keys() | tx.uploads.storage_keys()
            done.credentials_dropped = done.tokens_dropped = 0
            done.rows = tx.rows.replace(lambda table: work.rows(table, ring, kept))
            for key in work.names.values():
                tx.intents.delete(key)
            # a row whose file was lost names its old key: what lies there now is that row's
            gone = sorted(before - tx.contents.storage_keys())
            for key in gone:
                tx.intents.delete(key)
                tx.intents.insert(IntentRow(key, "", "", DELETE_INTENT, now))
            # before the commit: an event of a change that was not made is harmless
            self._ports.log.append(
                [
                    events.restored(
                        request.actor,
                        source=request.source,
                        backup_id=done.backup_id,
                        extracts=done.extracts,
                        missing=len(done.missing) + len(done.lost),
                    )
                ]
            )
        return gone

    def _tokens_to_keep(self, tx: Transaction, work: "_Work") -> frozenset[str] | None:
        """On the installation that made the backup: the tokens that are still there; a revoked one stays revoked."""
        own = self._ports.keeper.current()[0].installation_id
        same = own == work.backup.manifest.installation
        return frozenset(tx.rows.ids("tokens")) if same else None

    def _remove(self, gone: list[str]) -> None:
        """The files of before; what cannot be removed now goes at the next start."""
        with suppress(StrongroomError):
            for key in gone:
                self._ports.files.delete(key)
            with self._ports.repository.transaction() as tx:
                for key in gone:
                    tx.intents.delete(key)

    def _now(self) -> datetime:
        return self._ports.clock.now()


@dataclass
class _Work:
    """One restore."""

    backup: OpenBackup
    keys: OpenKeys | None
    names: dict[str, str]
    done: Restored
    roots: tuple[RootSettings, ...]

    def rows(self, table: str, ring: AssetRing, tokens: frozenset[str] | None) -> Iterator[Row]:
        """The rows of a table as they go into the target."""
        for row in self.backup.rows(table):
            if table == "contents":
                key = row["storage_key"]
                yield {**row, "storage_key": self.names.get(key, key)}
            elif table == "credentials":
                yield from self._credential(row, ring)
            elif table == "tokens" and tokens is not None and row["id"] not in tokens:
                self.done.tokens_dropped += 1
            else:
                yield row

    def _credential(self, row: Row, ring: AssetRing) -> Iterator[Row]:
        """The credential under the target's asset key; one that does not open is worth nothing."""
        try:
            if self.keys is None:
                raise StateError("the backup's keys are closed")
            plain = self.keys.assets.open_(
                row["asset_key_id"], row["sealed"], content_id=row["content_id"]
            )
        except StrongroomError:
            self.done.credentials_dropped += 1
            return
        key_id, sealed = ring.seal(plain.reveal(), content_id=row["content_id"])
        yield {**row, "asset_key_id": key_id, "sealed": sealed}


def check_schema(backup: OpenBackup) -> None:
    """Whether the rows are of this program's schema (3.4).

    Raises:
        StateError: They are not.
    """
    if backup.manifest.schema != REVISION:
        raise StateError(
            f"the backup has schema {backup.manifest.schema}, this program has {REVISION}",
            hint=f"restore it with version {backup.manifest.program} of strongroom",
        )


def unreadable(backup: OpenBackup, found: Found, keys: OpenKeys | None) -> dict[str, str]:
    """Content whose extract these keys do not open, with the reason."""
    problems = {}
    for row in found.extracts.values():
        if keys is None:
            if row["file_id"]:
                problems[row["id"]] = f"MEK {row['mek_id']} is not available"
        elif error := backup.problem(row, keys.ring):
            problems[row["id"]] = error.message
    return problems


def _new_names(found: Found) -> dict[str, str]:
    """A storage key of its own for each extract: nothing that is there is ever written over."""
    names = {}
    for key in found.extracts:
        place, _, last = key.partition("/")
        name = new_id()
        names[key] = f"{place}/{name[:2]}/{name}{last[last.rindex('.') :]}"
    return names


def _former(present: KmsStore, work: _Work) -> tuple[bytes, ...]:
    """The closed stores of the target with those of the backup, and the backup's own if it does not open."""
    own, raw = work.backup.store, work.backup.raw_store
    if work.keys is None:
        return tuple(dict.fromkeys((*present.former, *own.former, raw)))
    return tuple(one for one in dict.fromkeys((*present.former, *own.former)) if one != raw)
