"""Bytes at positions as a file object, for libraries that want one (zipfile, for one)."""

import io
from collections.abc import Callable

from strongroom.system.compat import override
from strongroom.system.positions import Source


class SourceFile(io.RawIOBase):
    """A seekable binary file over a source, for one thread at a time, since the file has a position.

    Args:
        source: The bytes to read.
        let_go: Called once, when the file is closed.
    """

    # Python closes a file even if its `__init__` failed, and since 3.13 it tells of what is missing then
    _let_go: Callable[[], None] = staticmethod(lambda: None)

    def __init__(self, source: Source, let_go: Callable[[], None]) -> None:
        self._source, self._let_go = source, let_go
        self._position = 0

    @property
    def size(self) -> int:
        """The number of bytes in the file."""
        return self._source.size

    @override
    def readable(self) -> bool:
        """Whether the file can be read: always."""
        return True

    @override
    def seekable(self) -> bool:
        """Whether the position can be changed: always."""
        return True

    @override
    def tell(self) -> int:
        """The position at which the next read begins."""
        return self._position

    @override
    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Change the position; returns the new one."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self.size}
        target = base[whence] + offset
        if target < 0:
            raise ValueError(f"negative seek position {target}")
        self._position = target
        return target

    @override
    def read(self, size: int | None = -1) -> bytes:
        """Up to `size` bytes, or all that are left without a size; fewer only at the end."""
        left = max(0, self.size - self._position)
        target = bytearray(left if size is None or size < 0 else min(size, left))
        return bytes(target[: self.readinto(target)])

    @override
    def readall(self) -> bytes:
        """All bytes from the position to the end."""
        return self.read()

    @override
    def readinto(self, target: object) -> int:
        """Fill the buffer; returns the number of bytes, 0 at the end."""
        self._checkClosed()
        view = memoryview(target).cast("B")  # type: ignore[arg-type]  # typeshed names no buffer protocol before 3.12
        count = self._source.read_into_at(self._position, view)
        self._position += count
        return count

    @override
    def close(self) -> None:
        """Close the file, and call `let_go`."""
        if not self.closed:
            super().close()
            self._let_go()
