"""Standard input and output as streams: whole reads, and writes in order only."""

import os

from strongroom.errors import StorageError
from strongroom.filestore.blockfile import storage_errors


class PipeSource:
    """A descriptor to read from its present place on."""

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def read_into(self, target: memoryview) -> int:
        """Fill the buffer; less only at the end."""
        done = 0
        with storage_errors("cannot read the input"):
            while done < len(target):
                count = os.readv(self._fd, [target[done:]])
                if count == 0:
                    break
                done += count
        return done


class PipeSink:
    """A descriptor to write to, front to back."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._position = 0

    def write_at(self, offset: int, data: memoryview) -> None:
        """Write the whole buffer; it must follow what was written before.

        Raises:
            BrokenPipeError: Whoever read it went away.
        """
        if offset != self._position:
            raise StorageError(f"a pipe cannot go from {self._position} to {offset}")
        done = 0
        try:
            while done < len(data):
                done += os.write(self._fd, data[done:])
        except BrokenPipeError:
            raise
        except OSError as error:
            with storage_errors("cannot write the output"):
                raise error from None
        self._position += len(data)
