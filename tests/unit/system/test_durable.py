"""Atomic files and folder modes."""

import os
import stat
from pathlib import Path

import pytest

from strongroom.errors import StorageError
from strongroom.system import durable


def _mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_file_gets_its_mode_whatever_the_umask(tmp_path: Path) -> None:
    """C-10."""
    old = os.umask(0o077)
    try:
        durable.write_file(tmp_path / "f", b"x", durable.FileModes(0o750, 0o640))
    finally:
        os.umask(old)
    assert _mode(tmp_path / "f") == 0o640


def test_a_file_and_a_folder_get_their_group(tmp_path: Path) -> None:
    """C-10."""
    group = max([os.getegid(), *os.getgroups()])
    file_modes = durable.shared_with(group)
    durable.make_folder(tmp_path / "a" / "b", file_modes)
    durable.write_file(tmp_path / "a" / "b" / "f", b"x", file_modes)
    assert (tmp_path / "a" / "b" / "f").stat().st_gid == group
    assert (_mode(tmp_path / "a"), _mode(tmp_path / "a" / "b")) == (0o750, 0o750)


def test_replacing_leaves_no_temp_file_and_takes_over_a_stale_one(tmp_path: Path) -> None:
    path = tmp_path / "f"
    durable.temp_path(path).write_bytes(b"left by a killed process")
    durable.write_file(path, b"one")
    durable.write_file(path, b"two")
    assert path.read_bytes() == b"two"
    assert list(tmp_path.iterdir()) == [path]


def test_a_failed_write_leaves_the_old_contents(tmp_path: Path) -> None:
    path = tmp_path / "f"
    durable.write_file(path, b"old")
    durable.temp_path(path).mkdir()
    with pytest.raises(StorageError, match="cannot write"):
        durable.write_file(path, b"new")
    assert path.read_bytes() == b"old"


def test_a_folder_below_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"")
    with pytest.raises(StorageError, match="cannot create the folder"):
        durable.make_folder(tmp_path / "f" / "g")


def test_an_existing_folder_keeps_its_mode(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir(mode=0o711)
    durable.make_folder(tmp_path / "a" / "b")
    assert _mode(tmp_path / "a") == 0o711
    assert _mode(tmp_path / "a" / "b") == 0o700


def test_syncing_a_missing_folder_is_a_storage_error(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="cannot sync"):
        durable.sync_folder(tmp_path / "missing")
