"""`tsm maintenance backup`: one archive of repository, extracts and wrapped keys, taken while the server works (A-24).

The rows are those of one moment; the extracts that they name are pinned before they can go; the KMS store is read last,
so that it holds every MEK that a header names (docs/format/backup.md 3.3). Keys are used where they are held: here pass
only wrapped ones.
"""

import hashlib
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

from strongroom import durable
from strongroom.backup import archive, manifest
from strongroom.backup.archive import ArchiveWriter, Entry
from strongroom.backup.keys import WrappedKeys
from strongroom.backup.manifest import Listed, Manifest, Seal
from strongroom.backup.restore import OpenBackup
from strongroom.clock import Clock, format_utc
from strongroom.coordination.base import Coordinator
from strongroom.crypto.age import SealTo
from strongroom.durable import Access
from strongroom.envelope.reader import read_header
from strongroom.errors import ConflictError, FormatError, StateError, StorageError, UsageError
from strongroom.eventlog import events
from strongroom.eventlog.base import EventLog
from strongroom.filestore.blockfile import NewFile, OpenedFile
from strongroom.filestore.pins import Pins
from strongroom.ids import new_id
from strongroom.kms import store as kms_store
from strongroom.kms.store import KmsStore
from strongroom.repository import portable
from strongroom.repository.rows import IntentRow
from strongroom.repository.unit_of_work import REVISION, Repository
from strongroom.services.backup_keys import KeyRoom, Wanted

SUFFIX = ".tsbak"
PURPOSE = "backup"
"""Of the intents that keep MEKs from being retired meanwhile."""
LOCK = "backup"
NOBODY = SealTo()
_ATTEMPTS = 10
_SPARE_BYTES = 64 << 20
_SEALED = ".sealed"

#: Begins a stage of so many bytes; gives whom to tell of them.
Stage = Callable[[str, int], Callable[[int], None] | None]


@dataclass(frozen=True)
class BackupPorts:
    """What a backup is made of."""

    repository: Repository
    pins: Pins
    store: Callable[[], bytes]
    coordinator: Coordinator
    log: EventLog
    clock: Clock
    access: Access


@dataclass(frozen=True)
class BackupRequest:
    """What is wanted.

    Attributes:
        path: The new file.
        actor: Who asks.
        description: For people.
        seal_to: Whom the keys are sealed to as well.
        settings: The configuration, sealed already; empty if it is not wanted.
        check_space: Refuse if the disk has not enough room.
        verify: Read the whole file back.
        program: Version of this program.
    """

    path: Path
    actor: str
    description: str = ""
    seal_to: SealTo = NOBODY
    settings: bytes = b""
    check_space: bool = True
    verify: bool = True
    program: str = ""


@dataclass(frozen=True)
class BackupMade:
    """What was made.

    Attributes:
        path: The file.
        manifest: What it says of itself.
        manifest_sha256: Digest of its manifest.
        size: Bytes of the file.
        extracts: How many extracts it holds.
        plain: How many of them are not encrypted.
        kinds: Kinds of the wraps of its RMK.
        unreadable: Extracts that its keys do not open, or that are damaged; they are in it as they lie.
    """

    path: Path
    manifest: Manifest
    manifest_sha256: str
    size: int
    extracts: int
    plain: int
    kinds: tuple[str, ...]
    unreadable: tuple[str, ...]


@dataclass
class _Snapshot:
    """The rows of one moment, and the files that they name."""

    rows: dict[str, BinaryIO]
    files: list[str]
    lost: tuple[str, ...]
    asset_keys: tuple[str, ...]


