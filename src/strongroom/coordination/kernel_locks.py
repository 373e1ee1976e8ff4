"""Locks of the kernel (`flock`) on files of one folder, which it takes from a process when that dies and never before."""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from strongroom.errors import ConflictError
from strongroom.system import disk

_POLL_S = 0.02
_HOLDER_BYTES = 200
_COUNT_BYTES = 20
_FILE_MODE = 0o600


class KernelLocks:
    """Named locks, each of which one process of this machine holds at a time.

    A lock's file is never removed: a process that waits for the old file and one that creates a new file would both get
    "the" lock.
    """

    def __init__(self, folder: Path, holder: str) -> None:
        """Take the folder; it must exist before the first lock.

        Args:
            folder: Folder of the lock files.
            holder: Words for the holder of our locks, shown to whoever waits for one.
        """
        self._folder = folder
        self._holder = holder

    @contextmanager
    def hold(self, name: str, wait_s: float) -> Iterator[int]:
        """Hold a lock until the end of the block; gives the descriptor of its file.

        Raises:
            ConflictError: Another process still has the lock after `wait_s` seconds.
            StorageError: The file cannot be opened or locked.
        """
        path = self._path(name)
        try:
            handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, _FILE_MODE)
        except OSError as error:
            raise disk.problem(f"the lock file {path} cannot be opened", error) from error
        try:
            self._acquire(handle, name, wait_s)
            # the holder's name is only shown to others, so a full disk must not matter
            with suppress(OSError):
                os.ftruncate(handle, 0)
                os.pwrite(handle, self._holder.encode()[:_HOLDER_BYTES], 0)
            yield handle
        finally:
            os.close(handle)

    def count(self, name: str) -> int:
        """Count the holders of a lock that is held: one more than for the holder before.

        Raises:
            StorageError: The number cannot be read or written.
        """
        path = self._folder / f"{name}.count"
        try:
            counting = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, _FILE_MODE)
            try:
                number = int(os.pread(counting, _COUNT_BYTES, 0) or b"0") + 1
                # not synced: a power cut may take the number back, and ends every holder before
                os.pwrite(counting, b"%0*d" % (_COUNT_BYTES, number), 0)
            finally:
                os.close(counting)
        except OSError as error:
            raise disk.problem(
                f"the holders of {name} cannot be counted in {path}", error
            ) from error
        return number

    def is_held(self, handle: int, name: str) -> bool:
        """Whether the file that is locked is still the lock: somebody may have removed it."""
        try:
            return os.path.samestat(os.fstat(handle), self._path(name).stat())
        except FileNotFoundError:
            return False

    def is_taken(self, name: str) -> bool:
        """Whether some process holds a lock now, this one included.

        Raises:
            StorageError: The file cannot be opened or locked.
        """
        path = self._path(name)
        try:
            handle = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
        except OSError as error:
            raise disk.problem(f"the lock file {path} cannot be opened", error) from error
        try:
            fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        except OSError as error:
            raise disk.problem(f"{name} cannot be locked in {self._folder}", error) from error
        else:
            return False
        finally:
            os.close(handle)

    def _path(self, name: str) -> Path:
        return self._folder / f"{name}.lock"

    def _acquire(self, handle: int, name: str, wait_s: float) -> None:
        deadline = time.monotonic() + wait_s
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                if time.monotonic() >= deadline:
                    raw = os.pread(handle, _HOLDER_BYTES, 0)
                    raise held_by(name, raw.decode(errors="replace")) from error
                time.sleep(_POLL_S)
            except OSError as error:
                raise disk.problem(f"{name} cannot be locked in {self._folder}", error) from error
            else:
                return


def held_by(name: str, holder: str) -> ConflictError:
    """The error of whoever waited for a lock in vain."""
    return ConflictError(
        f"{name} is locked by {holder or 'another process'}",
        hint="wait until it has finished, then try again",
    )
