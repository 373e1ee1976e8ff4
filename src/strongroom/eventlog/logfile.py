"""The file of an event log: opened, locked, and read forwards or backwards (format/events.md §2, §3).

A reader of a whole log takes a `Snapshot` under the lock and reads after the lock is released: no writer waits for it.
"""

import fcntl
import hashlib
import io
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, NamedTuple, Self

from strongroom.errors import FormatError
from strongroom.eventlog import chain
from strongroom.system import durable

BLOCK_BYTES = 65_536
"""Holds at least three of the longest lines."""

Advance = Callable[[int], None]
Progress = Callable[[int | None], Advance | None]
"""Called with the number of bytes to read, None if unknown; returns the callback for bytes read, or None."""


class Tail(NamedTuple):
    """The end of a log.

    Attributes:
        head: The last valid line of the log.
        end: Where that line ends in the file.
        size: Where the file ends; the bytes from `end` to here are no valid line.
    """

    head: chain.Head
    end: int
    size: int


class Left(NamedTuple):
    """The end of a log as a writer left it, and the state of the file by which it is known that nobody wrote since."""

    state: tuple[int, ...]
    tail: Tail


class Snapshot:
    """A log as it was in one moment. Later appends do not show, since the file is only ever appended to."""

    def __init__(self, file: BinaryIO, end: int, rest: bytes) -> None:
        self._file, self._rest = file, rest
        self.end = end
        self.status = os.fstat(file.fileno())

    @property
    def is_torn(self) -> bool:
        """Whether bytes stand behind the last valid line."""
        return bool(self._rest)

    @property
    def file(self) -> tuple[int, int]:
        """Device and inode."""
        return self.status.st_dev, self.status.st_ino

    def lines(self, progress: Progress | None = None, *, start: int = 0) -> Iterator[bytes]:
        """All its lines from a place on, without their newlines; bytes at the end that no newline ends are left out."""
        advance = progress(self.end) if progress else None
        self._file.seek(start)
        yield from _lines(self._file, self.end - start, advance)
        yield from _lines(io.BytesIO(self._rest), len(self._rest), None)

    def digest_before(self, end: int) -> str:
        """SHA-256, in hex, of the line that ends at an offset of the file; at offset 0, the `prev` of a first line."""
        for line in lines_backwards(self._file.fileno(), end):
            return hashlib.sha256(line).hexdigest()
        return chain.FIRST_PREV

    def valid_backwards(self) -> Iterator[bytes]:
        """All its lines up to the last valid one, without their newlines, the last one first."""
        yield from lines_backwards(self._file.fileno(), self.end)

    def lines_backwards(self) -> Iterator[bytes]:
        """All its lines without their newlines, the last one first, a torn end included."""
        yield from reversed(list(_lines(io.BytesIO(self._rest), len(self._rest), None)))
        yield from self.valid_backwards()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()


def snapshot(path: Path) -> Snapshot:
    """The log as it is now. The caller holds its lock, unless nobody writes to it.

    Bytes behind the last valid line are read into memory at once: they are the one part of the file that changes, since
    the next writer moves them to a file of their own and writes over them.
    """
    # the file is opened anew: a duplicate of the locked handle would share its lock, and hold it as long as it is open
    file = path.open("rb")
    try:
        size = os.fstat(file.fileno()).st_size
        found = tail(file.fileno())
        end = size if found is None else found.end
        return Snapshot(file, end, os.pread(file.fileno(), size - end, end))
    except BaseException:
        file.close()
        raise


def tail(handle: int) -> Tail | None:
    """The last valid line, looked for in the last 64 KiB; None if those hold no valid line, and the log is not empty.

    A log with nothing but the beginning of its first line counts as empty.
    """
    size = os.fstat(handle).st_size
    start = max(0, size - BLOCK_BYTES)
    block = os.pread(handle, BLOCK_BYTES, start)
    end = block.rfind(b"\n")
    while end >= 0:
        begin = block.rfind(b"\n", 0, end) + 1
        try:
            return Tail(chain.head_of(block[begin:end]), start + end + 1, size)
        except FormatError:
            end = begin - 1
    if start == 0 and b"\n" not in block:
        return Tail(chain.Head(), 0, size)
    return None