class BackupService:
    """Makes backups."""

    def __init__(self, ports: BackupPorts, keys: KeyRoom) -> None:
        self._ports, self._keys = ports, keys

    def make(self, request: BackupRequest, stage: Stage) -> BackupMade:
        """Make one; the file is there whole or not at all.

        Raises:
            ConflictError: There is such a file, another backup is being made, or keys were regenerated meanwhile.
            StateError: It would be larger than a reader takes (docs/format/backup.md 1.3, 3.2, 4.4).
            StorageError: The disk has no room, or refuses.
            StrongroomError: The keys do not open.
        """
        _check_new(request)
        durable.make_folder(request.path.parent, self._ports.access)
        with self._ports.coordinator.lock(LOCK, wait_s=0), ExitStack() as stack:
            backup_id = new_id()
            store = self._present_store()[0]
            stack.enter_context(self._kept(backup_id, store))
            snapshot = self._snapshot(stack)
            # refused now, and not after hours; a passphrase alone costs seconds, and tells nothing
            self._wrapped(backup_id, replace(request, seal_to=_cheap(request.seal_to)), snapshot)
            made = self._write(request, backup_id, snapshot, stage)
            if request.verify:
                _verify(made.path, stage)
            told = events.backup_made(
                request.actor,
                backup_id,
                name=made.path.name,
                rmk_id=made.manifest.rmk_id,
                sealed=", ".join(made.manifest.sealed),
                manifest=made.manifest_sha256,
            )
            self._ports.log.append([told])
        return made

    def recover(self) -> None:
        """Let go of what a killed backup kept.

        Raises:
            ConflictError: It lives, and keeps it still.
        """
        with self._ports.coordinator.lock(LOCK, wait_s=0):
            self._let_go()

    # ---- what is kept meanwhile ------------------------------------------------------------------

    @contextmanager
    def _kept(self, backup_id: str, store: KmsStore) -> Iterator[None]:
        self._let_go()
        self._ports.pins.prepare()
        now = format_utc(self._ports.clock.now())
        with self._ports.repository.transaction() as tx:
            for mek in store.meks:
                key = f"{PURPOSE}/{backup_id}/{mek.id}"
                tx.intents.insert(IntentRow(key, "", mek.id, PURPOSE, now))
        try:
            yield
        finally:
            self._let_go()

    def _let_go(self) -> None:
        with self._ports.repository.reading() as tx:
            kept = [one.storage_key for one in tx.intents.list() if one.purpose == PURPOSE]
        if kept:
            with self._ports.repository.transaction() as tx:
                for key in kept:
                    tx.intents.delete(key)
        self._ports.pins.clear()  # last: as long as the folder is there, there may be something

    def _snapshot(self, stack: ExitStack) -> _Snapshot:
        """The rows of one moment whose files are all pinned.

        A file may go between the moment and its pin; then a later moment is taken, of which all
        but the newest files are pinned already.
        """
        missing: list[str] | None = None
        for _ in range(_ATTEMPTS):
            with self._ports.repository.reading() as tx:
                files = sorted(filter(None, tx.contents.storage_keys()))
                before, missing = missing, self._ports.pins.take(files)
                if missing and missing != before:
                    continue  # what a newer moment still names, and is not there, is lost
                rows = {}
                for name in portable.NAMES:
                    rows[name] = stack.enter_context(self._ports.pins.spool())
                    for line in tx.rows.lines(name):
                        rows[name].write(line)
                there = [key for key in files if key not in missing]
                asset_keys = tuple(sorted(tx.credentials.asset_keys()))
                return _Snapshot(rows, there, tuple(missing), asset_keys)
        raise StateError(
            f"files went faster than they could be pinned, {_ATTEMPTS} times",
            hint="run it again while fewer extracts are changed",
        )

    # ---- the file --------------------------------------------------------------------------------

    def _write(
        self, request: BackupRequest, backup_id: str, snapshot: _Snapshot, stage: Stage
    ) -> BackupMade:
        pins = self._ports.pins
        # now, and not after hours
        around = 1 + len(snapshot.rows) + manifest.MOST_BEHIND_EXTRACTS
        archive.check_count(around + len(snapshot.files))
        total = sum(map(_length, snapshot.rows.values()))
        for key in snapshot.files:
            with pins.open(key) as file:
                total += file.size
        if request.check_space:
            _check_space(request.path.parent, total)
        with NewFile(request.path, access=self._ports.access) as target:
            writer = ArchiveWriter(target, stage("backup", total))
            writer.add_bytes(archive.MARK, manifest.mark(backup_id))
            for name, spool in snapshot.rows.items():
                writer.add(f"{manifest.REPOSITORY}{name}.jsonl", _Spooled(spool))
            meks: dict[str, frozenset[str] | None] = {}
            for key in snapshot.files:
                with pins.open(key) as file:
                    meks[key] = _meks_of(key, file)
                    writer.add(f"{manifest.EXTRACTS}{key}", file)
            store, said, seal = self._finish(writer, request, backup_id, snapshot)
            unreadable = self._unreadable(meks, store)
            target.commit()
        return BackupMade(
            path=request.path,
            manifest=said,
            manifest_sha256=seal.manifest_sha256,
            size=writer.size,
            extracts=len(meks),
            plain=sum(not key.endswith(_SEALED) for key in meks),
            kinds=tuple(wrap.kind for wrap in store.wraps),
            unreadable=unreadable,
        )

    def _finish(
        self,
        writer: ArchiveWriter,
        request: BackupRequest,
        backup_id: str,
        snapshot: _Snapshot,
    ) -> tuple[KmsStore, Manifest, Seal]:
        """Everything after the extracts: keys, manifest, seal."""
        left = _ATTEMPTS
        while True:
            left -= 1
            try:
                small, said, seal = self._sealed(writer.entries, request, backup_id, snapshot)
            except ConflictError:  # a rotation between the steps: once more, with the new keys
                if not left:
                    raise
                continue
            for name, data in small.items():
                writer.add_bytes(name, data)
            writer.add_bytes(manifest.MANIFEST, manifest.bounded(said))
            writer.add_bytes(manifest.SEAL, seal.serialize())
            writer.finish()
            return kms_store.parse(small[manifest.STORE]), said, seal

    def _sealed(
        self,
        entries: Sequence[Entry],
        request: BackupRequest,
        backup_id: str,
        snapshot: _Snapshot,
    ) -> tuple[dict[str, bytes], Manifest, Seal]:
        raw, wrapped = self._wrapped(backup_id, request, snapshot)
        small, store = _small_entries(raw, wrapped, request.settings), kms_store.parse(raw)
        said = self._manifest(request, backup_id, store, entries, small)
        said = replace(said, lost=snapshot.lost)
        digest = hashlib.sha256(said.serialize()).hexdigest()
        return small, said, self._keys.seal(backup_id, store.rmk_id, digest)

    def _wrapped(
        self, backup_id: str, request: BackupRequest, snapshot: _Snapshot
    ) -> tuple[bytes, WrappedKeys]:
        _, raw = self._present_store()
        wanted = Wanted(kms_store.digest(raw), snapshot.asset_keys)
        wrapped = self._keys.wrap(backup_id, wanted, request.seal_to)
        _check_keys(_small_entries(raw, wrapped, settings=b""))
        return raw, wrapped

    def _present_store(self) -> tuple[KmsStore, bytes]:
        raw = self._ports.store()
        return kms_store.parse(raw), raw

    def _manifest(
        self,
        request: BackupRequest,
        backup_id: str,
        store: KmsStore,
        entries: Sequence[Entry],
        small: dict[str, bytes],
    ) -> Manifest:
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
        )

    def _unreadable(
        self, meks: dict[str, frozenset[str] | None], store: KmsStore
    ) -> tuple[str, ...]:
        """Extracts that the backup's keys do not open.

        Raises:
            ConflictError: One was brought under a new MEK while the old one was retired.
        """
        known = frozenset[str](mek.id for mek in store.meks)
        found = []
        for key, named in meks.items():
            if (named is not None and named & known) or not key.endswith(_SEALED):
                continue
            with self._ports.pins.open(key) as file:
                now = _meks_of(key, file)
            if now is not None and now & known:
                raise ConflictError(
                    "keys were retired while the backup was made", hint="run it again"
                )
            found.append(key)
        return tuple(found)


