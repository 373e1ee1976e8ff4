"""Local files by position: reading, writing new files that appear whole, and changing a locked header page.

A new file has no name until `commit` links it, so that a killed process leaves nothing behind. On a file system without
such files, a hidden name is used, and a lock on the file tells a living writer from the leftover of a dead one. Modes
do not depend on the umask. Every error of the system becomes a `StorageError`.
"""

import errno
import fcntl
import hashlib
import os
import stat
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from enum import Enum
from functools import cache
from pathlib import Path
from typing import Self, TypeVar

from strongroom.errors import ConflictError, NotFoundError, UsageError
from strongroom.system import disk, filesystems
from strongroom.system.durable import PRIVATE, FileModes
from strongroom.system.positions import Span

WRITE_SLICE_BYTES = (
    256 * 1024
)  # larger writes make large folios, which a ballooned host serves ten times slower
SYNC_STEP_BYTES = (
    8 * 1024 * 1024
)  # the disk begins so early that the final fsync finds little left to do
PARTIAL_SUFFIX = ".partial"
_DIGEST_CHARACTERS = 16
_UNNAMED_REFUSED = filesystems.NO_SUCH_CALL | {errno.EISDIR, errno.ENOENT, errno.EPERM}
_ALLOCATE_REFUSED = filesystems.NO_SUCH_CALL | {errno.ENODEV, errno.ESPIPE, errno.EPERM}
_COPIED_AT_ONCE = 64 << 20
_LONGEST_FOLIO_BYTES = (
    4 << 20
)  # pages are cached in folios of up to 2 MiB, which are dropped only if the range has all of one


T = TypeVar("T")


@contextmanager
def storage_errors(what: str) -> Iterator[None]:
    """Turn the operating system's errors into ours, with the cause."""
    try:
        yield
    except FileNotFoundError as error:
        raise NotFoundError(f"{what}: there is no such file or directory") from error
    except OSError as error:
        raise disk.problem(what, error) from error


class _Held:
    """An open file that is closed at the end of a block."""

    _fd: int

    def close(self) -> None:
        """Close the file and release its lock; closing it twice is no error."""
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
        follow: Whether a symbolic link is followed.
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
        """Length of the file in bytes when it was opened."""
        return self._stat.st_size

    @property
    def changed_ns(self) -> int:
        """When the content was last changed, as of the opening."""
        return self._stat.st_mtime_ns

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

    def expect(self, spans: Iterable[Span]) -> None:
        """Do nothing: a disk is near enough."""

    def forget(self) -> None:
        """Ask the system to drop the file from its page cache, so that it is read from the disk.

        This is a hint: only synced pages are dropped, and only where the system has such a call.
        """
        _advise(self._fd, 0, "POSIX_FADV_DONTNEED")

    def check_unchanged(self) -> None:
        """Refuse a file that was written to while we read it, since a part of the read bytes may be old.

        Raises:
            ConflictError: Size or time of change differ from those at the opening.
        """
        now = os.fstat(self._fd)
        if (now.st_size, now.st_mtime_ns) != (self._stat.st_size, self._stat.st_mtime_ns):
            raise ConflictError(f"{self._path} changed while it was read", hint="try again")


