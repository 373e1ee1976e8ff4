"""Backup and restore on a node of this process: what is looked at before the first change (A-24, A-26; findings M2, M4)."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from strongroom.backup import opening
from strongroom.backup.manifest import Seal
from strongroom.backup.open_backup import OpenBackup
from strongroom.coordination.locks import BACKUP_LOCK
from strongroom.crypto.age import OpenWith, SealTo
from strongroom.crypto.secret import SecretBytes
from strongroom.errors import (
    ConflictError,
    IntegrityError,
    StateError,
    StorageError,
    StrongroomError,
    UsageError,
)
from strongroom.eventlog.events import backup_events
from strongroom.filestore.blockfile import OpenedFile
from strongroom.ids import new_id
from strongroom.kms import store as kms_store
from strongroom.kms.links import Known
from strongroom.node import backup as node_backups
from strongroom.node.opening import Node
from strongroom.services.backups import checks
from strongroom.services.backups import make as backup_service
from strongroom.services.backups import restore as restore_service
from strongroom.services.backups.keys import BackupKeys, SealRequest, WrapRequest
from strongroom.services.backups.make import BackupRequest
from strongroom.services.backups.restore import Restored, RestoreRequest
from strongroom.services.keys.stored import STORE
from strongroom.system.compat import override
from tests.support import backups
from tests.support.backups import State
from tests.support.lying_roots import LIES, lie_about_new_wraps

ACTOR = "os:tester"
PASSPHRASE = SecretBytes(b"correct horse battery staple")


@pytest.fixture
def source(whole: Node) -> Node:
    """A node with an encrypted extract, a plain one and a credential."""
    row = backups.publish(whole, "one", bytes(range(256)) * 20)
    backups.publish(whole, "plain", b"plain bytes", encrypted=False)
    backups.embed(whole, row, b"embedded secret")
    return whole


def staged(node: Node, path: Path, request: RestoreRequest) -> tuple[list[str], Restored | None]:
    """Restore; gives the stages that began, whatever came of it."""
    begun: list[str] = []

    def stage(name: str, total: int) -> Callable[[int], None] | None:
        del total
        begun.append(name)
        return None

    with OpenedFile(path) as file:
        service = node_backups.restores(node)
        means = node_backups.means(node, OpenWith(), None)
        try:
            return begun, service.restore(OpenBackup.check(file), means, request, stage)
        except StrongroomError:
            return begun, None


# ---- restore -----------------------------------------------------------------------------------


def _put_back(node: Node) -> None:
    """The store as it was before a rotation that the marks remember."""
    old = node.configuration.document().values[STORE]
    node.meks.rotate(ACTOR)
    node.configuration.compare_and_put(lambda document: document.with_values({STORE: old}))


def _marked_later(node: Node) -> None:
    node._kms_ports.marks.write(Known(99, "0" * 64, bytes(32)))


@pytest.mark.parametrize("roll_back", [_put_back, _marked_later])
def test_a_target_that_was_rolled_back_is_found_before_anything_is_written(
    source: Node, tmp_path: Path, roll_back: Callable[[Node], None]
) -> None:
    """findings M2, R19: restore did not look for it; not one extract is written before."""
    made = backups.make(source, tmp_path / "b.tsbak")
    roll_back(source)
    before = State.of(source)
    begun, done = staged(source, made.path, RestoreRequest(ACTOR, "b.tsbak"))
    assert (begun, done) == ([], None)
    assert State.of(source) == before
    with pytest.raises(IntegrityError, match="rolled back"):
        backups.restore(source, made.path)


def test_a_rolled_back_target_is_found_though_no_key_would_change(
    source: Node, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """findings M2: without keys, and with the closed store there already, nothing else looks at the epoch."""

    def closed(*_: object) -> None:
        raise opening.NOT_OPENED[0]("nothing opens it")

    made = backups.make(source, tmp_path / "b.tsbak")
    monkeypatch.setattr(opening, "open_keys", closed)
    request = RestoreRequest(ACTOR, "b.tsbak", without_keys=True)
    for _ in range(2):
        assert staged(source, made.path, request)[1] is not None
    _marked_later(source)
    before = State.of(source)
    assert staged(source, made.path, request) == ([], None)
    assert State.of(source) == before


@pytest.mark.parametrize("name", LIES)
def test_a_root_that_lies_about_the_restored_keys_changes_nothing(
    source: Node, tmp_path: Path, name: str
) -> None:
    """findings M4: the new store does not prove, so rows, files and keys are as they were."""
    made = backups.make(source, tmp_path / "b.tsbak")
    backups.publish(source, "later", b"published after the backup")
    wanted = backups.contents(source)
    before = State.of(source)
    lie_about_new_wraps(source, LIES[name])
    with pytest.raises(StrongroomError):
        backups.restore(source, made.path)
    after = State.of(source)
    assert (after.rows, after.files) == (before.rows, before.files)
    assert after.configuration == before.configuration
    assert backups.contents(source) == wanted
    assert backup_events.RESTORE not in [record["id"] for record in source.events.read()]


def test_a_restore_on_the_same_node_brings_everything_back(source: Node, tmp_path: Path) -> None:
    wanted = backups.contents(source)
    made = backups.make(source, tmp_path / "b.tsbak")
    backups.publish(source, "later", b"published after the backup")
    done = backups.restore(source, made.path)
    assert backups.contents(source) == wanted
    assert backups.credentials(source) == {b"embedded secret"}
    assert (done.missing, done.lost, done.credentials_dropped) == ({}, [], 0)
    assert source.kms_store.status().is_ok
    assert [r["id"] for r in source.events.read()].count(backup_events.RESTORE) == 1
    with source.repository.reading() as tx:
        assert tx.intents.list() == []
        assert backups.files(source) == tx.contents.storage_keys()


def test_a_store_that_would_be_too_large_is_not_restored_into(
    source: Node, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = backups.make(source, tmp_path / "b.tsbak")
    before = State.of(source)
    monkeypatch.setattr(kms_store, "MAX_MEKS", 1)
    assert staged(source, made.path, RestoreRequest(ACTOR, "b.tsbak")) == ([], None)
    with pytest.raises(StateError, match="would have 2 MEKs"):
        backups.restore(source, made.path)
    assert State.of(source) == before
    monkeypatch.setattr(kms_store, "MAX_MEKS", 2)
    assert backups.restore(source, made.path).missing == {}


def test_room_is_looked_for_before_anything_is_written(
    source: Node, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = backups.make(source, tmp_path / "b.tsbak")
    before = State.of(source)
    monkeypatch.setattr(restore_service, "_SPARE_BYTES", 1 << 60)
    with pytest.raises(StorageError, match="iB free, the extracts need "):
        backups.restore(source, made.path)
    assert State.of(source) == before
    request = RestoreRequest(ACTOR, "b.tsbak", check_space=False)
    assert staged(source, made.path, request)[1] is not None


def test_a_token_that_was_revoked_since_stays_revoked(source: Node, tmp_path: Path) -> None:
    """On the node that made the backup; its holder may be whoever it was revoked for."""
    from strongroom.access.permissions import Subject

    with source.repository.reading() as tx:
        admin = tx.users.find_by_name("admin")
    assert admin is not None
    subject = Subject.local(ACTOR)
    kept, _ = source.tokens.create(subject, admin.id, "kept")
    gone, _ = source.tokens.create(subject, admin.id, "gone")
    made = backups.make(source, tmp_path / "b.tsbak")
    source.tokens.revoke(subject, gone.id)
    done = backups.restore(source, made.path)
    assert done.tokens_dropped == 1
    assert [token.id for token in source.tokens.list(subject)] == [kept.id]


def test_rows_that_do_not_fit_are_found_in_a_scratch_repository(
    source: Node, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = backups.make(source, tmp_path / "b.tsbak")
    before = State.of(source)
    real = OpenBackup.rows

    def without_sites(backup: OpenBackup, table: str) -> object:
        return iter(()) if table == "sites" else real(backup, table)

    monkeypatch.setattr(OpenBackup, "rows", without_sites)
    begun, done = staged(source, made.path, RestoreRequest(ACTOR, "b.tsbak"))
    assert (begun, done) == ([], None)
    assert State.of(source) == before


# ---- backup ------------------------------------------------------------------------------------


def test_meks_and_files_are_kept_while_a_backup_is_made_and_let_go_after(
    source: Node, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody may retire a MEK that the backup is about to name."""
    seen: list[list[str]] = []
    real = backup_service.BackupService._write

    def write(*words: object) -> object:
        with source.repository.reading() as tx:
            found = tx.intents.list()
            seen.append([i.mek_id for i in found if i.purpose == backup_service.PURPOSE])
        return real(*words)  # type: ignore[arg-type]  # passed through

    monkeypatch.setattr(backup_service.BackupService, "_write", write)
    source.meks.rotate(ACTOR)
    made = backups.make(source, tmp_path / "b.tsbak")
    (kept,) = seen
    assert set(kept) == set(made.manifest.mek_ids)
    assert len(kept) == 2
    with source.repository.reading() as tx:
        assert tx.intents.list() == []
    assert not (source.paths.extracts / ".pins").exists()
    assert [r["id"] for r in source.events.read()][-1] == backup_events.BACKUP_MADE


