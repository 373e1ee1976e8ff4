"""The file store in a directory of this machine."""

import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from strongroom import durable
from strongroom.durable import Access
from strongroom.errors import StorageError, UsageError
from strongroom.filestore.base import FileStat
from strongroom.filestore.blockfile import (
    LockedPage,
    NewFile,
    OpenedFile,
    remove_leftovers,
    storage_errors,
)

# a first character that is no dot keeps out "..", hidden files, and so every temporary name
_KEY = re.compile(r"[a-z0-9][a-z0-9._-]{0,99}(/[a-z0-9][a-z0-9._-]{0,99}){0,4}")


class LocalFileStore:
    """Files below one folder; a key is a relative path of safe names.

    Args:
        root: The folder; made when the first file is.
        access: Modes and group of what is made.
    """

    def __init__(self, root: Path, access: Access = durable.PRIVATE) -> None:
        self._root, self._access = root, access

    def put(self, key: str, *, expected_bytes: int = 0) -> NewFile:
        """Begin a new file."""
        path = self.path(key)
        if not path.parent.is_dir():
            durable.make_folder(path.parent, self._access)
        return NewFile(path, access=self._access, expected_bytes=expected_bytes)

    def open(self, key: str) -> OpenedFile:
        """Open a file.

        Raises:
            StorageError: There is something else under its name: a link, a folder, a pipe.
        """
        path = self.path(key)
        try:
            return OpenedFile(path, follow=False)
        except UsageError as error:
            raise StorageError(error.message) from error

    def delete(self, key: str) -> None:
        """Remove a file; one that is not there is no error."""
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
        """What is known of a file."""
        path = self.path(key)
        with storage_errors(f"cannot read {path}"):
            return FileStat(path.stat().st_size)

    @contextmanager
    def replace_header(self, key: str) -> Iterator[LockedPage]:
        """Lock a file for a rewrap of its header page."""
        with LockedPage(self.path(key)) as page:
            yield page

    def path(self, key: str) -> Path:
        """Where a key's file lies.

        Raises:
            UsageError: It is no key.
        """
        if not _KEY.fullmatch(key):
            raise UsageError(f"not a storage key: {key!r}")
        return self._root / key

    def remove_leftovers(self) -> Sequence[str]:
        """At start-up: remove hidden files that dead processes left."""
        folders = [Path(folder) for folder, _, _ in os.walk(self._root)]
        return [name for folder in folders for name in remove_leftovers(folder)]