class NewFile:
    """A file that appears under its path at `commit`, whole, or never; threads may share it.

    Args:
        path: The final path.
        file_modes: Permission bits and group.
        expected_bytes: The expected length, to allocate it at once; 0 if unknown.
        durable: Whether `commit` syncs, and the kernel is asked to begin writing before that.
        replace: Whether an existing file is replaced; otherwise it is a `ConflictError`.
    """

    def __init__(
        self,
        path: Path,
        *,
        file_modes: FileModes = PRIVATE,
        expected_bytes: int = 0,
        durable: bool = True,
        replace: bool = False,
    ) -> None:
        self._path, self._durable, self._replace = path, durable, replace
        self._file_modes = file_modes
        self._temporary: str | None = None
        self._end = self._fresh_bytes = self._fresh_from = 0
        self._lock = threading.Lock()
        with storage_errors(f"cannot write {path}"):
            self._folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            self._fd = -1
            try:
                self._check_name()
                self._fd = self._open()
                filesystems.give_access(self._fd, file_modes.file_mode, file_modes.group)
                self._allocated = self._allocate(expected_bytes)
            except BaseException:
                self.abort()
                raise

    def write_at(self, offset: int, data: bytes | memoryview) -> None:
        """Write the whole buffer, in slices cut at multiples of 256 KiB of the file.

        One thread after the other: the file system lets one in at a time, and whoever else comes would spin.
        """
        view, position = memoryview(data), 0
        with self._lock, storage_errors(f"cannot write {self._path}"):
            while position < len(view):
                at = offset + position
                room = WRITE_SLICE_BYTES - at % WRITE_SLICE_BYTES
                position += os.pwrite(self._fd, view[position : position + room], at)
            fresh = self._note(offset, len(view))
        if fresh:
            _begin_write_back(self._fd, *fresh)

    def _note(self, offset: int, count: int) -> tuple[int, int] | None:
        """Remember what was written; gives the range to write back, once there is enough of it."""
        self._end = max(self._end, offset + count)
        self._fresh_from = min(self._fresh_from, offset)
        self._fresh_bytes += count
        if not self._durable or self._fresh_bytes < SYNC_STEP_BYTES:
            return None
        start, self._fresh_from, self._fresh_bytes = self._fresh_from, self._end, 0
        return start, self._end - start

    def commit(self) -> None:
        """Make the file visible; with `durable`, it is durable when the call returns.

        Raises:
            ConflictError: A file of this name exists already.
            StorageError: The disk refused; the file is not visible.
        """
        try:
            with storage_errors(f"cannot write {self._path}"):
                if self._end != self._allocated:
                    os.ftruncate(self._fd, self._end)
                if self._durable:
                    filesystems.sync(self._fd)
                self._appear()
            if self._durable:
                with storage_errors(f"{self._path} was written, but its folder was not synced"):
                    filesystems.sync(self._folder)
        finally:
            self.abort()

    def abort(self) -> None:
        """Remove what was written; harmless after `commit`."""
        temporary, self._temporary = self._temporary, None
        if temporary is not None:
            # a hidden file that stays is removed by `remove_leftovers` at the next start
            with suppress(OSError):
                os.unlink(temporary, dir_fd=self._folder)
        # forgotten first: Ctrl-C between a close and its note would let the next `abort` close it a second time
        handles, self._fd, self._folder = (self._fd, self._folder), -1, -1
        for fd in handles:
            if fd >= 0:
                os.close(fd)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.abort()

    def _check_name(self) -> None:
        """Refuse a name that `commit` would refuse, before hours of writing.

        Raises:
            ConflictError: A file of this name exists already.
            UsageError: The name belongs to something else than a file, which is never replaced.
            OSError: The file system does not allow the name.
        """
        try:
            found = os.stat(self._path.name, dir_fd=self._folder, follow_symlinks=False)
        except FileNotFoundError:
            return
        if not self._replace:
            raise ConflictError(f"{self._path} exists already")
        if not stat.S_ISREG(found.st_mode):
            raise UsageError(
                f"{self._path} is not a regular file: it is not replaced", hint="name another place"
            )

    def _open(self) -> int:
        """A file without a name, or else one with a hidden name under a lock."""
        flags = os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC
        try:
            return os.open(".", flags, PRIVATE.file_mode, dir_fd=self._folder)
        except OSError as error:
            if error.errno not in _UNNAMED_REFUSED:
                raise
        return self._open_hidden()

    def _open_hidden(self) -> int:
        flags = os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC
        fd = self._take_hidden(
            lambda name: os.open(name, flags, PRIVATE.file_mode, dir_fd=self._folder)
        )
        # held until this process ends: it tells a living writer's file from a leftover
        filesystems.lock(fd)
        return fd

    def _allocate(self, expected_bytes: int) -> int:
        """Have room for it, unless one write is all of it: that finds out by itself whether there is room."""
        if expected_bytes > WRITE_SLICE_BYTES:
            try:
                os.posix_fallocate(self._fd, 0, expected_bytes)
            except OSError as error:
                if error.errno not in _ALLOCATE_REFUSED:
                    raise
            else:
                return expected_bytes
        return 0

    def _appear(self) -> None:
        if self._replace:
            self._check_name()
            self._become_hidden()
            assert self._temporary is not None  # noqa: S101 tells the type checker
            os.rename(
                self._temporary, self._path.name, src_dir_fd=self._folder, dst_dir_fd=self._folder
            )
            self._temporary = None
            return
        try:
            self._appear_as_new()
        except FileExistsError as error:
            raise ConflictError(f"{self._path} exists already") from error

    def _appear_as_new(self) -> None:
        try:
            self._link(self._path.name)
        except FileExistsError:
            raise
        except OSError as error:
            if not filesystems.has_no_links(error):
                raise
            self._become_hidden()
            assert self._temporary is not None  # noqa: S101 tells the type checker
            filesystems.rename_new(self._folder, self._temporary, self._path.name)
            self._temporary = None

    def _become_hidden(self) -> None:
        """Give the file a hidden name, so that a rename can put it in the place of an existing file."""
        if self._temporary is not None:
            return
        filesystems.lock(self._fd)
        try:
            self._take_hidden(self._link)
        except OSError as error:
            if not filesystems.has_no_links(error):
                raise
            self._copy_to_hidden()

    def _copy_to_hidden(self) -> None:
        """Copy the bytes into a file with a hidden name: without hard links, a nameless file can never get a name."""
        unnamed, self._fd = self._fd, -1
        try:
            self._fd = self._open_hidden()
            filesystems.give_access(self._fd, self._file_modes.file_mode, self._file_modes.group)
            done = 0
            while count := os.sendfile(self._fd, unnamed, done, _COPIED_AT_ONCE):
                done += count
            if self._durable:
                filesystems.sync(self._fd)
        finally:
            os.close(unnamed)

    def _link(self, name: str) -> None:
        source = self._temporary
        if source is None:
            # with dst_dir_fd Python calls linkat, the only call that can follow this link to the nameless file
            os.link(
                f"/proc/self/fd/{self._fd}", name, dst_dir_fd=self._folder, follow_symlinks=True
            )
        else:
            os.link(source, name, src_dir_fd=self._folder, dst_dir_fd=self._folder)

    def _hidden_name(self) -> str:
        """A hidden name that depends on the path only, so that the next writer of the path finds a dead one's leftover."""
        digest = hashlib.sha256(os.fsencode(self._path.name)).hexdigest()
        return f".{digest[:_DIGEST_CHARACTERS]}{PARTIAL_SUFFIX}"

    def _take_hidden(self, take: Callable[[str], T]) -> T:
        """Take a hidden name, removing the file of a dead process under that name, but never that of a living one."""
        name = self._hidden_name()
        try:
            taken = take(name)
        except FileExistsError:
            match _end_if_dead(self._path.with_name(name)):
                case _Fate.ALIVE:
                    message = f"{self._path} is being written by another process"
                    raise ConflictError(message) from None
                # a file system without locks: the file may be a living writer's, so it stays
                case _Fate.UNKNOWN:
                    name = name.replace(PARTIAL_SUFFIX, f"-{os.urandom(4).hex()}{PARTIAL_SUFFIX}")
                case _Fate.REMOVED:
                    pass
            taken = take(name)
        self._temporary = name
        return taken


