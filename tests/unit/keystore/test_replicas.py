"""The keystore's replicas on the disk (C-03, C-09, C-10)."""

import fcntl
import os
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from strongroom.crypto import rng
from strongroom.crypto.secret import SecretBytes
from strongroom.errors import ConflictError, KeystoreError, StorageError
from strongroom.keystore import pkcs12
from strongroom.keystore.master_key import Keystore, new_master_key
from strongroom.keystore.replicas import FILE_NAME, KeystoreDirectory, ReplicaCondition
from strongroom.system import durable

_NOW = datetime(2026, 11, 21, 20, 0, 0, tzinfo=UTC)


@pytest.fixture
def directory(tmp_path: Path) -> KeystoreDirectory:
    folders = [tmp_path / name / "keystores" for name in ("one", "two", "three")]
    directory = KeystoreDirectory(folders, tmp_path / "keystore" / "password")
    directory.create(new_master_key(_NOW))
    return directory


def _replicas(directory: KeystoreDirectory) -> list[Path]:
    return [folder / FILE_NAME for folder in directory.folders]


def _contents(directory: KeystoreDirectory) -> set[bytes]:
    return {path.read_bytes() for path in _replicas(directory)}


def _conditions(directory: KeystoreDirectory) -> list[ReplicaCondition]:
    return [state.condition for state in directory.verify()]


def _all_files(directory: KeystoreDirectory) -> list[Path]:
    root = directory.password_file.parent.parent
    return sorted(path for path in root.rglob("*") if path.is_file())


def test_creating_makes_identical_replicas_and_a_password(directory: KeystoreDirectory) -> None:
    """C-03, C-09."""
    assert directory.exists
    assert directory.load().aliases == ("master-key-1",)
    assert len(_contents(directory)) == 1
    assert len(directory.password_file.read_bytes()) == 43
    assert _all_files(directory) == sorted([directory.password_file, *_replicas(directory)])


@pytest.mark.parametrize("file_modes", [durable.PRIVATE, durable.FileModes(0o750, 0o640)])
def test_folders_and_files_have_their_modes(tmp_path: Path, file_modes: durable.FileModes) -> None:
    """C-10."""
    folder = tmp_path / "a" / "keystores"
    directory = KeystoreDirectory([folder], tmp_path / "keystore" / "password", file_modes)
    directory.create(new_master_key(_NOW))
    for path in (folder, folder.parent, directory.password_file.parent):
        assert stat.S_IMODE(path.stat().st_mode) == file_modes.folder_mode
    for path in (folder / FILE_NAME, directory.password_file):
        assert stat.S_IMODE(path.stat().st_mode) == file_modes.file_mode


def test_a_keystore_is_never_replaced(directory: KeystoreDirectory) -> None:
    before = _contents(directory)
    with pytest.raises(ConflictError, match="never replaced"):
        directory.create(new_master_key(_NOW))
    assert _contents(directory) == before


def test_a_password_file_without_a_keystore_is_replaced(directory: KeystoreDirectory) -> None:
    """A killed initialisation may have left one."""
    for path in _replicas(directory):
        path.unlink()
    directory.create(new_master_key(_NOW))
    assert directory.load().aliases == ("master-key-1",)


def test_a_master_key_is_added_to_every_replica_and_removed_again(
    directory: KeystoreDirectory,
) -> None:
    key = rng.new_key()
    later = _NOW + timedelta(seconds=5)
    for _ in range(2):  # twice is harmless
        keystore = directory.add_alias("master-key-2", key, created_at=later)
        assert keystore.newest == "master-key-2"
    assert directory.load().master_key("master-key-2") == key
    assert len(_contents(directory)) == 1
    for _ in range(2):
        assert directory.remove_alias("master-key-1").aliases == ("master-key-2",)
    assert directory.load().aliases == ("master-key-2",)
    assert len(_contents(directory)) == 1


def test_a_replica_that_lags_is_brought_up_by_the_next_change_and_by_replicate(
    directory: KeystoreDirectory,
) -> None:
    old = directory.primary.read_bytes()
    directory.add_alias("master-key-2", rng.new_key(), created_at=_NOW)
    _replicas(directory)[2].write_bytes(old)
    assert _conditions(directory)[2] is ReplicaCondition.DIFFERENT
    directory.replicate()
    assert len(_contents(directory)) == 1


@pytest.mark.parametrize("password", [b"wrong\n", b"wrong"])
def test_a_wrong_password_is_told_with_its_file(
    directory: KeystoreDirectory, password: bytes
) -> None:
    directory.password_file.write_bytes(password)
    with pytest.raises(KeystoreError, match="password does not fit") as caught:
        directory.load()
    assert f"no replica opens with the password in {directory.password_file}" in str(caught.value)
    with pytest.raises(KeystoreError, match="no replica of the keystore opens"):
        directory.repair()


def test_a_newline_after_the_password_is_allowed(directory: KeystoreDirectory) -> None:
    """format/keystore.md §3."""
    directory.password_file.write_bytes(directory.password_file.read_bytes() + b"\n")
    assert directory.load().aliases == ("master-key-1",)


def test_a_missing_password_is_told(directory: KeystoreDirectory) -> None:
    directory.password_file.unlink()
    with pytest.raises(KeystoreError, match=r"password file .* is missing") as caught:
        directory.load()
    assert "backup" in caught.value.hint


