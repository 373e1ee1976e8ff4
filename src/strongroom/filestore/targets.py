"""The outputs that a command may write: a new file, a file in the place of another, or a pipe with a reader.

The same rule holds for all commands. Links are not followed; folders, devices and sockets are neither written nor
replaced. A pipe is opened once, written from front to back, and never renamed, sought, synced or chmodded (C-15); bytes
that its reader did not take are an error. `/dev/fd/N`, a descriptor that the shell gave to this process, is such a
pipe.
"""

import fcntl
import os
import select
import stat
import struct
import termios
import time
from collections.abc import Iterator
from contextlib import contextmanager
from enum import Enum
from pathlib import Path

from strongroom.errors import PermissionDeniedError, StorageError, UsageError
from strongroom.filestore.pipes import PipeSink
from strongroom.system import disk

TAKEN_WAIT_S = 60.0
"""Longest wait for a pipe's reader to take the bytes in the pipe: gpg needs seconds before its first read."""
_POLL_MS = 20
_OTHERS = 0o077
_DESCRIPTORS = (Path("/dev/fd"), Path("/proc/self/fd"))


class Kind(Enum):
    """The kinds of output at a path."""

    NEW = "nothing yet"
    FILE = "a regular file"
    PIPE = "a pipe"


def look(path: Path, *, private: bool = False) -> Kind:
    """The kind of output at a path, to be asked before any work for it.

    Args:
        path: The path.
        private: Whether a secret will be written there, so that a pipe that other users can read is refused.

    Raises:
        UsageError: The path is a link, a folder, a device or a socket; or, for a secret, its folder does not exist.
        PermissionDeniedError: The path is a pipe that other users can read.
        StorageError: The file system does not allow the name.
    """
    status = _status(path, follow=_is_descriptor(path))
    if status is not None and stat.S_ISFIFO(status.st_mode):
        _check_pipe(path, status, private=private)
        return Kind.PIPE
    if _is_descriptor(path) or (status is not None and not stat.S_ISREG(status.st_mode)):
        raise _no_target(path)
    if status is not None:
        return Kind.FILE
    if private and not path.parent.is_dir():
        raise UsageError(f"there is no folder {path.parent}", hint="make it, mode 0700")
    return Kind.NEW


@contextmanager
def feeding(path: Path, *, private: bool = False) -> Iterator[PipeSink]:
    """Write a pipe until the end of the block, and wait there until its reader has taken everything.

    Raises:
        PermissionDeniedError: The pipe that was opened can be read by other users.
        StorageError: The reader closed the pipe, or does not read.
    """
    with _failing_as_storage(path):
        # blocks until a reader opens the other end, as gpg may only after a while
        flags = os.O_WRONLY | os.O_CLOEXEC
        handle = os.open(path, flags if _is_descriptor(path) else flags | os.O_NOFOLLOW)
        try:
            status = os.fstat(handle)
            if not stat.S_ISFIFO(status.st_mode):
                raise _no_target(path)
            # checked once more on the open handle: another pipe may have taken the place of the one that `look` saw
            _check_pipe(path, status, private=private)
            sink = PipeSink(handle)
            yield sink
            _await_taken(path, handle, sink.written)
        finally:
            os.close(handle)


# ---- inside ----------------------------------------------------------------------------------------


def _is_descriptor(path: Path) -> bool:
    """Whether a path is a descriptor of this process, as the shell passes for `>(command)`."""
    return path.parent in _DESCRIPTORS and path.name.isdecimal()


def _status(path: Path, *, follow: bool) -> os.stat_result | None:
    try:
        return path.stat(follow_symlinks=follow)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise disk.problem(f"cannot look at {path}", error) from error


def _no_target(path: Path) -> UsageError:
    return UsageError(
        f"{path} is neither a file nor a named pipe",
        hint="links are not followed, devices and folders are not written; name another place",
    )


def _check_pipe(path: Path, status: os.stat_result, *, private: bool) -> None:
    loose = status.st_uid != os.geteuid() or stat.S_IMODE(status.st_mode) & _OTHERS
    if private and loose:
        raise PermissionDeniedError(
            f"the pipe {path} can be read by others: it belongs to user {status.st_uid}"
            f" and has mode {stat.S_IMODE(status.st_mode):04o}",
            hint="make it with 'mkfifo -m 600', as the user who runs this command",
        )


def _await_taken(path: Path, handle: int, count: int) -> None:
    """Wait until the reader has taken everything: a small secret fits into the pipe even if the reader dies unread."""
    gone = select.poll()
    # no events but POLLERR, which is always reported, when the last reader has closed
    gone.register(handle, 0)
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
def _failing_as_storage(path: Path) -> Iterator[None]:
    try:
        yield
    except BrokenPipeError as error:
        raise StorageError(
            f"whoever read {path} went away before it had read everything",
            hint="look at what that program said; what it wrote is not complete",
        ) from error
    except OSError as error:
        raise disk.problem(f"cannot write to {path}", error) from error
