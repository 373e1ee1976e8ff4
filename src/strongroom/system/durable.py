"""Replaces files atomically: temporary file, sync, rename, sync of the folder. A crash leaves the old or the new contents.

Modes are set when a file is created, so that no secret is readable by others even for a moment. No lock is taken here:
callers that may write the same path at the same time hold one. The name of the temporary file is fixed, so that the
leftover of a killed process is replaced by the next writer instead of staying for ever.
"""

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from strongroom.system import disk, filesystems

_LONGEST_NAMED = 240
"""Longest name, in bytes, to which the prefix and suffix of a temporary file can be added: file systems allow 255."""
_DIGEST_CHARACTERS = 16


class FileModes(NamedTuple):
    """Modes and group of the folders and files of an installation (C-10).

    Attributes:
        folder_mode: Mode of folders.
        file_mode: Mode of files.
        group: Group id that folders and files get; None leaves it as it is.
        owner: User id that files get; None leaves it as it is. Only root can give a file away.
    """

    folder_mode: int
    file_mode: int
    group: int | None = None
    owner: int | None = None


PRIVATE = FileModes(0o700, 0o600)
"""Access for the user alone: an installation that is not root's, or without the group."""


def shared_with(group: int) -> FileModes:
    """Access for root and, to read, a group, as in root's installation (C-10)."""
    return FileModes(0o750, 0o640, group)


def temp_path(path: Path) -> Path:
    """The path of the temporary file in which `write_file` prepares the new contents, in the same folder."""
    if len(os.fsencode(path.name)) <= _LONGEST_NAMED:
        return path.with_name(f".{path.name}.tmp")
    digest = hashlib.sha256(os.fsencode(path.name)).hexdigest()
    return path.with_name(f".{digest[:_DIGEST_CHARACTERS]}.tmp")


def make_folder(folder: Path, file_modes: FileModes = PRIVATE) -> None:
    """Create a folder and its missing parents, each with its mode, each synced into its parent.

    Raises:
        StorageError: A folder cannot be created.
    """
    missing = [folder, *folder.parents]
    missing = missing[: next(n for n, path in enumerate(missing) if path.exists())]
    for path in reversed(missing):
        try:
            with suppress(FileExistsError):
                path.mkdir(mode=0o700)
            if file_modes.group is not None:
                os.chown(path, -1, file_modes.group)
            path.chmod(file_modes.folder_mode)
        except OSError as error:
            raise disk.problem(f"cannot create the folder {path}", error) from error
        sync_folder(path.parent)


def write_file(path: Path, data: bytes, file_modes: FileModes = PRIVATE) -> None:
    """Replace a file's contents atomically; durable when it returns.

    Raises:
        StorageError: The file cannot be written, and old contents, if any, are untouched; or the disk does not confirm
            the new name.
    """
    _replace(path, data, file_modes, sync=True)
    try:
        _sync_folder(path.parent)
    except OSError as error:
        what = f"{path} was written, but the folder {path.parent} cannot be synced"
        raise disk.problem(what, error) from error


def replace_unsynced(path: Path, data: bytes, file_modes: FileModes = PRIVATE) -> None:
    """Replace a file's contents atomically; a power failure may bring the old ones back.

    For contents that can be derived again, which saves the syncs. A killed process leaves the old or the new contents.

    Raises:
        StorageError: The file cannot be written; old contents, if any, are untouched.
    """
    _replace(path, data, file_modes, sync=False)


def _replace(path: Path, data: bytes, file_modes: FileModes, *, sync: bool) -> None:
    temp = temp_path(path)
    try:
        with suppress(FileNotFoundError):
            temp.unlink()
        _write_new(temp, data, file_modes, sync=sync)
        temp.replace(path)
    except BaseException as error:
        # BaseException, for Ctrl-C as well: the temporary file may hold a secret, and must not be left behind
        with suppress(OSError):
            temp.unlink(missing_ok=True)
        if not isinstance(error, OSError):
            raise
        raise disk.problem(f"cannot write {path}", error) from error


def _write_new(path: Path, data: bytes, file_modes: FileModes, *, sync: bool) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    handle = os.open(path, flags, 0o600)
    try:
        if file_modes.owner is not None:
            os.fchown(handle, file_modes.owner, -1)
        filesystems.give_access(handle, file_modes.file_mode, file_modes.group)
        view = memoryview(data)
        while view:
            view = view[os.write(handle, view) :]
        if sync:
            filesystems.sync(handle)
    finally:
        os.close(handle)


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable.

    Raises:
        StorageError: The disk refuses.
    """
    try:
        _sync_folder(folder)
    except OSError as error:
        raise disk.problem(f"cannot sync the folder {folder}", error) from error


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        filesystems.sync(handle)
    finally:
        os.close(handle)


@contextmanager
def in_memory(data: bytes) -> Iterator[str]:
    """A path to bytes in memory, valid until the end of the block, for libraries that read keys from files only."""
    handle = os.memfd_create("strongroom", os.MFD_CLOEXEC)
    try:
        with os.fdopen(handle, "wb", closefd=False) as file:
            file.write(data)
        yield f"/proc/self/fd/{handle}"
    finally:
        os.close(handle)
