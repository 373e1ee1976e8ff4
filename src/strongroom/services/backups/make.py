"""`tsm maintenance backup`: one archive of repository, extracts and wrapped keys, taken while the server works (A-24).

The order makes the archive consistent (docs/format/backup.md 3.3). The rows come from one read transaction. The
extracts that they name are pinned, so that a deletion meanwhile removes only the name and not the bytes. The KMS store
is read last: a rewrap during the copy may bring an extract under a newer MEK, and the last store holds it; intents keep
the older MEKs from being retired. Open keys never reach this module (`services.backups.keys`).
"""

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager, nullcontext
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import BinaryIO

from strongroom.backup import archive, manifest
from strongroom.backup.archive import ArchiveWriter, Entry
from strongroom.backup.keys import WrappedKeys
from strongroom.backup.manifest import Listed, Manifest, Seal
from strongroom.backup.nodes import NODES
from strongroom.clock import Clock, format_utc
from strongroom.coordination.base import Coordinator
from strongroom.coordination.locks import BACKUP_LOCK
from strongroom.crypto.age import SealTo
from strongroom.crypto.installation_identity import InstallationIdentity
from strongroom.errors import (
    ConflictError,
    StateError,
    UsageError,
)
from strongroom.eventlog.base import EventLog
from strongroom.eventlog.events import backup_events
from strongroom.extracts import place
from strongroom.filestore.base import FileStore, Kept, PinningStore
from strongroom.filestore.blockfile import NewFile
from strongroom.ids import new_id
from strongroom.kms import any_store
from strongroom.kms import store as kms_store
from strongroom.kms.any_store import AnyStore
from strongroom.kms.closed_stores import ClosedStore
from strongroom.repository import portable
from strongroom.repository.revision import REVISION
from strongroom.repository.rows import IntentRow
from strongroom.repository.unit_of_work import Repository
from strongroom.services.backups import checks, pinning, small_entries, spooled
from strongroom.services.backups.checks import Stage
from strongroom.services.backups.gather import NOTHING, Gathered
from strongroom.services.backups.keys import KeyHolder, SealRequest, WrapRequest
from strongroom.services.backups.pinning import PinnedPart
from strongroom.system import durable
from strongroom.system.durable import FileModes

SUFFIX = ".tsbak"
PURPOSE = "backup"
"""The purpose of the intents that keep MEKs from being retired while a backup is made."""
NOBODY = SealTo()
_ATTEMPTS = 10


@dataclass(frozen=True)
class BackupPorts:
    """The ports from which a backup is made.

    Attributes:
        identity: Gives the public half of the identity, or None.
        place: The address of the file store, as it was when the store was opened.
        parts: Gathers what each node alone has, until the end of the block; of a single node, nothing.
        pinning: The file store, if it can keep extracts for a backup that does not hold them.
    """

    repository: Repository
    files: FileStore
    scratch: Path
    store: Callable[[], bytes]
    closed: Callable[[], Mapping[ClosedStore, bytes]]
    identity: Callable[[], InstallationIdentity | None]
    coordinator: Coordinator
    event_log: EventLog
    clock: Clock
    file_modes: FileModes
    place: str
    parts: Callable[[], AbstractContextManager[Gathered]] = lambda: nullcontext(NOTHING)
    pinning: PinningStore | None = None


@dataclass(frozen=True)
class BackupRequest:
    """A request for a backup.

    Attributes:
        path: The new file.
        actor: The person or process that asks, for the event.
        description: Free text for people.
        seal_to: Recipients or a passphrase to which the RMK is sealed as well.
        settings: The configuration, sealed already; empty to leave it out.
        check_space: Refuse if the disk has not enough room.
        verify: Read the whole file back and check it.
        program: Version of this program.
        pinned_until: Until when encrypted extracts are pinned in their object store; None to copy them.
    """

    path: Path
    actor: str
    description: str = ""
    seal_to: SealTo = NOBODY
    settings: bytes = b""
    check_space: bool = True
    verify: bool = True
    program: str = ""
    pinned_until: datetime | None = None


