"""Keeps files of the local file store while a backup copies them: hard links in a hidden folder of the store.

A file that is deleted or replaced meanwhile stays readable by its pin; its bytes are never copied for that. One holder
at a time, who holds a lock elsewhere; what a dead one left goes with the next `clear`.
"""

import os
import shutil
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import BinaryIO

from strongroom import durable
from strongroom.errors import StorageError
from strongroom.filestore.blockfile import OpenedFile, storage_errors

FOLDER = ".pins"
"""In the file store's folder: hidden, so that the store does not list it."""


class Pins:
    """Pins of one file store.

    Args:
        path_of: Where the file of a key lies; refuses what is no key.
        folder: Of the pins, on the file system of the store.
    """

    def __init__(self, path_of: Callable[[str], Path], folder: Path) -> None:
        self._path_of, self._folder = path_of, folder

    def prepare(self) -> None:
        """Remove what a dead holder left, and make the folder."""
        self.clear()
        durable.make_folder(self._folder)

    def take(self, keys: Iterable[str]) -> list[str]:
        """Pin files; returns the keys of those that are not there any more.

        Raises:
            StorageError: The file system refuses hard links.
        """
        missing = []
        for key in keys:
            try:
                os.link(self._path_of(key), self._path(key), follow_symlinks=False)
            except FileNotFoundError:
                missing.append(key)
            except FileExistsError:
                continue
            except OSError as error:
                raise StorageError(
                    f"the file {key} cannot be pinned: {error.strerror}",
                    hint="a backup needs a file system with hard links below the data directory",
                ) from error
        return missing

    def open(self, key: str) -> OpenedFile:
        """Open a pinned file."""
        return OpenedFile(self._path(key), follow=False)

    def spool(self) -> BinaryIO:
        """A nameless file for what is written first and read back later; gone with its closing."""
        with storage_errors("cannot write beside the extracts"):
            spooled: BinaryIO = tempfile.TemporaryFile(dir=self._folder)  # noqa: SIM115 the caller closes it
            return spooled

    def clear(self) -> None:
        """Let go of everything."""
        with storage_errors(f"cannot remove {self._folder}"):
            if self._folder.exists():
                shutil.rmtree(self._folder)

    def _path(self, key: str) -> Path:
        return self._folder / key.replace("/", "+")  # which no key has in it