def test_a_missing_folder_of_the_password_is_told(directory: KeystoreDirectory) -> None:
    directory.password_file.unlink()
    directory.password_file.parent.rmdir()
    with pytest.raises(KeystoreError, match="cannot be opened"):
        directory.replicate()


@pytest.mark.parametrize("damage", ["changed", "cut", "empty", "missing"])
def test_a_damaged_primary_is_told_and_repaired(directory: KeystoreDirectory, damage: str) -> None:
    data = directory.primary.read_bytes()
    if damage == "missing":
        directory.primary.unlink()
    else:
        bad = {"changed": data[:-1] + bytes([data[-1] ^ 1]), "cut": data[:100], "empty": b""}
        directory.primary.write_bytes(bad[damage])
    with pytest.raises(KeystoreError, match="2 of 3 replicas are intact") as caught:
        directory.load()
    assert str(directory.primary) in caught.value.message
    assert "tsm security keystore repair" in caught.value.hint
    found = ReplicaCondition.MISSING if damage == "missing" else ReplicaCondition.UNUSABLE
    assert _conditions(directory)[0] is found
    assert directory.repair() == [directory.primary]
    assert directory.primary.read_bytes() == data
    assert directory.repair() == []


def test_a_keystore_without_keys_and_without_other_replicas_is_told(
    directory: KeystoreDirectory,
) -> None:
    password = SecretBytes(directory.password_file.read_bytes())
    for path in _replicas(directory):
        path.write_bytes(pkcs12.serialize((), password))
    with pytest.raises(KeystoreError, match="has no master key") as caught:
        directory.load()
    assert "backup" in caught.value.hint


def test_repair_takes_the_replica_with_the_most_keys(directory: KeystoreDirectory) -> None:
    old = directory.primary.read_bytes()
    directory.add_alias("master-key-2", rng.new_key(), created_at=_NOW)
    directory.primary.write_bytes(b"damaged")
    _replicas(directory)[1].write_bytes(old)
    assert directory.repair() == [directory.primary, _replicas(directory)[1]]
    assert directory.load().aliases == ("master-key-1", "master-key-2")


def test_loose_permissions_of_the_primary_name_the_chmod_and_not_the_repair(
    directory: KeystoreDirectory,
) -> None:
    """C-10."""
    directory.primary.chmod(0o644)
    with pytest.raises(KeystoreError, match="mode 0644") as caught:
        directory.load()
    assert "chmod 0640" in caught.value.hint


def test_verify_tells_every_replica(directory: KeystoreDirectory) -> None:
    one, two, three = _replicas(directory)
    one.write_bytes(b"damaged")
    two.unlink()
    three.chmod(0o666)
    states = directory.verify()
    assert [state.path for state in states] == [one, two, three]
    assert [state.condition for state in states] == [
        ReplicaCondition.UNUSABLE,
        ReplicaCondition.MISSING,
        ReplicaCondition.UNUSABLE,
    ]
    assert all(state.detail for state in states)


def test_a_replica_that_cannot_be_written_is_a_storage_error(
    directory: KeystoreDirectory,
) -> None:
    durable.temp_path(_replicas(directory)[1]).mkdir()
    with pytest.raises(StorageError, match="cannot write"):
        directory.add_alias("master-key-2", rng.new_key(), created_at=_NOW)


def test_a_disk_that_gives_back_something_else_is_told(
    directory: KeystoreDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = durable.write_file

    def write_less(path: Path, data: bytes, file_modes: durable.FileModes) -> None:
        write(path, data[:-1], file_modes)

    monkeypatch.setattr(durable, "write_file", write_less)
    with pytest.raises(StorageError, match="reads back as something else"):
        directory.add_alias("master-key-2", rng.new_key(), created_at=_NOW)


def test_what_reads_back_as_no_keystore_is_refused(directory: KeystoreDirectory) -> None:
    with pytest.raises(KeystoreError, match="damaged"):
        directory.spread("other.jks", b"damaged", directory._checker(SecretBytes(b"x")))


def test_the_opened_keystore_shows_no_key(directory: KeystoreDirectory) -> None:
    keystore: Keystore = directory.load()
    assert keystore.master_key("master-key-1").reveal().hex() not in repr(keystore)


def test_a_guard_is_asked_behind_the_lock_of_the_files_and_before_each_change(
    directory: KeystoreDirectory,
) -> None:
    """docs/format/key-changes.md 4.9."""
    before, asked = _contents(directory), list[bool]()

    def check() -> None:
        handle = os.open(directory.password_file.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            asked.append(True)
        finally:
            os.close(handle)
        raise ConflictError("the lock is gone")

    with directory.guarded(check):
        with pytest.raises(ConflictError, match="the lock is gone"):
            directory.add_alias("master-key-2", rng.new_key(), created_at=_NOW)
        # a block within is guarded by its own check, and what comes behind it by this one again
        with directory.guarded(lambda: None), directory.changing():
            pass
        with pytest.raises(ConflictError, match="the lock is gone"), directory.changing():
            raise AssertionError
    assert asked == [True, True]
    assert _contents(directory) == before
    directory.add_alias("master-key-2", rng.new_key(), created_at=_NOW)
