"""Translates errors of disks and SQLite databases into errors of ours, with the same sentence and hint for all callers.

SQLite often hides the cause: a full disk, a read-only file system and missing descriptors look alike. This module asks
the system for the cause. It writes nothing but a probe file, which it removes.
"""

import errno
import os
from contextlib import suppress
from pathlib import Path
from typing import Final

from strongroom.errors import StorageError

NO_ROOM: Final = frozenset({errno.ENOSPC, errno.EDQUOT})
"""The error numbers of a full disk and of a used-up quota."""
NO_DESCRIPTOR: Final = frozenset({errno.EMFILE, errno.ENFILE})
"""The error numbers for the limit of open files, of the process and of the system."""
FREE_SPACE: Final = "free some space and try again"
"""The hint for a full disk, which damages nothing that is stored."""

_SHORT: Final = (
    "too many files are open in this process: raise its limit (ulimit -n), or try again later"
)
_HINTS: Final = {
    **dict.fromkeys(NO_ROOM, FREE_SPACE),
    errno.EMFILE: _SHORT,
    errno.ENFILE: "too many files are open in this system: try again later",
    errno.EFBIG: "neither the file system nor the limit of a file's size (ulimit -f) may be below what is written",
    errno.EROFS: "mount the file system for writing",
    errno.EACCES: "check owner and mode of the path",
    errno.EPERM: "check owner and mode of the path",
    errno.ENOENT: "check the path: it, or a folder on the way to it, is not there",
    errno.ENOTDIR: "check the path: what should be a folder on the way to it is none",
    errno.EISDIR: "name a file; that is a folder",
    errno.ELOOP: "check the path: links on the way to it lead in a circle",
    errno.ENAMETOOLONG: "choose a shorter name",
    errno.EIO: "check the disk and the system's log",
    errno.ENOLCK: "a data directory needs a file system with locks: put it on one of this machine",
}
_PLAIN: Final = NO_ROOM | NO_DESCRIPTOR | {errno.EFBIG, errno.EROFS, errno.EIO, errno.ENOLCK}
"""Error numbers that have the same meaning and hint for every call."""
_OTHERWISE: Final = (
    "check free space, quota and permissions of the disk, then run the command again"
)
_PROBE: Final = ".room.tmp"
_PROBE_BYTES: Final = 65536
"""The length of the probe, about as much as a small transaction writes."""
_WRITE_LOCK_BYTE: Final = 120
"""Where SQLite's writer locks the `-shm` file (its file format, "WAL-Index Lock Bytes")."""


def reason(error: OSError) -> str:
    """The system's message for an error, as it is written after a colon."""
    words = error.strerror or str(error)
    return words[:1].lower() + words[1:] if words else type(error).__name__


def hint_for(error: OSError, otherwise: str = "") -> str:
    """The hint for an error of the system.

    Args:
        error: The error of the system.
        otherwise: The caller's hint. For some errors another hint takes its place, since no caller can know better: no
            space, no descriptors, a disk that fails or is mounted for reading only.
    """
    number = error.errno or 0
    if otherwise and number not in _PLAIN:
        return otherwise
    return _HINTS.get(number, _OTHERWISE)


def problem(
    what: str, error: OSError | StorageError, otherwise: str = "", *, always: str = ""
) -> StorageError:
    """The error of a call that the disk refused; every `StorageError` that quotes the system is made here.

    Args:
        what: The failed action and its object: `cannot write /a/b`.
        error: The error of the system, or an error that this function has made before, whose hint stays.
        otherwise: The hint, unless the system's error has a more important one.
        always: A sentence that follows any hint: what was done, and what was not.
    """
    if isinstance(error, StorageError):
        words, hint = error.message, error.hint or otherwise
    else:
        words, hint = reason(error), hint_for(error, otherwise)
    return StorageError(f"{what}: {words}", hint="; ".join(filter(None, (hint, always))))


#: SQLite's error for a file that is shorter than its header says: the file is damaged, and no disk has failed. Before
#: 3.46, SQLite's error for such a file was SQLITE_CORRUPT.
CUT_SHORT = "SQLITE_IOERR_SHORT_READ"


