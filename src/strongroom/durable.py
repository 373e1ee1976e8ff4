"""Files that are either the old or the new: temp file, sync, rename, sync of the folder.

Modes are right from the start. It never decides what is written, and takes no lock: callers that
can meet each other on one path hold one. The temp name is fixed, so that what a killed process left
behind is replaced by the next writer instead of staying for ever.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from strongroom.errors import StorageError

_NO_SPACE_HINT = "check free space, quota and permissions of the disk, then run the command again"


class Access(NamedTuple):
    """Who may use the folders and files of an installation (C-10).

    Attributes:
        folder_mode: Mode of folders.
        file_mode: Mode of files.
        group: Group id that folders and files get; None leaves it as it is.
    """

    folder_mode: int
    file_mode: int
    group: int | None = None


PRIVATE = Access(0o700, 0o600)
"""The user alone: an installation that is not root's, or without the group."""


def shared_with(group: int) -> Access:
    """Root's installation: the group may read (C-10)."""
    return Access(0o750, 0o640, group)


def temp_path(path: Path) -> Path:
    """Where `write_file` prepares the new contents of a path."""
    return path.with_name(f".{path.name}.tmp")


def make_folder(folder: Path, access: Access = PRIVATE) -> None:
    """Create a folder and its missing parents, each with its mode, each synced into its parent.

    Raises:
        StorageError: It cannot be created.
    """
    missing = [folder, *folder.parents]
    missing = missing[: next(n for n, path in enumerate(missing) if path.exists())]
    for path in reversed(missing):
        try:
            with suppress(FileExistsError):
                path.mkdir(mode=0o700)
            if access.group is not None:
                os.chown(path, -1, access.group)
            path.chmod(access.folder_mode)
        except OSError as error:
            raise StorageError(
                f"cannot create the folder {path}: {error.strerror}", hint=_NO_SPACE_HINT
            ) from error
        sync_folder(path.parent)


def write_file(path: Path, data: bytes, access: Access = PRIVATE) -> None:
    """Replace a file's contents atomically; durable when it returns.

    Raises:
        StorageError: It cannot be written; the old contents, if any, are untouched.
    """
    _replace(path, data, access, sync=True)
    sync_folder(path.parent)


def replace_unsynced(path: Path, data: bytes, access: Access = PRIVATE) -> None:
    """Replace a file's contents atomically; a power failure may bring the old ones back.

    For what can be made anew. A killed process leaves the old or the new contents.

    Raises:
        StorageError: It cannot be written; the old contents, if any, are untouched.
    """
    _replace(path, data, access, sync=False)


def _replace(path: Path, data: bytes, access: Access, *, sync: bool) -> None:
    temp = temp_path(path)
    try:
        with suppress(FileNotFoundError):
            temp.unlink()
        _write_new(temp, data, access, sync=sync)
        temp.replace(path)
    except BaseException as error:
        # also when the person at the terminal gives up: what is written here may be secret
        with suppress(OSError):
            temp.unlink(missing_ok=True)
        if not isinstance(error, OSError):
            raise
        raise StorageError(f"cannot write {path}: {error.strerror}", hint=_NO_SPACE_HINT) from error


def _write_new(path: Path, data: bytes, access: Access, *, sync: bool) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    handle = os.open(path, flags, 0o600)
    try:
        if access.group is not None:
            os.fchown(handle, -1, access.group)
        os.fchmod(handle, access.file_mode)
        view = memoryview(data)
        while view:
            view = view[os.write(handle, view) :]
        if sync:
            os.fsync(handle)
    finally:
        os.close(handle)


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable.

    Raises:
        StorageError: The disk refuses.
    """
    try:
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
    except OSError as error:
        raise StorageError(
            f"cannot sync the folder {folder}: {error.strerror}", hint=_NO_SPACE_HINT
        ) from error


@contextmanager
def in_memory(data: bytes) -> Iterator[str]:
    """A path to bytes that lie on no disk, until the end of the block: for libraries that take keys from files only."""
    handle = os.memfd_create("strongroom", os.MFD_CLOEXEC)
    try:
        with os.fdopen(handle, "wb", closefd=False) as file:
            file.write(data)
        yield f"/proc/self/fd/{handle}"
    finally:
        os.close(handle)