class _Spooled:
    """A temporary file as a source."""

    def __init__(self, file: BinaryIO) -> None:
        self._file, self.size = file, _length(file)

    def read_into_at(self, offset: int, target: memoryview) -> int:
        """Fill the buffer from this offset on; less only at the end."""
        self._file.seek(offset)
        piece = self._file.read(len(target))
        target[: len(piece)] = piece
        return len(piece)


def check_name(name: str) -> str:
    """The file name of a backup of this name.

    Raises:
        UsageError: It is a path, or no name of a file.
    """
    stem = name.removesuffix(SUFFIX)
    if not stem or "/" in stem or "\0" in stem or stem.startswith(".") or len(stem) > 200:
        raise UsageError(
            f"{name[:80]!r} is no name of a backup",
            hint="give a name without a path; basefilepath.backuprestore says where backups lie",
        )
    return stem + SUFFIX


def _cheap(to: SealTo) -> SealTo:
    return SealTo(to.recipients)


def _check_new(request: BackupRequest) -> None:
    if request.path.exists() or request.path.is_symlink():
        raise ConflictError(
            f"{request.path} exists already", hint="choose another name, or append the date by -d"
        )
    if len(request.description) > manifest.MAX_DESCRIPTION or not request.description.isprintable():
        raise UsageError(
            f"a description has at most {manifest.MAX_DESCRIPTION} characters on one line"
        )
    if request.settings and request.seal_to.is_empty:
        raise UsageError(
            "the configuration goes into a backup sealed only",
            hint="give --recipient or --passphrase-file",
        )