def database_problem(error: BaseException, what: str, path: Path) -> StorageError | None:
    """The error of an SQLite database whose disk refused, or which another process holds; None for any other error.

    SQLite reports "disk I/O error" where a quota is used up, and where a file of its own cannot grow. In such cases the
    disk is probed.

    Args:
        error: The error that SQLite raised.
        what: Words for the database within a sentence: `the repository`.
        path: The file of the database.
    """
    name = getattr(error, "sqlite_errorname", "")
    name = "SQLITE_CORRUPT" if name == CUT_SHORT else name
    doubtful = name.startswith(("SQLITE_IOERR", "SQLITE_CANTOPEN", "SQLITE_READONLY"))
    if name == "SQLITE_FULL" or (doubtful and is_full(path.parent)):
        return StorageError(f"the disk of {what} is full", hint=FREE_SPACE)
    if doubtful and (known := _what_sqlite_does_not_say(what, path.parent)) is not None:
        return known
    if name.startswith("SQLITE_IOERR"):
        return StorageError(
            f"the disk of {what} failed: {error} ({name})",
            hint="free some space if there is none; else check the disk and the system's log",
        )
    if name.startswith(("SQLITE_CANTOPEN", "SQLITE_READONLY")):
        # if SQLite cannot create its -wal or -shm file, it opens the database for reading only and reports no cause
        return StorageError(
            f"{what} cannot be opened for writing: {error} ({name})",
            hint=f"free some space if there is none; else check owner and mode of {path}",
        )
    if name.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
        return StorageError(
            f"{what} is locked by {lock_holder(path) or 'another process'}", hint="try again"
        )
    return None


def _what_sqlite_does_not_say(what: str, folder: Path) -> StorageError | None:
    """The error for a cause that the system knows and SQLite does not report; None if there is no such cause."""
    if is_read_only(folder):
        return StorageError(
            f"the file system of {what} is mounted for reading only", hint=_HINTS[errno.EROFS]
        )
    if is_short_of_files():
        return StorageError(f"too many files are open: {what} cannot be opened", hint=_SHORT)
    return None


def is_short_of_files() -> bool:
    """Whether no file can be opened because all descriptors are in use, a cause that SQLite does not report."""
    try:
        os.close(os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC))
    except OSError as error:
        return error.errno in NO_DESCRIPTOR
    return False


def tells_of_descriptors(error: BaseException) -> bool:
    """Whether an error, or one of its causes at any depth, is that of too many open files."""
    at: BaseException | None = error
    while at is not None:
        if isinstance(at, OSError) and at.errno in NO_DESCRIPTOR:
            return True
        if isinstance(at, StorageError) and at.hint == _SHORT:
            return True
        at = at.__cause__
    return False


def is_read_only(folder: Path) -> bool:
    """Whether the file system of a folder is mounted for reading only, a cause that SQLite does not report."""
    with suppress(OSError):
        return bool(os.statvfs(folder).f_flag & os.ST_RDONLY)
    return False


def is_full(folder: Path) -> bool:
    """Whether a folder has no room left; found out by writing a probe, since no other call takes quotas into account."""
    probe = folder / _PROBE
    try:
        try:
            handle = os.open(probe, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            try:
                written = os.write(handle, bytes(_PROBE_BYTES))
                os.fsync(handle)
            finally:
                os.close(handle)
        finally:
            probe.unlink(missing_ok=True)
    except OSError as error:
        return error.errno in NO_ROOM
    return written < _PROBE_BYTES


def lock_holder(database: Path) -> str:
    """The process that holds the write lock of an SQLite database, in words; empty if it cannot be found.

    The kernel's list of locks is read. Opening the file to ask for its lock would release all locks that this process
    holds on it: in POSIX, closing any descriptor of a file does that.
    """
    with suppress(OSError, ValueError):
        found = database.with_name(f"{database.name}-shm").stat()
        device = f"{os.major(found.st_dev):02x}:{os.minor(found.st_dev):02x}:{found.st_ino}"
        for line in Path("/proc/locks").read_text("ascii").splitlines():
            words = line.split()
            if "->" in words or len(words) < 8 or words[5] != device or words[3] != "WRITE":
                continue
            first, last = int(words[6]), _WRITE_LOCK_BYTE if words[7] == "EOF" else int(words[7])
            if first <= _WRITE_LOCK_BYTE <= last and int(words[4]) != os.getpid():
                return described(int(words[4]))
    return ""


def described(pid: int) -> str:
    """A process in words: its number, its program, and whether it is stopped."""
    words = f"process {pid}"
    with suppress(OSError):
        command = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        # only the name of the program or module: the arguments may hold anything, even a secret
        named = command[2] if command[1:2] == [b"-m"] else command[1] if len(command) > 2 else b""
        if named.startswith(b"-"):
            named = b""  # an option of the interpreter, not a name
        name = os.fsdecode(os.path.basename(named or command[0]))  # noqa: PTH119 bytes
        words += f" ({name[:60]})" if name.isprintable() and name else ""
    return f"{words}, which is stopped" if state_of(pid) == "stopped" else words


def state_of(pid: int) -> str:
    """`running`, `stopped` (by SIGSTOP or a debugger), or `gone`."""
    try:
        letter = (
            Path(f"/proc/{pid}/stat").read_text("utf-8", "replace").rpartition(")")[2].split()[0]
        )
    except (OSError, IndexError):
        return "gone"
    return {"T": "stopped", "t": "stopped", "Z": "gone", "X": "gone"}.get(letter, "running")
