"""Local files by position: whole or not at all, whatever the umask, the disk and the file system say."""

import errno
import fcntl
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from strongroom.errors import ConflictError, NotFoundError, StorageError, UsageError
from strongroom.filestore import blockfile
from strongroom.filestore.blockfile import LockedHeader, NewFile, OpenedFile, remove_leftovers
from strongroom.system.durable import FileModes


@pytest.fixture(params=["unnamed", "hidden name"])
def naming(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """With and without a file system that knows files without a name."""
    if request.param == "hidden name":
        real = os.open

        def refusing(path: str, flags: int, *args: int, **kwargs: int) -> int:
            if flags & os.O_TMPFILE == os.O_TMPFILE:
                raise OSError(errno.EOPNOTSUPP, "not supported")
            return real(path, flags, *args, **kwargs)

        monkeypatch.setattr(os, "open", refusing)
    return str(request.param)


def _hidden(path: Path) -> Path:
    with NewFile(path) as probe:
        return path.with_name(probe._hidden_name())


def _names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.usefixtures("naming")
def test_a_file_appears_whole_with_its_mode(tmp_path: Path) -> None:
    old = os.umask(0o777)
    try:
        with NewFile(tmp_path / "out", file_modes=FileModes(0o750, 0o640, os.getgid())) as file:
            file.write_at(3, b"def")
            file.write_at(0, memoryview(b"abc"))
            assert not (tmp_path / "out").exists()
            file.commit()
    finally:
        os.umask(old)
    assert (tmp_path / "out").read_bytes() == b"abcdef"
    assert (tmp_path / "out").stat().st_mode & 0o7777 == 0o640
    assert _names(tmp_path) == ["out"]


@pytest.mark.usefixtures("naming")
def test_nothing_is_left_without_a_commit(tmp_path: Path) -> None:
    with NewFile(tmp_path / "out") as file:
        file.write_at(0, b"abc")
    assert _names(tmp_path) == []


@pytest.mark.usefixtures("naming")
def test_an_existing_file_is_kept_unless_it_shall_be_replaced(tmp_path: Path) -> None:
    path = tmp_path / "out"
    with NewFile(path) as file:
        file.write_at(0, b"new")
        path.write_bytes(b"old")
        with pytest.raises(ConflictError):
            file.commit()
    with pytest.raises(ConflictError):
        NewFile(path)
    assert path.read_bytes() == b"old"
    with NewFile(path, replace=True) as file:
        file.write_at(0, b"new")
        file.commit()
    assert path.read_bytes() == b"new"
    assert _names(tmp_path) == ["out"]


def test_replace_works_for_a_new_name_too(tmp_path: Path) -> None:
    with NewFile(tmp_path / "out", replace=True, durable=False) as file:
        file.write_at(0, b"new")
        file.commit()
    assert (tmp_path / "out").read_bytes() == b"new"


def test_a_file_shorter_than_expected_is_cut(tmp_path: Path) -> None:
    with NewFile(tmp_path / "out", expected_bytes=10_000) as file:
        file.write_at(0, b"abc")
        file.commit()
    assert (tmp_path / "out").read_bytes() == b"abc"


def test_large_durable_files_are_written_back_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun: list[tuple[int, int]] = []
    real = blockfile._begin_write_back

    def begin(fd: int, start: int, count: int) -> None:
        begun.append((start, count))
        real(fd, start, count)

    monkeypatch.setattr(blockfile, "_begin_write_back", begin)
    data = os.urandom(20 * 1024 * 1024 + 5)
    with NewFile(tmp_path / "out", expected_bytes=len(data)) as file:
        for start in range(0, len(data), 1 << 20):
            file.write_at(start, data[start : start + (1 << 20)])
        file.commit()
    assert begun == [(0, 8 << 20), (8 << 20, 8 << 20)]  # what is new, and no more
    assert (tmp_path / "out").read_bytes() == data


def test_without_sync_file_range_the_final_sync_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ctypes.CDLL", lambda *_, **__: object())
    blockfile._sync_file_range.cache_clear()
    blockfile._begin_write_back(0, 0, 1)
    blockfile._sync_file_range.cache_clear()
    synced: list[bool] = []
    monkeypatch.setattr(os, "sync", lambda: synced.append(True))
    blockfile._sync_file_system(0)
    assert synced == [True]
    assert tmp_path.is_dir()


def test_a_file_system_without_allocation_is_written_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(fd: int, offset: int, size: int) -> None:
        raise OSError(errno.EOPNOTSUPP, "not supported")

    monkeypatch.setattr(os, "posix_fallocate", refuse)
    with NewFile(tmp_path / "out", expected_bytes=1 << 20) as file:
        file.write_at(0, b"abc")
        file.commit()
    assert (tmp_path / "out").read_bytes() == b"abc"


def test_a_disk_too_small_is_told_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(fd: int, offset: int, size: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(StorageError, match="no space left") as caught:
        NewFile(tmp_path / "out", expected_bytes=1 << 20)
    assert "free some space" in caught.value.hint
    assert _names(tmp_path) == []


def test_a_failed_sync_makes_nothing_visible(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(fd: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    with NewFile(tmp_path / "out") as file:
        file.write_at(0, b"abc")
        monkeypatch.setattr(os, "fsync", fail)
        with pytest.raises(StorageError, match="input/output error"):
            file.commit()
    assert _names(tmp_path) == []


def test_a_missing_folder_is_told(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError):
        NewFile(tmp_path / "missing" / "out")


def test_other_refusals_of_the_folder_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.open

    def refusing(path: str, flags: int, *args: int, **kwargs: int) -> int:
        if flags & os.O_TMPFILE == os.O_TMPFILE:
            raise OSError(errno.EROFS, "Read-only file system")
        return real(path, flags, *args, **kwargs)

    monkeypatch.setattr(os, "open", refusing)
    with pytest.raises(StorageError, match="read-only"):
        NewFile(tmp_path / "out")


def test_many_threads_write_one_file(tmp_path: Path) -> None:
    data = os.urandom(1 << 20)
    with NewFile(tmp_path / "out") as file:
        step = len(data) // 8
        threads = [
            threading.Thread(target=file.write_at, args=(start, data[start : start + step]))
            for start in range(0, len(data), step)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        file.commit()
    assert (tmp_path / "out").read_bytes() == data


def test_reads_by_position(tmp_path: Path) -> None:
    path = tmp_path / "in"
    path.write_bytes(b"0123456789")
    with OpenedFile(path) as file:
        target = bytearray(4)
        assert file.size == 10
        assert file.read_into_at(3, memoryview(target)) == 4
        assert bytes(target) == b"3456"
        assert file.read_into_at(8, memoryview(target)) == 2
        file.check_unchanged()
        path.write_bytes(b"0123456789a")
        with pytest.raises(ConflictError, match="changed while it was read"):
            file.check_unchanged()
    file.close()


def test_what_cannot_be_read_by_position_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    for name in ("fifo", "."):
        with pytest.raises(UsageError, match="not a regular file"):
            OpenedFile(tmp_path / name)
    with pytest.raises(NotFoundError):
        OpenedFile(tmp_path / "missing")


def test_a_read_error_is_told(tmp_path: Path) -> None:
    (tmp_path / "in").write_bytes(b"x")
    file = OpenedFile(tmp_path / "in")
    file.close()
    with pytest.raises(StorageError):
        file.read_into_at(0, memoryview(bytearray(1)))


def test_a_page_is_locked_read_and_written_by_sector(tmp_path: Path) -> None:
    path = tmp_path / "in"
    path.write_bytes(bytes(4096) + b"body")
    with LockedHeader(path) as page:
        with path.open("rb") as other, pytest.raises(BlockingIOError):
            fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
        page.write_at(512, b"x" * 512)
        page.sync()
        page.sync_all()
        assert page.read(4096)[512:1024] == b"x" * 512
        assert page.device == path.stat().st_dev
    page.close()
    assert path.read_bytes()[4096:] == b"body"
    with path.open("rb") as other:
        fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_what_is_read_back_comes_from_the_disk(folder_on_a_disk: Path) -> None:
    """review X17: it came from the page cache, which has what was written even where the disk has nothing."""
    path = folder_on_a_disk / "in"
    path.write_bytes(bytes(8192) + b"body" * 4096)
    with path.open("rb") as file:
        os.fsync(file)
    with LockedHeader(path) as header:
        assert header.read(8192) == bytes(8192)
        for offset, data in ((512, b"x" * 512), (4096, b"y" * 4096)):
            header.write_at(offset, data)
            header.sync()
            assert _from_disk(lambda: header.read(8192))[1] < 8192  # the cache answers
            found, count = _from_disk(lambda: header.read_back(8192))
            assert found[offset : offset + len(data)] == data
            assert 8192 <= count <= 64 * 1024  # and nothing is read ahead


@pytest.fixture
def folder_on_a_disk(tmp_path: Path) -> Iterator[Path]:
    """A folder whose files are not in memory alone, as those under /tmp are on many machines: then beside the tests."""
    mounts = [line.split() for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    kinds = {mount[2]: mount[mount.index("-") + 1] for mount in mounts}
    device = tmp_path.stat().st_dev
    if kinds.get(f"{os.major(device)}:{os.minor(device)}") != "tmpfs":
        yield tmp_path
        return
    with TemporaryDirectory(dir=Path(__file__).parent, prefix=".on-a-disk-") as folder:
        yield Path(folder)


def _from_disk(read: Callable[[], bytes]) -> tuple[bytes, int]:
    """What is read, and how many bytes the disk was asked for by it."""

    def count() -> int:
        told = dict(line.split(": ") for line in Path("/proc/self/io").read_text().splitlines())
        return int(told["read_bytes"])

    before = count()
    return read(), count() - before


def test_a_page_replaced_while_its_lock_was_awaited_is_opened_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "in"
    path.write_bytes(b"old" * 2000)
    real, calls = fcntl.flock, []

    def slow(fd: int, operation: int) -> None:
        calls.append(fd)
        if len(calls) == 1:
            path.unlink()
            path.write_bytes(b"new" * 2000)
        real(fd, operation)

    monkeypatch.setattr(fcntl, "flock", slow)
    with LockedHeader(path) as page:
        assert page.read(3) == b"new"
    assert len(calls) == 2


def test_a_page_that_vanished_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "in"
    path.write_bytes(bytes(4096))
    monkeypatch.setattr(fcntl, "flock", lambda *_: path.unlink())
    with pytest.raises(NotFoundError):
        LockedHeader(path)
    with pytest.raises(NotFoundError):
        LockedHeader(tmp_path / "missing")


def test_a_symbolic_link_is_not_followed_to_a_page(tmp_path: Path) -> None:
    (tmp_path / "real").write_bytes(bytes(4096))
    (tmp_path / "link").symlink_to("real")
    with pytest.raises(StorageError):
        LockedHeader(tmp_path / "link")


def test_errors_of_a_page_are_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "in"
    path.write_bytes(bytes(4096))
    page = LockedHeader(path)
    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", lambda *_: 100)
        with pytest.raises(StorageError, match="short write"):
            page.write_at(512, bytes(512))

    def fail(fd: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "fdatasync", fail)
    with pytest.raises(StorageError):
        page.sync()
    page.close()
    with pytest.raises(StorageError):
        page.sync_all()


@pytest.mark.usefixtures("naming")
def test_leftovers_of_dead_processes_go_and_those_of_living_stay(tmp_path: Path) -> None:
    (tmp_path / f".0123456789abcdef{blockfile.PARTIAL_SUFFIX}").write_bytes(b"dead")
    (tmp_path / "extract").write_bytes(b"kept")
    with NewFile(tmp_path / "out") as living:
        living.write_at(0, b"x")
        assert remove_leftovers(tmp_path) == [".0123456789abcdef.partial"]
        living.commit()
    assert _names(tmp_path) == ["extract", "out"]


def test_a_full_disk_in_the_middle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(fd: int, data: bytes, offset: int) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    with NewFile(tmp_path / "out") as file:
        monkeypatch.setattr(os, "pwrite", full)
        with pytest.raises(StorageError, match="no space left"):
            file.write_at(0, b"abc")
    assert _names(tmp_path) == []


def test_a_hidden_file_that_cannot_be_removed_hides_no_other_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.open

    def refusing(path: str, flags: int, *args: int, **kwargs: int) -> int:
        if flags & os.O_TMPFILE == os.O_TMPFILE:
            raise OSError(errno.EOPNOTSUPP, "not supported")
        return real(path, flags, *args, **kwargs)

    def refuse_unlink(*_: object, **__: object) -> None:
        raise PermissionError(errno.EPERM, "not permitted")

    monkeypatch.setattr(os, "open", refusing)
    file = NewFile(tmp_path / "out")
    monkeypatch.setattr(os, "unlink", refuse_unlink)
    file.abort()
    monkeypatch.undo()
    assert remove_leftovers(tmp_path) != []


@pytest.mark.usefixtures("naming")
def test_the_next_writer_of_a_path_removes_what_a_dead_one_left(tmp_path: Path) -> None:
    """Killed between the hidden name and the rename: running the command again clears it up."""
    hidden = _hidden(tmp_path / "out")
    hidden.write_bytes(b"dead")
    (tmp_path / "out").write_bytes(b"old")
    with NewFile(tmp_path / "out", replace=True) as file:
        file.write_at(0, b"new")
        file.commit()
    assert _names(tmp_path) == ["out"]
    assert (tmp_path / "out").read_bytes() == b"new"


@pytest.mark.usefixtures("naming")
def test_two_living_writers_of_a_path_do_not_mix(tmp_path: Path) -> None:
    def write(data: bytes) -> None:
        with NewFile(tmp_path / "out", replace=True) as file:
            file.write_at(0, data)
            file.commit()

    hidden = _hidden(tmp_path / "out")
    with hidden.open("wb") as living:
        fcntl.flock(living, fcntl.LOCK_EX)
        with pytest.raises(ConflictError, match="another process"):
            write(b"second")
    write(b"third")
    assert _names(tmp_path) == ["out"]
    assert (tmp_path / "out").read_bytes() == b"third"
