"""Local files by position: read; write and appear whole; lock and change a header page.

A new file has no name until `commit` links it, so a killed process leaves nothing behind; where the file system cannot do
that, it has a hidden name, which its lock tells from a dead process's leftover. Modes do not depend on the umask. Every
foreign error becomes a `StorageError`.
"""

import errno
import fcntl
import hashlib
import os
import stat
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Self, TypeVar

from strongroom.durable import PRIVATE, Access
from strongroom.errors import ConflictError, NotFoundError, StorageError, UsageError

WRITE_SLICE_BYTES = (
    256 * 1024
)  # larger writes make large folios, which a ballooned host serves ten times slower
SYNC_STEP_BYTES = (
    8 * 1024 * 1024
)  # the disk begins so early that the final fsync finds little left to do
PARTIAL_SUFFIX = ".partial"
_DIGEST_CHARACTERS = 16
_UNNAMED_REFUSED = {errno.EOPNOTSUPP, errno.EISDIR, errno.ENOENT, errno.EINVAL}
_ALLOCATE_REFUSED = {errno.EOPNOTSUPP, errno.EINVAL, errno.ENODEV, errno.ESPIPE}


T = TypeVar("T")


@contextmanager
def storage_errors(what: str) -> Iterator[None]:
    """Turn the operating system's errors into ours, with the cause."""
    try:
        yield
    except FileNotFoundError as error:
        raise NotFoundError(f"{what}: there is no such file or directory") from error
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        full = error.errno in {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
        hint = "free some space and try again; nothing was left behind" if full else ""
        raise StorageError(f"{what}: {reason}", hint=hint) from error


class _Held:
    """An open file, until it is closed."""

    _fd: int

    def close(self) -> None:
        """Let go of it, and of the lock on it; twice is no error."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class OpenedFile(_Held):
    """A local file for reading; threads may share it.

    Args:
        path: The file.
        follow: Also what a symbolic link of that name points to.
    """

    def __init__(self, path: Path, *, follow: bool = True) -> None:
        self._path = path
        flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK
        with storage_errors(f"cannot read {path}"):
            self._fd = os.open(path, flags if follow else flags | os.O_NOFOLLOW)
            self._stat = os.fstat(self._fd)
        if not stat.S_ISREG(self._stat.st_mode):
            self.close()
            raise UsageError(f"{path} is not a regular file", hint="use '-' to read a stream")

    @property
    def size(self) -> int:
        """Bytes in it when it was opened."""
        return self._stat.st_size

    def read_into_at(self, offset: int, target: memoryview) -> int:
        """Fill the buffer from this offset on; less only at the end."""
        done = 0
        with storage_errors(f"cannot read {self._path}"):
            while done < len(target):
                count = os.preadv(self._fd, [target[done:]], offset + done)
                if count == 0:
                    break
                done += count
        return done

    def forget(self) -> None:
        """Let the system drop what it keeps of the file in memory, so that reading is done by the disk.

        Only what was synced goes, and only where the system has such a call: a hint, whose success nothing may rest on.
        """
        if hasattr(os, "posix_fadvise"):
            with suppress(OSError):
                os.posix_fadvise(self._fd, 0, 0, os.POSIX_FADV_DONTNEED)

    def check_unchanged(self) -> None:
        """Refuse what somebody wrote to while we read.

        Raises:
            ConflictError: Size or time of change moved.
        """
        now = os.fstat(self._fd)
        if (now.st_size, now.st_mtime_ns) != (self._stat.st_size, self._stat.st_mtime_ns):
            raise ConflictError(f"{self._path} changed while it was read", hint="try again")


class NewFile:
    """A file that appears under its path with `commit`, whole, or never; threads may share it.

    Args:
        path: Where it appears.
        access: Its permission bits and group.
        expected_bytes: Allocated at once, if known.
        durable: Synced by `commit`, and written back meanwhile.
        replace: An existing file is replaced; else it is a `ConflictError`.
    """

    def __init__(
        self,
        path: Path,
        *,
        access: Access = PRIVATE,
        expected_bytes: int = 0,
        durable: bool = True,
        replace: bool = False,
    ) -> None:
        self._path, self._durable, self._replace = path, durable, replace
        self._temporary: str | None = None
        self._end = self._unsynced = 0
        self._lock = threading.Lock()
        with storage_errors(f"cannot write {path}"):
            self._folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            self._fd = -1
            try:
                self._fd = self._open()
                if access.group is not None:
                    os.fchown(self._fd, -1, access.group)
                os.fchmod(self._fd, access.file_mode)
                self._allocated = self._allocate(expected_bytes)
            except BaseException:
                self.abort()
                raise

    def write_at(self, offset: int, data: bytes | memoryview) -> None:
        """Write the whole buffer, in slices cut at multiples of 256 KiB of the file."""
        view, position = memoryview(data), 0
        with storage_errors(f"cannot write {self._path}"):
            while position < len(view):
                at = offset + position
                room = WRITE_SLICE_BYTES - at % WRITE_SLICE_BYTES
                position += os.pwrite(self._fd, view[position : position + room], at)
        with self._lock:
            self._end = max(self._end, offset + len(view))
            self._unsynced += len(view)
            begin = self._durable and self._unsynced >= SYNC_STEP_BYTES
            if begin:
                self._unsynced = 0
        if begin:
            _begin_write_back(self._fd)

    def commit(self) -> None:
        """Make it visible; durable when it returns, unless that was not asked for.

        Raises:
            ConflictError: There is a file of this name already.
            StorageError: The disk refused; nothing is visible.
        """
        try:
            with storage_errors(f"cannot write {self._path}"):
                if self._end != self._allocated:
                    os.ftruncate(self._fd, self._end)
                if self._durable:
                    os.fsync(self._fd)
                self._appear()
                if self._durable:
                    os.fsync(self._folder)
        finally:
            self.abort()

    def abort(self) -> None:
        """Remove what was written; harmless after `commit`."""
        temporary, self._temporary = self._temporary, None
        if temporary is not None:
            with suppress(OSError):  # what stays is a leftover, and known as one
                os.unlink(temporary, dir_fd=self._folder)
        for fd in (self._fd, self._folder):
            if fd >= 0:
                os.close(fd)
        self._fd = self._folder = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.abort()

    def _open(self) -> int:
        """A file without a name, or else one with a hidden name under a lock."""
        flags = os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC
        try:
            return os.open(".", flags, PRIVATE.file_mode, dir_fd=self._folder)
        except OSError as error:
            if error.errno not in _UNNAMED_REFUSED:
                raise
        flags = os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC
        name = self._hidden_name()
        fd = self._past_the_dead(
            name, lambda: os.open(name, flags, PRIVATE.file_mode, dir_fd=self._folder)
        )
        self._temporary = name
        fcntl.flock(fd, fcntl.LOCK_EX)  # until we end: the living are told from the dead by it
        return fd

    def _allocate(self, expected_bytes: int) -> int:
        if expected_bytes:
            try:
                os.posix_fallocate(self._fd, 0, expected_bytes)
            except OSError as error:
                if error.errno not in _ALLOCATE_REFUSED:
                    raise
                return 0
        return expected_bytes

    def _appear(self) -> None:
        if self._replace:
            if self._temporary is None:
                name = self._hidden_name()
                fcntl.flock(self._fd, fcntl.LOCK_EX)
                self._past_the_dead(name, lambda: self._link(name))
                self._temporary = name
            os.rename(
                self._temporary, self._path.name, src_dir_fd=self._folder, dst_dir_fd=self._folder
            )
            self._temporary = None
            return
        try:
            self._link(self._path.name)
        except FileExistsError as error:
            raise ConflictError(f"{self._path} exists already") from error

    def _link(self, name: str) -> None:
        source = self._temporary
        if source is None:
            # dst_dir_fd makes Python call linkat, which alone can follow this link to the unnamed file
            os.link(
                f"/proc/self/fd/{self._fd}", name, dst_dir_fd=self._folder, follow_symlinks=True
            )
        else:
            os.link(source, name, src_dir_fd=self._folder, dst_dir_fd=self._folder)

    def _hidden_name(self) -> str:
        """One for each path, so that whoever writes the path next meets what a dead process left."""
        digest = hashlib.sha256(os.fsencode(self._path.name)).hexdigest()
        return f".{digest[:_DIGEST_CHARACTERS]}{PARTIAL_SUFFIX}"

    def _past_the_dead(self, name: str, take: Callable[[], T]) -> T:
        """Take a hidden name; a dead process's file of that name is removed, a living one's not."""
        try:
            return take()
        except FileExistsError:
            pass
        if not _remove_if_dead(self._path.with_name(name)):
            raise ConflictError(f"{self._path} is being written by another process")
        return take()


class LockedPage(_Held):
    """The first page of a file, under the file's exclusive lock until closed."""

    def __init__(self, path: Path) -> None:
        self._path = path
        with storage_errors(f"cannot rewrap {path}"):
            self._fd = _lock(path)

    def read(self, count: int) -> bytes:
        """The first bytes of the file."""
        with storage_errors(f"cannot read {self._path}"):
            return os.pread(self._fd, count, 0)

    def write_sector(self, offset: int, sector: bytes) -> None:
        """Overwrite one sector, in one call."""
        with storage_errors(f"cannot write {self._path}"):
            if os.pwrite(self._fd, sector, offset) != len(sector):
                raise OSError(errno.EIO, "short write")

    def sync(self) -> None:
        """Make the written sectors durable."""
        with storage_errors(f"cannot write {self._path}"):
            os.fdatasync(self._fd)

    def sync_all(self) -> None:
        """Make everything written to this file system durable: one call for a whole batch."""
        with storage_errors(f"cannot write {self._path}"):
            _sync_file_system(self._fd)

    @property
    def device(self) -> int:
        """Which file system it is on."""
        return os.fstat(self._fd).st_dev


def sync_file_system(folder: Path) -> None:
    """Make everything written to a folder's file system durable: one call for a whole batch."""
    with storage_errors(f"cannot write {folder}"):
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            _sync_file_system(handle)
        finally:
            os.close(handle)


def remove_leftovers(folder: Path) -> list[str]:
    """Remove hidden files that dead processes left in a folder; returns their names."""
    hidden = list(folder.glob(f".*{PARTIAL_SUFFIX}"))
    return [path.name for path in hidden if _remove_if_dead(path)]


def _remove_if_dead(path: Path) -> bool:
    with suppress(OSError), path.open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # refused while its writer lives
        path.unlink()
        return True
    return False


def _lock(path: Path) -> int:
    while True:
        fd = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            if os.path.samestat(os.fstat(fd), path.stat()):
                return fd
        except BaseException:
            os.close(fd)
            raise
        os.close(fd)  # replaced while we waited for the lock


def _begin_write_back(fd: int) -> None:
    """Let the kernel start writing dirty pages; a hint, so nothing is lost where it does not exist."""
    import ctypes

    library = ctypes.CDLL(None)
    call = getattr(library, "sync_file_range", None)
    if call is not None:
        write_now = 2  # SYNC_FILE_RANGE_WRITE
        call(fd, ctypes.c_int64(0), ctypes.c_int64(0), ctypes.c_uint(write_now))


def _sync_file_system(fd: int) -> None:
    import ctypes

    call = getattr(ctypes.CDLL(None, use_errno=True), "syncfs", None)
    if call is None:
        os.sync()
    elif call(fd) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
