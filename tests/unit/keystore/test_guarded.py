"""Owner and mode of files that guard keys (C-10, K-06)."""

import os
from pathlib import Path

import pytest

from strongroom.errors import KeystoreError
from strongroom.keystore import guarded

_root_only = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")


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


@_root_only
def test_a_file_of_a_stranger_is_refused(path: Path) -> None:
    os.chown(path, 65_534, -1)
    with pytest.raises(KeystoreError, match="belongs to user 65534"):
        guarded.read(path, 100)


@_root_only
def test_root_reads_the_files_of_the_folder_s_owner(path: Path) -> None:
    os.chown(path, 65_534, -1)
    os.chown(path.parent, 65_534, -1)
    assert guarded.read(path, 100) == b"contents"
