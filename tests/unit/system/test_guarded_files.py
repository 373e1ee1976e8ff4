"""Owner and mode of files that guard keys (C-10, K-06)."""

import os
import stat
from pathlib import Path

import pytest

from strongroom.errors import KeystoreError
from strongroom.system import guarded_files, os_users


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "key"
    path.write_bytes(b"contents")
    path.chmod(0o600)
    return path


@pytest.mark.parametrize("mode", [0o400, 0o600, 0o640, 0o440])
def test_a_guarded_file_is_read(path: Path, mode: int) -> None:
    path.chmod(mode)
    assert guarded_files.read(path, 100) == b"contents"


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
        guarded_files.read(path, 100)
    assert f"mode {mode:04o}" in caught.value.message
    assert f"'{chmod} {path}'" in caught.value.hint


def test_a_missing_file_is_told_apart(path: Path) -> None:
    with pytest.raises(guarded_files.MissingFileError, match="is missing"):
        guarded_files.read(path.with_name("other"), 100)


def test_a_link_is_refused(path: Path) -> None:
    link = path.with_name("link")
    link.symlink_to(path)
    with pytest.raises(KeystoreError, match="cannot be opened"):
        guarded_files.read(link, 100)


def test_a_pipe_is_refused_and_not_waited_for(path: Path) -> None:
    pipe = path.with_name("pipe")
    os.mkfifo(pipe, 0o600)
    with pytest.raises(KeystoreError, match="not an ordinary file"):
        guarded_files.read(pipe, 100)


def test_a_file_over_the_limit_is_refused(path: Path) -> None:
    with pytest.raises(KeystoreError, match="has 8 bytes, more than 7"):
        guarded_files.read(path, 7)


STRANGER = 3_999_999_999
ME = 1000


def owners(monkeypatch: pytest.MonkeyPatch, path: Path, *, owner: int, me: int) -> None:
    """Whose the file is, and who opens it. Only root could make it so; any user can be told that it is."""
    real_fstat = os.fstat

    def fstat(handle: int) -> os.stat_result:
        status = real_fstat(handle)
        if not os.path.samestat(status, path.stat()):
            return status
        return os.stat_result((*status[: stat.ST_UID], owner, *status[stat.ST_UID + 1 :]))

    monkeypatch.setattr(os, "fstat", fstat)
    monkeypatch.setattr(os, "geteuid", lambda: me)


@pytest.mark.parametrize(("owner", "me"), [(STRANGER, 0), (STRANGER, ME), (0, ME), (ME, 0)])
def test_a_file_of_another_user_is_refused(
    path: Path, monkeypatch: pytest.MonkeyPatch, owner: int, me: int
) -> None:
    """C-10: root's file in a user's node, and a user's in root's, were accepted."""
    owners(monkeypatch, path, owner=owner, me=me)
    with pytest.raises(KeystoreError) as caught:
        guarded_files.read(path, 100)
    assert f"{path} belongs to the user {os_users.user_name(owner)}," in caught.value.message
    assert f"'chown {os_users.user_name(me)} {path}'" in caught.value.hint


@pytest.mark.parametrize("me", [0, ME])
def test_a_file_that_its_group_may_read_is_its_owner_s(
    path: Path, monkeypatch: pytest.MonkeyPatch, me: int
) -> None:
    """C-10: what `init` by root makes for the group `strongroom`."""
    path.chmod(0o640)
    owners(monkeypatch, path, owner=me, me=me)
    assert guarded_files.read(path, 100) == b"contents"
