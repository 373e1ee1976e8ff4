"""Files that hold secrets on their way out and in: a private regular file, or a named pipe that somebody reads.

A pipe is opened once, written or read from front to back, and never renamed, sought, synced or chmodded (C-15, C-16).
No link is followed to a place that is written, but for a descriptor that this process was given (`/dev/fd/N`), and a
pipe of which somebody else could read is refused. What came out of a pipe too short, or was not taken out of it, is
an error that counts the bytes.
"""

import fcntl
import os
import select
import stat
import struct
import sys
import termios
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from strongroom import durable
from strongroom.errors import PermissionDeniedError, StorageError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

TAKEN_WAIT_S = 60.0
"""Longest wait for a pipe's reader to take what is in it: gpg alone needs seconds before its first read."""
_POLL_MS = 20
_CHUNK = 1 << 20
_OTHERS = 0o077
_DESCRIPTORS = (Path("/dev/fd"), Path("/proc/self/fd"))


def check_target(path: Path) -> None:
    """Refuse a place that `write_private` would refuse, before any secret is opened.

    Raises:
        UsageError: It is a link, a folder, a device, or its folder is not there.
        PermissionDeniedError: It is a pipe that others can read.
    """
    if _is_descriptor(path):
        _check_pipe(path, _status(path, follow=True))
        return
    status = _status(path, follow=False)
    if status is None:
        if not path.parent.is_dir():
            raise UsageError(f"there is no folder {path.parent}", hint="make it, mode 0700")
    elif not stat.S_ISREG(status.st_mode):
        _check_pipe(path, status)


def write_private(path: Path, data: bytes) -> None:
    """Write a file of mode 0600, whole or not at all, or feed a pipe that is there until it was read empty.

    Raises:
        UsageError: The place is a link, a folder or a device.
        PermissionDeniedError: It is a pipe that others can read.
        StorageError: It cannot be written, or the pipe's reader went away or does not read.
    """
    check_target(path)
    status = _status(path, follow=_is_descriptor(path))
    if status is not None and stat.S_ISFIFO(status.st_mode):
        _feed(path, data)
    else:
        durable.write_file(path, data)


def read_once(path: Path, limit: int) -> bytes:
    """All bytes of a file, a pipe or standard input (`-`), by one sequential read to its end.

    Raises:
        UsageError: There are more than `limit` bytes.
        StorageError: It cannot be read.
    """
    try:
        if str(path) == "-":
            data = _read_to_end(sys.stdin.buffer, limit)
        else:
            with path.open("rb", buffering=0) as file:
                data = _read_to_end(file, limit)
    except OSError as error:
        raise StorageError(f"cannot read {path}: {error.strerror}") from error
    if len(data) > limit:
        raise UsageError(
            f"more than {limit} bytes read from {path}", hint="such a file is never that long"
        )
    return data


def told(count: int, path: Path) -> str:
    """How much was read, for every error about what was in it (requirements, section 8)."""
    return f"{count} byte{'' if count == 1 else 's'} read from {path}"


# ---- inside ----------------------------------------------------------------------------------------


def _is_descriptor(path: Path) -> bool:
    """Whether it is what the shell hands over as `>(command)`."""
    return path.parent in _DESCRIPTORS and path.name.isdecimal()


def _status(path: Path, *, follow: bool) -> os.stat_result | None:
    try:
        return path.stat(follow_symlinks=follow)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StorageError(f"cannot look at {path}: {error.strerror}") from error


def _check_pipe(path: Path, status: os.stat_result | None) -> None:
    if status is None or not stat.S_ISFIFO(status.st_mode):
        raise UsageError(
            f"{path} is neither a file nor a named pipe",
            hint="links are not followed, devices and folders are not written; name another place",
        )
    if status.st_uid != os.geteuid() or stat.S_IMODE(status.st_mode) & _OTHERS:
        raise PermissionDeniedError(
            f"the pipe {path} can be read by others: it belongs to user {status.st_uid}"
            f" and has mode {stat.S_IMODE(status.st_mode):04o}",
            hint="make it with 'mkfifo -m 600', as the user who runs this command",
        )


def _feed(path: Path, data: bytes) -> None:
    with _failing_as_storage(path):
        # blocks until somebody opens the other end: gpg may be late
        handle = os.open(path, os.O_WRONLY | os.O_CLOEXEC | _no_follow(path))
        try:
            _check_pipe(path, os.fstat(handle))  # not another one than was looked at
            view = memoryview(data)
            while view:
                view = view[os.write(handle, view) :]
            _await_taken(path, handle, len(data))
        finally:
            os.close(handle)


def _no_follow(path: Path) -> int:
    return 0 if _is_descriptor(path) else os.O_NOFOLLOW


def _await_taken(path: Path, handle: int, count: int) -> None:
    """Wait until the reader has taken everything: small data fit into a pipe whose reader dies without a read."""
    gone = select.poll()
    gone.register(handle, 0)  # only what cannot be masked: POLLERR, when the last reader closed
    limit = time.monotonic() + TAKEN_WAIT_S
    while left := _bytes_inside(handle):
        if gone.poll(_POLL_MS) and _bytes_inside(handle):
            raise BrokenPipeError
        if time.monotonic() > limit:
            raise StorageError(
                f"whoever reads {path} has taken {count - left} of {count} bytes",
                hint="look at that program, and run the command again",
            )


def _bytes_inside(handle: int) -> int:
    answer = fcntl.ioctl(handle, termios.FIONREAD, bytes(4))
    (count,) = struct.unpack("i", answer)
    return int(count)


@contextmanager
def _failing_as_storage(path: Path) -> "Iterator[None]":
    try:
        yield
    except BrokenPipeError as error:
        raise StorageError(
            f"whoever read {path} went away before it had read everything",
            hint="look at what that program said; what it wrote is not complete",
        ) from error
    except OSError as error:
        raise StorageError(f"cannot write to {path}: {error.strerror}") from error


def _read_to_end(source: BinaryIO, limit: int) -> bytes:
    parts: list[bytes] = []
    left = limit + 1
    while left and (part := source.read(min(left, _CHUNK))):
        parts.append(part)
        left -= len(part)
    return b"".join(parts)