@dataclass(frozen=True)
class BackupMade:
    """A finished backup.

    Attributes:
        path: The file.
        manifest: The manifest in the file.
        manifest_sha256: Digest of the manifest.
        fingerprint: Fingerprint of the identity that signed it; empty on a node without one.
        size: Size of the file in bytes.
        extracts: How many extracts the file holds.
        plain: How many of these are not encrypted.
        kinds: Kinds of the wraps of the backup's RMK.
        mek_id: The MEK by which the backup's RMK is wrapped; a newer one may be active by now.
        unreadable: Extracts that the backup's keys do not open, or that are damaged; the file holds their bytes as
            stored.
        pinned: How many extracts the file does not hold, since they are pinned.
        pinned_until: Until when these are pinned; empty if the file holds all.
        missing: Sentences on what the backup lacks of the nodes of a cluster.
        may_be_elsewhere: Whether a file that is not there may lie on the disk of another node.
    """

    path: Path
    manifest: Manifest
    manifest_sha256: str
    fingerprint: str
    size: int
    extracts: int
    plain: int
    kinds: tuple[str, ...]
    mek_id: str
    unreadable: tuple[str, ...]
    pinned: int = 0
    pinned_until: str = ""
    missing: tuple[str, ...] = ()
    may_be_elsewhere: bool = False


@dataclass
class _Snapshot:
    """The rows of one moment, spooled to disk, the pinned files that they name, and what each node alone has."""

    kept: Kept
    rows: dict[str, BinaryIO]
    files: list[str]
    lost: tuple[str, ...]
    asset_keys: tuple[str, ...]
    pinned: PinnedPart | None
    parts: Gathered = NOTHING