def test_one_backup_at_a_time(source: Node, tmp_path: Path) -> None:
    with (
        source.coordinator.lock(BACKUP_LOCK, wait_s=0),
        pytest.raises(ConflictError, match=BACKUP_LOCK),
    ):
        backups.make(source, tmp_path / "b.tsbak")
    assert not (tmp_path / "b.tsbak").exists()


def test_a_backup_that_is_on_the_disk_otherwise_is_removed(
    source: Node, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`--verify`, on unless refused: what was written is read back."""
    real, path = checks.is_as_written, tmp_path / "b.tsbak"

    def damaged(where: Path, stage: checks.Stage) -> None:
        data = bytearray(where.read_bytes())
        data[len(data) // 2] ^= 1
        where.write_bytes(bytes(data))
        real(where, stage)

    monkeypatch.setattr(checks, "is_as_written", damaged)
    with pytest.raises(StorageError, match="not on the disk as it was written"):
        backups.make(source, path)
    assert not path.exists()
    assert backup_events.BACKUP_MADE not in [record["id"] for record in source.events.read()]


def test_a_file_is_never_written_over(source: Node, tmp_path: Path) -> None:
    path = tmp_path / "b.tsbak"
    path.write_bytes(b"somebody's")
    with pytest.raises(ConflictError, match="exists already"):
        backups.make(source, path)
    assert path.read_bytes() == b"somebody's"


def test_the_configuration_goes_into_sealed_backups_only(source: Node, tmp_path: Path) -> None:
    """C-13, A-24: nothing that a backup alone would give away."""
    with pytest.raises(UsageError, match="sealed only"):
        backups.make(source, tmp_path / "b.tsbak", settings=b"sealed text")
    made = backups.make(
        source, tmp_path / "b.tsbak", SealTo(passphrase=PASSPHRASE), settings=b"sealed text"
    )
    assert made.manifest.has_settings


def test_keys_of_another_moment_do_not_go_into_a_backup(source: Node, tmp_path: Path) -> None:
    """findings M4: a ring that comes back different from the one that was asked for is refused."""
    keys, backup_id = BackupKeys(source.kms_store, source.assets, source.identity), new_id()
    raw = source.kms_store.current()[1]
    wanted = WrapRequest(kms_store.digest(raw), ())
    assert keys.wrap(backup_id, wanted, SealTo()).sealed == b""
    rmk_id, public = source.kms_store.status().rmk_id, source.identity.key().identity.public.hex()
    with pytest.raises(ConflictError, match="keys were changed"):
        keys.seal(SealRequest(backup_id, rmk_id, "0" * 64, "00" * 32))
    with pytest.raises(ConflictError, match="keys were changed"):
        keys.wrap(backup_id, replace(wanted, asset_keys=(new_id(),)), SealTo())
    source.meks.rotate(ACTOR)
    with pytest.raises(ConflictError, match="keys were changed"):
        keys.wrap(backup_id, wanted, SealTo())
    with pytest.raises(ConflictError, match="keys were changed"):
        keys.seal(SealRequest(backup_id, rmk_id, "0" * 64, public))


def test_a_rotation_between_keys_and_seal_begins_the_keys_anew(
    source: Node, tmp_path: Path
) -> None:
    """The store in the backup, its seal and its manifest are of one RMK."""
    rotated: list[str] = []

    class Rotating(BackupKeys):
        @override
        def seal(self, wanted: SealRequest) -> Seal:
            if not rotated:
                rotated.append(source.meks.rotate(ACTOR).store.rmk_id)
            return super().seal(wanted)

    request = BackupRequest(tmp_path / "b.tsbak", ACTOR)
    service = node_backups.backups(
        source, Rotating(source.kms_store, source.assets, source.identity)
    )
    made = service.make(request, backups.silent)
    assert [made.manifest.rmk_id] == rotated
    assert backups.restore(source, made.path).missing == {}