def _check_space(folder: Path, total: int) -> None:
    free = shutil.disk_usage(folder).free
    if free < total + _SPARE_BYTES:
        raise StorageError(
            f"{folder} has {free} bytes free, the backup needs about {total + _SPARE_BYTES}",
            hint="free some space, set basefilepath.backuprestore, or --override-disk-space-check",
        )


def _verify(path: Path, stage: Stage) -> None:
    try:
        with OpenedFile(path, follow=False) as file:
            # else memory would be compared with memory: what was just written is still there
            file.forget()
            OpenBackup.check(file, stage("verify", file.size))
    except FormatError as error:
        path.unlink()
        raise StorageError(
            f"the backup was not on the disk as it was written: {error.message}",
            hint="check the disk; the file was removed",
        ) from error


def _small_entries(raw: bytes, wrapped: WrappedKeys, settings: bytes) -> dict[str, bytes]:
    found = {
        manifest.STORE: raw,
        manifest.ROOTS: wrapped.roots,
        manifest.ASSETS: wrapped.assets,
        manifest.BY_MEK: wrapped.by_mek,
        manifest.SEALED: wrapped.sealed,
        manifest.SETTINGS: settings,
    }
    return {name: data for name, data in found.items() if data}


def _check_keys(entries: dict[str, bytes]) -> None:
    for name, data in entries.items():
        if len(data) > manifest.MAX_KEY_BYTES:
            raise StateError(
                f"{name} of the backup would have {len(data)} bytes, more than"
                f" {manifest.MAX_KEY_BYTES}",
                hint="retire MEKs that nothing uses, adopt closed stores, seal to fewer recipients",
            )


def _meks_of(key: str, file: OpenedFile) -> frozenset[str] | None:
    """The MEKs that an extract's header names; None if it has no readable header."""
    if not key.endswith(_SEALED):
        return None
    try:
        return frozenset(read_header(file).mek_ids)
    except FormatError:
        return None


def _length(file: BinaryIO) -> int:
    return file.seek(0, 2)