def state_of(handle: int) -> tuple[int, ...]:
    """The part of a file's state that changes with every write: which file, how long, and when it was written last."""
    status = os.fstat(handle)
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


def lines_up_to(path: Path, end: int) -> Iterator[bytes]:
    """The lines up to a place in the file, without their newlines."""
    with path.open("rb") as file:
        yield from _lines(file, end, None)


def lines_of(path: Path) -> Iterator[bytes]:
    """The lines of a file, without their newlines."""
    return lines_up_to(path, path.stat().st_size)


def lines_backwards(handle: int, end: int) -> Iterator[bytes]:
    """The lines up to a place in the file, the last one first, without their newlines."""
    if end == 0:
        return
    if os.pread(handle, 1, end - 1) == b"\n":
        end -= 1  # nothing stands behind the last newline
    rest = b""
    while end > 0:
        start = max(0, end - BLOCK_BYTES)
        block = os.pread(handle, end - start, start) + rest
        rest, *whole = block.split(b"\n")
        yield from reversed(whole)
        end = start
        if len(rest) > chain.MAX_LINE_BYTES and end > 0:  # an endless line is not read into memory
            yield rest
            rest = b""
    yield rest


def write_at(handle: int, found: Tail, data: bytes, head: chain.Head) -> Left:
    """Put lines that end with this head behind the last valid one, over what stood there, and sync."""
    view, offset = memoryview(data), found.end
    while view:
        written = os.pwrite(handle, view, offset)
        view, offset = view[written:], offset + written
    if offset < found.size:
        os.ftruncate(handle, offset)
    os.fdatasync(handle)
    return Left(state_of(handle), Tail(head, offset, offset))


def _lines(file: BinaryIO, size: int, advance: Advance | None) -> Iterator[bytes]:
    read = 0
    while size > 0:
        line = file.readline(min(size, chain.MAX_LINE_BYTES + 1))
        if not line:
            return
        size -= len(line)
        read += len(line)
        if advance is not None and read >= BLOCK_BYTES:
            advance(read)
            read = 0
        if line.endswith(b"\n"):
            yield line[:-1]
        elif len(line) > chain.MAX_LINE_BYTES:
            yield line


class LogFile:
    """Opens and locks one log."""

    def __init__(self, path: Path, file_modes: durable.FileModes) -> None:
        self.path = path
        self._file_modes = file_modes

    @contextmanager
    def locked(self) -> Iterator[int]:
        """The log's handle under its exclusive lock; the log is made if there is none."""
        with self._present(self._open, fcntl.LOCK_EX) as handle:
            yield handle

    @contextmanager
    def shared(self) -> Iterator[int]:
        """The log's handle, to read only, while nobody writes.

        Raises:
            FileNotFoundError: There is no log.
        """
        flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW
        with self._present(lambda: os.open(self.path, flags), fcntl.LOCK_SH) as handle:
            yield handle

    def create(self, path: Path) -> int:
        """A file with the mode and the group of a log."""
        flags = os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_CREAT
        handle = os.open(path, flags, 0o600)
        try:
            if self._file_modes.group is not None:
                os.fchown(handle, -1, self._file_modes.group)
            os.fchmod(handle, self._file_modes.file_mode)
        except BaseException:
            os.close(handle)
            raise
        return handle

    @contextmanager
    def _present(self, opened: Callable[[], int], lock: int) -> Iterator[int]:
        while True:
            handle = opened()
            try:
                fcntl.flock(handle, lock)
                if self.is_present(handle):
                    yield handle
                    return
            finally:
                os.close(handle)
            # the log was archived while we waited for the lock: its name belongs to another file now, so open that one

    def is_present(self, handle: int) -> bool:
        """Whether the log's path still leads to this open file."""
        try:
            return os.path.samestat(os.fstat(handle), self.path.stat())
        except FileNotFoundError:
            return False

    def _open(self) -> int:
        try:
            return os.open(self.path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
        except FileNotFoundError:
            durable.make_folder(self.path.parent, self._file_modes)
        handle = self.create(self.path)
        try:
            durable.sync_folder(self.path.parent)
        except BaseException:
            os.close(handle)
            raise
        return handle
