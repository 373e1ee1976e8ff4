"""Names the outputs of many files that are written into one folder.

An output lies at the same relative place below that folder as its input below the folder that the user named, so that
no file name can lead out of the output folder.
"""

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from strongroom.errors import StrongroomError, UsageError
from strongroom.filestore.blockfile import storage_errors
from strongroom.filestore.trees import FoundFile

SEALED = ".sealed"
"""The suffix that `decrypt --into` removes by default."""
_NO_NAMES = {"", ".", ".."}
_FOLDER_MODE = 0o700


class Pair(NamedTuple):
    """An input and its output.

    Attributes:
        source: Path of the input.
        target: Path of the output.
        size: Bytes of the input, used only to make up batches.
        follow: Whether the input may be a link.
    """

    source: str
    target: str
    size: int = 0
    follow: bool = True


def append_suffix(suffix: str) -> Callable[[str], str]:
    """The rule that names encrypted files: the suffix is appended."""
    _check_suffix(suffix)
    return lambda name: name + suffix


def remove_suffix(suffix: str) -> Callable[[str], str]:
    """The rule that names decrypted files: the suffix is removed, unless it is missing or nothing would be left."""
    _check_suffix(suffix)

    def renamed(name: str) -> str:
        short = name.removesuffix(suffix)
        return name if short in _NO_NAMES else short

    return renamed


def pair(files: Sequence[FoundFile], folder: str, rename: Callable[[str], str]) -> list[Pair]:
    """Name the output of each file.

    Raises:
        UsageError: Two inputs would have the same output.
    """
    sources: dict[str, str] = {}
    pairs = []
    for file in files:
        above, _, name = file.place.rpartition("/")
        target = os.path.join(folder, above, rename(name))  # noqa: PTH118 names stay as given
        if target in sources:
            raise UsageError(
                f"{sources[target]} and {file.path} would both become {target}",
                hint="nothing was done; have them in two folders, or with another --suffix",
            )
        sources[target] = file.path
        pairs.append(Pair(file.path, target, file.size, follow=file.named))
    return pairs


class Folders:
    """The output folder and the folders below it, created when needed, with access for their owner only.

    Args:
        root: The output folder; it may be a link, since the user named it, and no folder below it may be one.
    """

    def __init__(self, root: str) -> None:
        self._root = Path(root)
        self._there: set[Path] = set()

    def check(self) -> None:
        """Refuse a path that cannot be the output folder, before any work.

        Raises:
            UsageError: The path is something else than a folder.
            NotFoundError: The parent folder does not exist.
        """
        if self._root.exists():
            _check_folder(self._root, follow=True)
        else:
            with storage_errors(f"cannot make the folder {self._root}"):
                self._root.parent.stat()

    def provide(self, folder: Path) -> None:
        """Create a folder unless it exists, and refuse one that is reached through a link.

        Somebody who may write to the output folder could otherwise place a link there, and lead plaintext elsewhere.

        Raises:
            UsageError: The path is something else than a folder, or a link.
            StorageError: The folder cannot be created.
        """
        if not folder.is_relative_to(self._root):
            raise UsageError(f"{folder} is not below {self._root}", hint="name another folder")
        wanted = [folder]
        while wanted[-1] != self._root and wanted[-1] not in self._there:
            wanted.append(wanted[-1].parent)
        for path in reversed(wanted):
            if path not in self._there:
                with storage_errors(f"cannot make the folder {path}"):
                    try:
                        path.mkdir(_FOLDER_MODE)
                    except FileExistsError:
                        _check_folder(path, follow=path == self._root)
                self._there.add(path)

    def provide_all(self, places: Sequence[str]) -> list[tuple[str, StrongroomError]]:
        """Create the counterparts of folders that hold no file; returns those that cannot be created, with the error."""
        failed = []
        for place in places:
            try:
                self.provide(self._root / place)
            except StrongroomError as error:
                failed.append((str(self._root / place), error))
        return failed


def _check_suffix(suffix: str) -> None:
    if "/" in suffix or "\0" in suffix:
        raise UsageError(
            f"a suffix is a part of a name: {suffix!r}", hint="for example --suffix .sealed"
        )


def _check_folder(path: Path, *, follow: bool) -> None:
    if not path.is_dir() or (path.is_symlink() and not follow):
        raise UsageError(
            f"{path} is not a folder", hint="outputs are not written through links; name another"
        )
