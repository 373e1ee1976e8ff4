"""What is done where a file system lacks something: on a real one, the refusal put before a call (findings K9)."""

import errno
import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from strongroom.errors import ConflictError, StorageError, UsageError
from strongroom.filestore.blockfile import NewFile
from strongroom.system import durable, filesystems

Refuse = Callable[[str, int], None]


@pytest.fixture
def refuse(monkeypatch: pytest.MonkeyPatch) -> Refuse:
    """Lets a call of `os` or `fcntl` fail from now on."""

    def put(name: str, number: int) -> None:
        def fail(*_: object, **__: object) -> None:
            raise OSError(number, os.strerror(number))

        monkeypatch.setattr(name, fail)

    return put


def _write(path: Path, data: bytes, *, replace: bool = False) -> None:
    with NewFile(path, replace=replace, expected_bytes=len(data)) as file:
        file.write_at(0, data)
        file.commit()


def _names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("number", [errno.EPERM, errno.EOPNOTSUPP, errno.ENOENT, errno.EXDEV])
@pytest.mark.parametrize("old", [None, b"old"])
@pytest.mark.parametrize("noreplace", [True, False])
def test_a_file_appears_whole_without_links(
    tmp_path: Path, refuse: Refuse, number: int, old: bytes | None, *, noreplace: bool
) -> None:
    refuse("os.link", number)
    if not noreplace:
        refuse("strongroom.system.filesystems._rename_without_replacing", errno.EINVAL)
    path, data = tmp_path / "out", os.urandom(300_000)
    if old is not None:
        path.write_bytes(old)
        with pytest.raises(ConflictError):
            _write(path, data)
        assert path.read_bytes() == old
    _write(path, data, replace=old is not None)
    assert path.read_bytes() == data
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert _names(tmp_path) == ["out"]


@pytest.mark.parametrize("noreplace", [True, False])
def test_nobody_is_replaced_who_came_meanwhile(
    tmp_path: Path, refuse: Refuse, *, noreplace: bool
) -> None:
    refuse("os.link", errno.EPERM)
    if not noreplace:
        refuse("strongroom.system.filesystems._rename_without_replacing", errno.ENOSYS)
    path = tmp_path / "out"
    with NewFile(path) as file:
        file.write_at(0, b"ours")
        path.write_bytes(b"theirs")
        with pytest.raises(ConflictError):
            file.commit()
    assert path.read_bytes() == b"theirs"
    assert _names(tmp_path) == ["out"]


def test_a_reserved_name_is_given_back(tmp_path: Path, refuse: Refuse) -> None:
    refuse("os.link", errno.EPERM)
    refuse("strongroom.system.filesystems._rename_without_replacing", errno.EINVAL)
    refuse("os.rename", errno.EIO)
    with pytest.raises(StorageError):
        _write(tmp_path / "out", b"data")
    assert _names(tmp_path) == []


def test_a_disk_that_fails_at_a_rename_is_not_taken_for_a_lack(
    tmp_path: Path, refuse: Refuse
) -> None:
    refuse("os.link", errno.EIO)
    with pytest.raises(StorageError):
        _write(tmp_path / "out", b"data")
    refuse("strongroom.system.filesystems._rename_without_replacing", errno.EIO)
    refuse("os.link", errno.EPERM)
    with pytest.raises(StorageError):
        _write(tmp_path / "out", b"data")
    assert _names(tmp_path) == []


def test_what_is_no_file_is_not_replaced_if_it_came_meanwhile(tmp_path: Path) -> None:
    """Findings K8."""
    path = tmp_path / "out"
    with NewFile(path, replace=True) as file:
        file.write_at(0, b"data")
        os.mkfifo(path)
        with pytest.raises(UsageError, match="not a regular file"):
            file.commit()
    assert stat.S_ISFIFO(path.lstat().st_mode)
    assert _names(tmp_path) == ["out"]


def test_a_leftover_of_which_nobody_can_tell_is_left_alone(tmp_path: Path, refuse: Refuse) -> None:
    """Without locks the living are not told from the dead."""
    refuse("os.link", errno.EPERM)
    refuse("fcntl.flock", errno.ENOLCK)
    path = tmp_path / "out"
    first = NewFile(path)
    first._open_hidden()
    hidden = _names(tmp_path)
    _write(path, b"data")
    assert path.read_bytes() == b"data"
    assert _names(tmp_path) == sorted([*hidden, "out"])
    first.abort()


@pytest.mark.parametrize("number", [errno.EINVAL, errno.EOPNOTSUPP, errno.ENOSYS])
def test_a_file_system_without_sync(tmp_path: Path, refuse: Refuse, number: int) -> None:
    refuse("os.fsync", number)
    _write(tmp_path / "out", b"data")
    durable.write_file(tmp_path / "other", b"data")
    assert _names(tmp_path) == ["other", "out"]


def test_a_folder_that_cannot_be_synced_is_told_from_a_file_that_is_not_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sync = os.fsync

    def fail(handle: int) -> None:
        if stat.S_ISDIR(os.fstat(handle).st_mode):
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        sync(handle)

    monkeypatch.setattr("os.fsync", fail)
    for write in (_write, durable.write_file):
        path = tmp_path / write.__name__
        with pytest.raises(StorageError, match="was written, but"):
            write(path, b"data")
        assert path.read_bytes() == b"data"
    with pytest.raises(StorageError, match="cannot sync the folder"):
        durable.sync_folder(tmp_path)


def test_modes_that_cannot_be_set(tmp_path: Path, refuse: Refuse) -> None:
    """What the file has from the start is enough, unless others could use it."""
    refuse("os.fchmod", errno.EPERM)
    _write(tmp_path / "out", b"data")
    durable.write_file(tmp_path / "other", b"data")
    path = tmp_path / "loose"
    path.touch(mode=0o644)
    with path.open() as file, pytest.raises(PermissionError, match="others could use them"):
        filesystems.give_access(file.fileno(), 0o600, None)
    refuse("os.fchmod", errno.EIO)
    with path.open() as file, pytest.raises(OSError, match="Input/output"):
        filesystems.give_access(file.fileno(), 0o600, None)


@pytest.mark.parametrize("length", [240, 241, 255])
@pytest.mark.parametrize("letter", ["n", "ü", "売"])
def test_a_name_of_any_length_that_there_is(tmp_path: Path, length: int, letter: str) -> None:
    """Findings K9: bytes, not letters."""
    name = letter * (length // len(letter.encode()))
    path = tmp_path / name
    durable.write_file(path, b"old")
    durable.write_file(path, b"new")
    assert path.read_bytes() == b"new"
    _write(path, b"newer", replace=True)
    assert _names(tmp_path) == [name]
    assert durable.temp_path(path) != durable.temp_path(path.with_name(f"{name[:-1]}x"))


def test_a_name_that_is_too_long_is_refused_before_the_work(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="name too long"):
        NewFile(tmp_path / ("n" * 256))


def test_locks(tmp_path: Path, refuse: Refuse) -> None:
    with (tmp_path / "file").open("w") as file:
        assert filesystems.lock(file.fileno())
        refuse("fcntl.flock", errno.ENOLCK)
        assert not filesystems.lock(file.fileno())
        refuse("fcntl.flock", errno.EIO)
        with pytest.raises(OSError, match="Input/output"):
            filesystems.lock(file.fileno())
