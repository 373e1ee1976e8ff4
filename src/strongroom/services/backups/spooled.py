"""Spools: files without names, for what goes into an archive and has to have a size before its first byte is written."""

import tempfile
from pathlib import Path
from typing import BinaryIO

from strongroom.filestore.blockfile import storage_errors


def spool(folder: Path) -> BinaryIO:
    """A temporary file without a name, to write to and read back; closing deletes it, as does a crash.

    Raises:
        StorageError: The folder cannot be written.
    """
    with storage_errors(f"cannot write in {folder}"):
        spooled: BinaryIO = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 the caller closes it
        return spooled


def length(file: BinaryIO) -> int:
    """The number of bytes in a spool."""
    return file.seek(0, 2)


class Spooled:
    """A spool as a source."""

    def __init__(self, file: BinaryIO) -> None:
        self._file, self.size = file, length(file)

    def read_into_at(self, offset: int, target: memoryview) -> int:
        """Fill the buffer from this offset on; less only at the end."""
        self._file.seek(offset)
        piece = self._file.read(len(target))
        target[: len(piece)] = piece
        return len(piece)