class LockedHeader(_Held):
    """The header of a file, under the file's exclusive lock until closed."""

    def __init__(self, path: Path) -> None:
        self._path = path
        with storage_errors(f"cannot rewrap {path}"):
            self._fd = _lock(path)
        # nothing behind the header is wanted: no reading ahead, from the disk, of what no rewrap looks at
        _advise(self._fd, 0, "POSIX_FADV_RANDOM")

    def read(self, count: int) -> bytes:
        """The first bytes of the file."""
        with storage_errors(f"cannot read {self._path}"):
            return os.pread(self._fd, count, 0)

    def read_back(self, count: int) -> bytes:
        """The first bytes as the disk has them: the cached pages are dropped, if they were synced (findings X17)."""
        _advise(self._fd, _LONGEST_FOLIO_BYTES, "POSIX_FADV_DONTNEED")
        return self.read(count)

    def write_at(self, offset: int, data: bytes) -> None:
        """Overwrite a part, in a single call."""
        with storage_errors(f"cannot write {self._path}"):
            if os.pwrite(self._fd, data, offset) != len(data):
                raise OSError(errno.EIO, "short write")

    def sync(self) -> None:
        """Make what was written durable."""
        with storage_errors(f"cannot write {self._path}"):
            os.fdatasync(self._fd)

    def sync_all(self) -> None:
        """Make everything written to this file system durable, by one call for a whole batch."""
        with storage_errors(f"cannot write {self._path}"):
            _sync_file_system(self._fd)

    @property
    def device(self) -> int:
        """Number of the file system."""
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
    return [path.name for path in hidden if _end_if_dead(path) is _Fate.REMOVED]


class _Fate(Enum):
    """The outcome of trying to remove the file of a hidden name."""

    REMOVED = "its writer is dead"
    ALIVE = "its writer lives"
    UNKNOWN = "nobody can tell"


def _end_if_dead(path: Path) -> _Fate:
    try:
        with path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # refused while its writer lives
            path.unlink()
    except BlockingIOError:
        return _Fate.ALIVE
    except FileNotFoundError:
        return _Fate.REMOVED
    except OSError:
        return _Fate.UNKNOWN
    return _Fate.REMOVED


def _advise(fd: int, count: int, advice: str) -> None:
    """Tell the system what we do with the first bytes of a file, 0 for all of it; a hint that not every system takes."""
    if hasattr(os, "posix_fadvise"):
        with suppress(OSError):
            os.posix_fadvise(fd, 0, count, getattr(os, advice))


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
        os.close(fd)  # the file was replaced while we waited for its lock: lock the new one


def _begin_write_back(fd: int, start: int, count: int) -> None:
    """Let the kernel start writing dirty pages; a hint, so nothing is lost where it does not exist."""
    call = _sync_file_range()
    if call is not None:
        import ctypes

        write_now = 2  # SYNC_FILE_RANGE_WRITE
        call(fd, ctypes.c_int64(start), ctypes.c_int64(count), ctypes.c_uint(write_now))


@cache
def _sync_file_range() -> "Callable[..., int] | None":
    import ctypes

    return getattr(ctypes.CDLL(None), "sync_file_range", None)


def _sync_file_system(fd: int) -> None:
    import ctypes

    call = getattr(ctypes.CDLL(None, use_errno=True), "syncfs", None)
    if call is None:
        os.sync()
    elif call(fd) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