class BackupService:
    """Makes backups."""

    def __init__(self, ports: BackupPorts, keys: KeyHolder) -> None:
        self._ports, self._keys = ports, keys

    def make(self, request: BackupRequest, stage: Stage) -> BackupMade:
        """Make a backup; its file appears whole or not at all.

        Raises:
            ConflictError: The file exists, another backup is being made, extracts are being moved, or keys were
                regenerated meanwhile.
            StateError: Extracts are being moved, or were since the node was opened; or the backup would exceed what a
                reader accepts (docs/format/backup.md 1.3, 3.2, 4.4).
            StorageError: The disk has no room, or refuses.
            StrongroomError: The keys do not open.
        """
        checks.may_be_made(request)
        durable.make_folder(request.path.parent, self._ports.file_modes)
        with self._ports.coordinator.lock(BACKUP_LOCK, wait_s=0), ExitStack() as stack:
            backup_id = new_id()
            store = self._present_store()[0]
            kept = stack.enter_context(self._kept(backup_id, store))
            # the pin comes before the rows: whatever they name is deleted after it
            pinned = stack.enter_context(self._pinned(request, backup_id))
            # and before this look: a move says that it is under way before it looks for pins
            place.check_still(self._ports.coordinator, self._ports.place)
            snapshot = self._snapshot(stack, kept, pinned)
            # Wrap the keys once and throw the result away: keys that do not open are refused now, not after hours of
            # copying. A passphrase is left out, since stretching it takes seconds and cannot fail.
            self._wrapped(backup_id, replace(request, seal_to=_cheap(request.seal_to)), snapshot)
            snapshot.parts = stack.enter_context(self._ports.parts())
            made = self._write(request, backup_id, snapshot, stage)
            if request.verify:
                checks.is_as_written(made.path, stage)
            event = backup_events.backup_made(
                request.actor,
                backup_id,
                name=made.path.name,
                rmk_id=made.manifest.rmk_id,
                mek_id=made.mek_id,
                sealed=", ".join(made.manifest.sealed),
                manifest=made.manifest_sha256,
            )
            self._ports.event_log.append([event])
        return made

    def recover(self) -> None:
        """Release the pins and intents of a killed backup.

        Raises:
            ConflictError: A backup is being made, and still needs its pins.
        """
        with self._ports.coordinator.lock(BACKUP_LOCK, wait_s=0):
            self._let_go()

    # ---- what is kept meanwhile ------------------------------------------------------------------

    @contextmanager
    def _kept(self, backup_id: str, store: AnyStore) -> Iterator[Kept]:
        self._let_go()
        kept = self._ports.files.keep()
        now = format_utc(self._ports.clock.now())
        with self._ports.repository.transaction() as tx:
            for mek in store.meks:
                key = f"{PURPOSE}/{backup_id}/{mek.id}"
                tx.intents.insert(IntentRow(key, "", mek.id, PURPOSE, now))
        try:
            yield kept
        finally:
            self._let_go()

    def _let_go(self) -> None:
        with self._ports.repository.reading() as tx:
            kept = [one.storage_key for one in tx.intents.list_own() if one.purpose == PURPOSE]
        if kept:
            with self._ports.repository.transaction() as tx:
                for key in kept:
                    tx.intents.delete(key)
        # The pins go last: a start asks only whether there are pins before it calls `recover`, so intents without pins
        # would keep their MEKs for ever.
        self._ports.files.let_go()

    def _pinned(
        self, request: BackupRequest, backup_id: str
    ) -> AbstractContextManager[PinnedPart | None]:
        if request.pinned_until is None:
            return nullcontext()
        return pinning.held(
            self._ports.pinning, backup_id, path=request.path, until=request.pinned_until
        )

    def _snapshot(self, stack: ExitStack, kept: Kept, pinned: PinnedPart | None) -> _Snapshot:
        """The rows of one moment, whose files are all pinned.

        A file may be deleted after the read transaction has begun and before its pin. Then a later moment is read,
        whose files are pinned already but for the newest, until no pin fails.
        """
        missing: list[str] | None = None
        for _ in range(_ATTEMPTS):
            with self._ports.repository.reading() as tx:
                files = sorted(filter(None, tx.contents.storage_keys()))
                before, missing = missing, kept.add(files)
                if missing and missing != before:
                    # a file that two moments in a row name, and that is not there, was not deleted but lost
                    continue
                rows = {}
                for name in portable.NAMES:
                    rows[name] = stack.enter_context(spooled.spool(self._ports.scratch))
                    for line in tx.rows.lines(name):
                        rows[name].write(line)
                there = [key for key in files if key not in missing]
                asset_keys = tuple(sorted(tx.credentials.asset_keys()))
                return _Snapshot(kept, rows, there, tuple(missing), asset_keys, pinned)
        raise StateError(
            f"files went faster than they could be pinned, {_ATTEMPTS} times",
            hint="run it again while fewer extracts are changed",
        )

    # ---- the file --------------------------------------------------------------------------------

    def _write(
        self, request: BackupRequest, backup_id: str, snapshot: _Snapshot, stage: Stage
    ) -> BackupMade:
        # the number of entries is checked before hours of copying, not by the writer at the end
        parts = snapshot.parts
        around = 1 + len(snapshot.rows) + len(parts.files) + manifest.MOST_BEHIND_EXTRACTS
        archive.check_count(around + len(snapshot.files))
        pinned = snapshot.pinned or pinning.NONE
        copied, left = pinned.divided(snapshot.files)
        total = parts.bytes + sum(map(spooled.length, snapshot.rows.values()))
        total += pinned.entry_bytes * len(left)
        for key in copied:
            with closing(snapshot.kept.open(key)) as file:
                total += file.size
        if request.check_space:
            checks.has_room(request.path.parent, total)
        with NewFile(request.path, file_modes=self._ports.file_modes) as target:
            writer = ArchiveWriter(target, stage("backup", total))
            writer.add_bytes(archive.MARK, manifest.mark(backup_id, pinned.version))
            for name, spool in snapshot.rows.items():
                writer.add(f"{manifest.REPOSITORY}{name}.jsonl", spooled.Spooled(spool))
            meks: dict[str, frozenset[str] | None] = {}
            for key in copied:
                with closing(snapshot.kept.open(key)) as file:
                    meks[key] = checks.meks_of(key, file)
                    writer.add(f"{manifest.EXTRACTS}{key}", file)
            meks |= pinned.add(writer, left)
            for name, part in parts.files.items():
                writer.add(name, part)
            if parts.said is not None:
                writer.add_bytes(NODES, parts.said.serialize())
            store, said, seal = self._finish(writer, request, backup_id, snapshot)
            unreadable = self._unreadable(meks, store, snapshot.kept)
            target.commit()
        return BackupMade(
            path=request.path,
            manifest=said,
            manifest_sha256=seal.manifest_sha256,
            fingerprint=said.signer.fingerprint if said.signer else "",
            size=writer.size,
            extracts=len(copied),
            pinned=len(left),
            pinned_until=pinned.until,
            plain=sum(not key.endswith(pinning.SEALED) for key in meks),
            kinds=tuple(wrap.kind for wrap in store.wraps),
            mek_id=store.active_mek_id,
            unreadable=unreadable,
            missing=parts.missing(len(snapshot.lost)),
            may_be_elsewhere=parts.said is not None and parts.said.may_be_elsewhere,
        )

    def _finish(
        self,
        writer: ArchiveWriter,
        request: BackupRequest,
        backup_id: str,
        snapshot: _Snapshot,
    ) -> tuple[AnyStore, Manifest, Seal]:
        """Everything after the extracts: keys, manifest, seal."""
        left = _ATTEMPTS
        while True:
            left -= 1
            try:
                small, said, seal = self._sealed(writer.entries, request, backup_id, snapshot)
            except ConflictError:
                # keys were rotated between wrapping and sealing: try again with the new ones
                if not left:
                    raise
                continue
            for name, data in small.items():
                writer.add_bytes(name, data)
            writer.add_bytes(manifest.MANIFEST, manifest.bounded(said))
            writer.add_bytes(manifest.SEAL, seal.serialize())
            writer.finish()
            return any_store.parse(small[manifest.STORE]), said, seal

    def _sealed(
        self,
        entries: Sequence[Entry],
        request: BackupRequest,
        backup_id: str,
        snapshot: _Snapshot,
    ) -> tuple[dict[str, bytes], Manifest, Seal]:
        raw, wrapped = self._wrapped(backup_id, request, snapshot)
        store = any_store.parse(raw)
        closed = small_entries.of_closed(store, self._ports.closed)
        small = small_entries.of_keys(raw, closed, wrapped, request.settings)
        said = self._manifest(request, backup_id, store, entries, small)
        version = (snapshot.pinned or pinning.NONE).version
        said = replace(said, lost=snapshot.lost, version=version)
        digest = hashlib.sha256(said.serialize()).hexdigest()
        wanted = SealRequest(backup_id, store.rmk_id, digest, said.identity.hex(), version)
        return small, said, self._keys.seal(wanted)

    def _wrapped(
        self, backup_id: str, request: BackupRequest, snapshot: _Snapshot
    ) -> tuple[bytes, WrappedKeys]:
        _, raw = self._present_store()
        wanted = WrapRequest(kms_store.digest(raw), snapshot.asset_keys)
        wrapped = self._keys.wrap(backup_id, wanted, request.seal_to)
        small_entries.check(small_entries.of_keys(raw, {}, wrapped, settings=b""))
        return raw, wrapped

    def _present_store(self) -> tuple[AnyStore, bytes]:
        raw = self._ports.store()
        return any_store.parse(raw), raw

    def _manifest(
        self,
        request: BackupRequest,
        backup_id: str,
        store: AnyStore,
        entries: Sequence[Entry],
        small: dict[str, bytes],
    ) -> Manifest:
        identity = self._ports.identity()
        last = (
            Listed(name, len(data), hashlib.sha256(data).hexdigest())
            for name, data in small.items()
        )
        to = request.seal_to
        sealed = "passphrase" if to.passphrase is not None else "recipient"
        return Manifest(
            id=backup_id,
            created_at=format_utc(self._ports.clock.now()),
            description=request.description,
            program=request.program,
            installation=store.installation_id,
            schema=REVISION,
            mode=store.mode,
            rmk_id=store.rmk_id,
            epoch=store.epoch,
            mek_ids=tuple(mek.id for mek in store.meks),
            sealed=() if to.is_empty else (sealed,),
            entries=(*manifest.listed(entries), *last),
            identity=identity.public if identity else b"",
        )

    def _unreadable(
        self, meks: dict[str, frozenset[str] | None], store: AnyStore, kept: Kept
    ) -> tuple[str, ...]:
        """The extracts that the backup's keys do not open.

        Raises:
            ConflictError: An extract was rewrapped during the copy and its old MEK retired, so that the copied header
                is under a MEK that the backup lacks.
        """
        known = frozenset[str](mek.id for mek in store.meks)
        found = []
        for key, named in meks.items():
            if (named is not None and named & known) or not key.endswith(pinning.SEALED):
                continue
            with closing(kept.open(key)) as file:
                now = checks.meks_of(key, file)
            if now is not None and now & known:
                raise ConflictError(
                    "keys were retired while the backup was made", hint="run it again"
                )
            found.append(key)
        return tuple(found)


def check_name(name: str) -> str:
    """The file name for a backup that an operator named so.

    Raises:
        UsageError: The name is a path, or cannot be that of a file.
    """
    stem = name.removesuffix(SUFFIX)
    # a line break in the name would let its author write lines of his own into lists and logs (findings S17)
    is_plain = stem.isprintable() and "/" not in stem and not stem.startswith(".")
    if not stem or not is_plain or len(stem) > 200:
        raise UsageError(
            f"{name[:80]!r} is no name of a backup",
            hint="give a name without a path; basefilepath.backuprestore says where backups lie",
        )
    return stem + SUFFIX


def _cheap(to: SealTo) -> SealTo:
    return SealTo(to.recipients)
