"""Checks of a backup while it is made: that it may be, that it has room, and that it lies on the disk as it was written."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from strongroom.backup import manifest
from strongroom.backup.open_backup import OpenBackup
from strongroom.crypto.age import SealTo
from strongroom.envelope.reader import read_header
from strongroom.errors import ConflictError, FormatError, IntegrityError, StorageError, UsageError
from strongroom.filestore.blockfile import OpenedFile
from strongroom.system.plural import sized
from strongroom.system.positions import Progress, Source

_SPARE_BYTES = 64 << 20
_SEALED = ".sealed"

#: Called at the start of a stage with its name and its size in bytes; returns the progress callback, or None.
Stage = Callable[[str, int], Progress | None]


class Wanted(Protocol):
    """The wishes about a backup that are judged before it is made."""

    @property
    def path(self) -> Path:
        """The new file."""
        ...

    @property
    def description(self) -> str:
        """Free text for people."""
        ...

    @property
    def seal_to(self) -> SealTo:
        """The recipients or the passphrase."""
        ...

    @property
    def settings(self) -> bytes:
        """The sealed configuration."""
        ...


def may_be_made(request: Wanted) -> None:
    """Refuse a backup whose file is there already, or that no reader would take.

    Raises:
        ConflictError: The file exists.
        UsageError: The description is too long, or the configuration is not sealed.
    """
    if request.path.exists() or request.path.is_symlink():
        raise ConflictError(
            f"{request.path} exists already", hint="choose another name, or append the date by -d"
        )
    if len(request.description) > manifest.MAX_DESCRIPTION or not request.description.isprintable():
        raise UsageError(
            f"a description has at most {manifest.MAX_DESCRIPTION} characters on one line"
        )
    if request.settings and request.seal_to.is_empty:
        raise UsageError(
            "the configuration goes into a backup sealed only",
            hint="give --recipient or --passphrase-file",
        )


def has_room(folder: Path, total: int) -> None:
    """Refuse if a folder has no room for so many bytes.

    Raises:
        StorageError: There is no room.
    """
    free = shutil.disk_usage(folder).free
    if free < total + _SPARE_BYTES:
        raise StorageError(
            f"{folder} has {sized(free)} free, the backup needs about {sized(total + _SPARE_BYTES)}",
            hint="free some space, set basefilepath.backuprestore, or --override-disk-space-check",
        )


def is_as_written(path: Path, stage: Stage) -> None:
    """Read a backup from the disk and check it; one that differs is removed.

    Raises:
        StorageError: The file is not what was written.
    """
    try:
        with OpenedFile(path, follow=False) as file:
            # drop the file from the page cache, or the check would read what was written from memory and not from the
            # disk
            file.forget()
            OpenBackup.check(file, stage("verify", file.size))
    except (FormatError, IntegrityError) as error:
        path.unlink()
        raise StorageError(
            f"the backup was not on the disk as it was written: {error.message}",
            hint="check the disk; the file was removed",
        ) from error


def meks_of(key: str, file: Source) -> frozenset[str] | None:
    """The MEKs that an extract's header names; None if it has no readable header."""
    if not key.endswith(_SEALED):
        return None
    try:
        return frozenset(read_header(file).mek_ids)
    except FormatError:
        return None
