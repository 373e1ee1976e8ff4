"""Standard input and output, and other pipes, as streams: reads that fill the buffer, and writes in order."""

import errno
import os
import select

from strongroom.errors import StorageError
from strongroom.filestore.blockfile import storage_errors


class PipeSource:
    """A descriptor to read from, from its present position on."""

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def read_into(self, target: memoryview) -> int:
        """Fill the buffer; less only at the end."""
        done = 0
        with storage_errors("cannot read the input"):
            while done < len(target):
                try:
                    count = os.readv(self._fd, [target[done:]])
                except BlockingIOError:
                    _await(self._fd, select.POLLIN)
                    continue
                if count == 0:
                    break
                done += count
        return done


class PipeSink:
    """A descriptor to write to, front to back."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._position = 0

    @property
    def written(self) -> int:
        """Bytes written so far."""
        return self._position

    def write_at(self, offset: int, data: bytes | memoryview) -> None:
        """Write the whole buffer; it must follow what was written before.

        Raises:
            BrokenPipeError: The reader has closed the pipe.
        """
        if offset != self._position:
            raise StorageError(f"a pipe cannot go from {self._position} to {offset}")
        view = memoryview(data)
        try:
            while view:
                try:
                    view = view[os.write(self._fd, view) :]
                except BlockingIOError:
                    _await(self._fd, select.POLLOUT)
        except BrokenPipeError:
            raise
        except OSError as error:
            with storage_errors("cannot write the output"):
                raise error from None
        self._position += len(data)


def _await(fd: int, event: int) -> None:
    """Wait until a non-blocking pipe has bytes to read, or room to write."""
    poll = select.poll()
    poll.register(fd, event)
    if any(happened & select.POLLERR for _, happened in poll.poll()) and event == select.POLLOUT:
        raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))
