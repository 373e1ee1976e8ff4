"""Keeps files of the local file store while a backup copies them: hard links in a hidden folder of the store.

A file that is deleted or replaced meanwhile stays readable by its pin, and its bytes need not be copied for that. The
caller holds a lock, so that there is one holder at a time; pins of a dead holder are removed by the next `clear`.
"""

import os
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path

from strongroom.filestore.blockfile import OpenedFile, storage_errors
from strongroom.system import disk, durable

FOLDER = ".pins"
"""Name of the folder of pins in the file store's folder; hidden, so that the store does not list it."""


class Pins:
    """Pins of one file store.

    Args:
        path_of: Returns the path of a key's file, and refuses a text that is no key.
        folder: The folder of the pins, on the file system of the store.
    """

    def __init__(self, path_of: Callable[[str], Path], folder: Path) -> None:
        self._path_of, self._folder = path_of, folder

    def prepare(self) -> None:
        """Remove the pins of a dead holder, and create the folder."""
        self.clear()
        durable.make_folder(self._folder)

    def add(self, keys: Iterable[str]) -> list[str]:
        """Pin files; returns the keys of files that do not exist any more.

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
                raise disk.problem(
                    f"the file {key} cannot be pinned",
                    error,
                    "a backup needs a file system with hard links below the data directory",
                ) from error
        return missing

    def open(self, key: str) -> OpenedFile:
        """Open a pinned file."""
        return OpenedFile(self._path(key), follow=False)

    def clear(self) -> None:
        """Remove all pins and their folder."""
        with storage_errors(f"cannot remove {self._folder}"):
            if self._folder.exists():
                shutil.rmtree(self._folder)

    def _path(self, key: str) -> Path:
        # a key never contains "+", so no two keys share a pin
        return self._folder / key.replace("/", "+")
