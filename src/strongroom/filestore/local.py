"""The file store in a directory of this machine."""

import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from strongroom.errors import IntegrityError, StorageError, UsageError
from strongroom.filestore.base import (
    BLOCK_BYTES,
    HEADER_BYTES,
    FileStat,
    Step,
    checked_key,
)
from strongroom.filestore.blockfile import (
    LockedHeader,
    NewFile,
    OpenedFile,
    remove_leftovers,
    storage_errors,
)
from strongroom.filestore.pins import FOLDER, Pins
from strongroom.system import durable
from strongroom.system.durable import FileModes

_SECTOR_BYTES = 512  # a sector that no step changes is not written: it may be the other slot


class LocalFileStore:
    """Files below one folder; a key is a relative path of safe names.

    Args:
        root: The folder, created together with the first file.
        file_modes: Modes and group of new files and folders.
    """

    def __init__(self, root: Path, file_modes: FileModes = durable.PRIVATE) -> None:
        self._root, self._file_modes = root, file_modes

    def put(self, key: str, *, expected_bytes: int = 0) -> NewFile:
        """Begin a new file."""
        path = self.path(key)
        if not path.parent.is_dir():
            durable.make_folder(path.parent, self._file_modes)
        return NewFile(path, file_modes=self._file_modes, expected_bytes=expected_bytes)

    def open(self, key: str) -> OpenedFile:
        """Open a file.

        Raises:
            StorageError: The name belongs to something else than a file: a link, a folder, a pipe.
        """
        path = self.path(key)
        try:
            return OpenedFile(path, follow=False)
        except UsageError as error:
            raise StorageError(error.message) from error

    def delete(self, key: str) -> None:
        """Delete a file; a missing file is no error."""
        path = self.path(key)
        with storage_errors(f"cannot delete {path}"), suppress(FileNotFoundError):
            path.unlink()

    def list(self) -> Iterator[str]:
        """Every key."""
        for folder, folders, names in os.walk(self._root):
            folders[:] = [name for name in folders if not name.startswith(".")]
            for name in names:
                if not name.startswith("."):
                    yield (Path(folder) / name).relative_to(self._root).as_posix()

    def stat(self, key: str) -> FileStat:
        """The facts about a file."""
        path = self.path(key)
        with storage_errors(f"cannot read {path}"):
            return FileStat(path.stat().st_size)

    def swap_header(self, key: str, change: Step) -> None:
        """Overwrite one part after the other, each synced and read back, under the lock of the file."""
        with LockedHeader(self.path(key)) as header:
            present = header.read(HEADER_BYTES)
            while (wanted := change(present)) != present:
                start, end = _changed(present, wanted)
                header.write_at(start, wanted[start:end])
                header.sync()
                present = header.read_back(HEADER_BYTES)
                if present != wanted:
                    raise IntegrityError

    def keep(self, keys: Iterable[str] = ()) -> Pins:
        """Keep files by hard links in a hidden folder of the store."""
        pins = self._pins()
        pins.prepare()
        pins.add(keys)
        return pins

    @property
    def is_keeping(self) -> bool:
        """Whether there is a folder of pins."""
        return (self._root / FOLDER).exists()

    def let_go(self) -> None:
        """Remove the folder of pins."""
        self._pins().clear()

    def free_bytes(self) -> int:
        """How many bytes the disk has left for this user."""
        there = next(folder for folder in (self._root, *self._root.parents) if folder.exists())
        with storage_errors(f"cannot ask how much room {there} has"):
            return shutil.disk_usage(there).free

    def _pins(self) -> Pins:
        return Pins(self.path, self._root / FOLDER)

    def path(self, key: str) -> Path:
        """The path of a key's file.

        Raises:
            UsageError: The text is no key.
        """
        return self._root / checked_key(key)

    def place_of(self, key: str) -> str:
        """Where the file of a key lies, for a person."""
        return str(self.path(key))

    def check_unpinned(self) -> None:
        """No backup relies on a disk: who deletes a file of a disk needs its room."""

    def remove_leftovers(self) -> int:
        """Remove hidden files that dead processes left, at a start; returns how many went."""
        return sum(
            len(remove_leftovers(Path(folder)))
            for folder, _, names in os.walk(self._root)
            if any(name.startswith(".") for name in names)
        )

    def sweep(self) -> int:
        """Nothing is left behind by a process that lives."""
        return 0

    def empty(self) -> int:
        """Remove every file; returns how many there were."""
        keys = list(self.list())
        for key in keys:
            self.delete(key)
        self.remove_leftovers()
        return len(keys)


def _changed(present: bytes, wanted: bytes) -> tuple[int, int]:
    """Start and end of the sectors that a step changes: all in one block."""
    starts = range(0, len(present), _SECTOR_BYTES)
    changed = [
        start
        for start in starts
        if present[start : start + _SECTOR_BYTES] != wanted[start : start + _SECTOR_BYTES]
    ]
    if len(wanted) != len(present) or changed[0] // BLOCK_BYTES != changed[-1] // BLOCK_BYTES:
        raise UsageError("a step of a header changes one block, and not the length")
    return changed[0], changed[-1] + _SECTOR_BYTES
