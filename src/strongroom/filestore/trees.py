"""Finds the files on which a command works: the named files, and with `-r` the files in named folders, at any depth.

Links in a folder are not followed, and pipes, devices and the like are not read: both are left out, and reported. A
link that the user named is followed. A folder or file that cannot be read is reported, and the others go on.
"""

import os
import stat
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from strongroom.errors import StrongroomError, UsageError
from strongroom.filestore.blockfile import storage_errors

_HERE = {"", ".", ".."}
"""Last parts of a folder's path that are no name; the folder's content is then placed without it."""


class FoundFile(NamedTuple):
    """A file to work on.

    Attributes:
        path: The path, beginning as the user named it.
        place: The path relative to the parent of the named folder, for the output.
        size: Length in bytes.
        named: Whether the user named the file itself, so that it may be a link.
    """

    path: str
    place: str
    size: int
    named: bool


@dataclass
class FoundFiles:
    """The files that were found, in an order that does not change between runs.

    Attributes:
        files: The files to work on.
        folders: The places of all folders, even empty ones.
        left_out: Paths that are no files, with the reason.
        failed: Paths that could not be examined, with the reason.
    """

    files: list[FoundFile] = field(default_factory=list)
    folders: list[str] = field(default_factory=list)
    left_out: list[tuple[str, str]] = field(default_factory=list)
    failed: list[tuple[str, StrongroomError]] = field(default_factory=list)


def find(names: Sequence[str], *, recursive: bool, apart: str | None = None) -> FoundFiles:
    """Find all files before any work begins, so that no output is taken for an input.

    Args:
        names: Paths of files, and with `recursive` of folders.
        recursive: Whether to find the files in folders, at any depth.
        apart: The output folder; left out if it lies in one of the folders, since outputs would become inputs.
    """
    found, away = FoundFiles(), _identity(apart)
    for name in names:
        try:
            _take(name, found, recursive=recursive, away=away)
        except StrongroomError as error:
            found.failed.append((name, error))
    return found


def _identity(folder: str | None) -> tuple[int, int] | None:
    if folder is None:
        return None
    try:
        status = os.stat(folder)  # noqa: PTH116 names stay as given
    except OSError:
        return None  # the folder does not exist yet, so no input can lie in it
    return status.st_dev, status.st_ino


def _take(name: str, found: FoundFiles, *, recursive: bool, away: tuple[int, int] | None) -> None:
    base = os.path.basename(name.rstrip("/"))  # noqa: PTH119 names stay as given
    try:
        status = os.stat(name)  # noqa: PTH116 names stay as given
    except OSError:  # opening the file will fail too, and report the reason
        found.files.append(FoundFile(name, base, 0, named=True))
        return
    if not stat.S_ISDIR(status.st_mode):
        found.files.append(FoundFile(name, base, status.st_size, named=True))
    elif not recursive:
        raise UsageError(f"{name} is a folder", hint="-r takes the files in it")
    else:
        inside = base in _HERE or (status.st_dev, status.st_ino) == away
        root = name.removesuffix("/.") or "/"
        _walk(root, "" if inside else base, found, away)


def _walk(root: str, place: str, found: FoundFiles, away: tuple[int, int] | None) -> None:
    """Find all files of a folder; iterative, since folders may be nested deeper than function calls can be."""
    open_folders = [(root, place)]
    while open_folders:
        folder, place = open_folders.pop()
        found.folders.append(place)
        inner: list[tuple[str, str]] = []
        for entry in _entries(folder, found):
            try:
                with storage_errors(f"cannot read {entry.path}"):
                    _sort_in(entry, place, found, inner, away)
            except StrongroomError as error:
                found.failed.append((entry.path, error))
        open_folders += reversed(inner)


def _entries(folder: str, found: FoundFiles) -> "list[os.DirEntry[str]]":
    try:
        with storage_errors(f"cannot read {folder}"), os.scandir(folder) as entries:
            return sorted(entries, key=lambda entry: entry.name)
    except StrongroomError as error:
        found.failed.append((folder, error))
        return []


def _sort_in(
    entry: "os.DirEntry[str]",
    folder: str,
    found: FoundFiles,
    inner: list[tuple[str, str]],
    away: tuple[int, int] | None,
) -> None:
    status = entry.stat(follow_symlinks=False)
    place = f"{folder}/{entry.name}" if folder else entry.name
    if stat.S_ISREG(status.st_mode):
        found.files.append(FoundFile(entry.path, place, status.st_size, named=False))
    elif not stat.S_ISDIR(status.st_mode):
        link = stat.S_ISLNK(status.st_mode)
        found.left_out.append((entry.path, "a link" if link else "no regular file"))
    elif (status.st_dev, status.st_ino) == away:
        found.left_out.append((entry.path, "the outputs go there"))
    else:
        inner.append((entry.path, place))
