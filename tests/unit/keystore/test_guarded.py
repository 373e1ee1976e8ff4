"""Owner and mode of files that guard keys (C-10, K-06)."""

import os
import stat
from pathlib import Path
from typing import Any

import pytest

from strongroom.errors import KeystoreError
from strongroom.keystore import guarded


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "key"
    path.write_bytes(b"contents")
    path.chmod(0o600)
    return path


@pytest.mark.parametrize("mode", [0o400, 0o600, 0o640, 0o440])
def test_a_guarded_file_is_read(path: Path, mode: int) -> None:
    path.chmod(mode)
    assert guarded.read(path, 100) == b"contents"


@pytest.mark.parametrize(
    ("mode", "says", "chmod"),
    [
        (0o644, "others on this machine may read it", "chmod 0640"),
        (0o604, "others on this machine may read it", "chmod 0600"),
        (0o660, "its group may change it", "chmod 0640"),
        (0o602, "others on this machine may change it", "chmod 0600"),
        (0o777, "others on this machine may change it", "chmod 0640"),
    ],
)
def test_loose_permissions_are_refused_with_the_mode_and_the_way_out(
    path: Path, mode: int, says: str, chmod: str
) -> None:
    """C-10."""
    path.chmod(mode)
    with pytest.raises(KeystoreError, match=says) as caught:
        guarded.read(path, 100)
    assert f"mode {mode:04o}" in caught.value.message
    assert f"'{chmod} {path}'" in caught.value.hint


def test_a_missing_file_is_told_apart(path: Path) -> None:
    with pytest.raises(guarded.MissingFileError, match="is missing"):
        guarded.read(path.with_name("other"), 100)


def test_a_link_is_refused(path: Path) -> None:
    link = path.with_name("link")
    link.symlink_to(path)
    with pytest.raises(KeystoreError, match="cannot be opened"):
        guarded.read(link, 100)


def test_a_pipe_is_refused_and_not_waited_for(path: Path) -> None:
    pipe = path.with_name("pipe")
    os.mkfifo(pipe, 0o600)
    with pytest.raises(KeystoreError, match="not an ordinary file"):
        guarded.read(pipe, 100)


def test_a_file_over_the_limit_is_refused(path: Path) -> None:
    with pytest.raises(KeystoreError, match="has 8 bytes, more than 7"):
        guarded.read(path, 7)


STRANGER = 65_534
ME = 1000


def owners(monkeypatch: pytest.MonkeyPatch, path: Path, *, folder: int, me: int) -> None:
    """The file is a stranger's. Only root could make it so; any user can be told that it is."""
    real_fstat, real_stat = os.fstat, os.stat

    def owned(status: os.stat_result, uid: int) -> os.stat_result:
        return os.stat_result((*status[: stat.ST_UID], uid, *status[stat.ST_UID + 1 :]))

    def fstat(handle: int) -> os.stat_result:
        status = real_fstat(handle)
        same = os.path.samestat(status, real_stat(path))
        return owned(status, STRANGER) if same else status

    def look(what: Any, **options: Any) -> os.stat_result:
        status = real_stat(what, **options)
        return owned(status, folder) if what == path.parent else status

    monkeypatch.setattr(os, "fstat", fstat)
    monkeypatch.setattr(os, "stat", look)
    monkeypatch.setattr(os, "geteuid", lambda: me)


@pytest.mark.parametrize(("me", "folder"), [(0, 0), (0, ME), (ME, ME), (ME, STRANGER)])
def test_a_file_of_a_stranger_is_refused(
    path: Path, monkeypatch: pytest.MonkeyPatch, me: int, folder: int
) -> None:
    """C-10: whose the folder is counts for root only."""
    owners(monkeypatch, path, folder=folder, me=me)
    with pytest.raises(KeystoreError, match="belongs to user 65534"):
        guarded.read(path, 100)


def test_root_reads_the_files_of_the_folder_s_owner(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    owners(monkeypatch, path, folder=STRANGER, me=0)
    assert guarded.read(path, 100) == b"contents"


def test_a_user_reads_a_file_of_his_own(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    owners(monkeypatch, path, folder=ME, me=STRANGER)
    assert guarded.read(path, 100) == b"contents"
