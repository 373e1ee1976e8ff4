"""A model of a disk that has written some of what nobody has synced yet, in any order: the states after a power cut.

Files and folders are told apart from their names. The bytes of a file are sure once the file was synced, a name once its
folder was; everything else is pending, and a cut leaves any part of it: a rename as a whole or not, a write by blocks.
That is harder than what a journalling file system does, which keeps the order of names; POSIX promises no more.
"""

import base64
import os
import random
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

_BLOCK = 4096
_EXCHANGE = 2
_TRUNCATES, _CREATES, _ONLY_NEW = os.O_TRUNC, os.O_CREAT, os.O_EXCL
_NAMELESS = os.O_TMPFILE & ~os.O_DIRECTORY
_KEEP_SIZE = 1


class Left(StrEnum):
    """What a power cut leaves of all that is pending."""

    NOTHING = "nothing"
    NAMES = "names"  # and no bytes
    BYTES = "bytes"  # and no names
    SOME = "some"  # drawn for each name and each block


@dataclass(eq=False)
class File:
    """A file: what is on the disk for sure, what a process sees, and the changes between them."""

    sure: bytearray = field(default_factory=bytearray)
    seen: bytearray = field(default_factory=bytearray)
    pending: list[Callable[[bytearray], None]] = field(default_factory=list)
    target: str | None = None  # of a symbolic link
    mode: int = 0o600

    def change(self, *steps: Callable[[bytearray], None]) -> None:
        for step in steps:
            step(self.seen)
            self.pending.append(step)

    def sync(self) -> None:
        self.sure = bytearray(self.seen)
        self.pending.clear()

    def left(self, keeps: Callable[[], bool]) -> bytes:
        """The bytes after a cut that keeps some of the changes."""
        found = bytearray(self.sure)
        for step in self.pending:
            if keeps():
                step(found)
        return bytes(found)


@dataclass(eq=False)
class Folder:
    """A folder: the names in it that are on the disk for sure, and those that a process sees."""

    sure: "dict[str, File | Folder]" = field(default_factory=dict)
    seen: "dict[str, File | Folder]" = field(default_factory=dict)
    mode: int = 0o700


Node = File | Folder


@dataclass(frozen=True)
class Naming:
    """A change of names that happens as a whole."""

    edits: tuple[tuple[Folder, str, Node | None], ...]

    def touches(self, folder: Folder) -> bool:
        return any(one is folder for one, _, _ in self.edits)

    def make(self, names: Callable[[Folder], dict[str, Node]]) -> None:
        for folder, name, node in self.edits:
            if node is None:
                names(folder).pop(name, None)
            else:
                names(folder)[name] = node


class Disk:
    """All below one folder, as it was before a command and as each of the command's calls changes it."""

    def __init__(self, start: Path, place: Path) -> None:
        """Begin.

        Args:
            start: What was there, all of it synced.
            place: The path under which the command sees it.
        """
        self._place = place
        self._root = _loaded(start)
        self._pending: list[Naming] = []
        self._files: dict[int, File] = {}

    def do(self, told: dict[str, Any]) -> None:
        """Make one recorded call; what would fail changes nothing."""
        getattr(self, f"_{told['call']}", self._nothing)(told)

    def seen(self) -> dict[str, bytes | None]:
        """What a process sees: the bytes of each file by its path; None for a folder."""
        return dict(_walked(self._root, lambda one: one.seen, lambda one: bytes(one.seen)))

    def cut(self, left: Left, seed: str) -> dict[str, tuple[int, bytes | str | None]]:
        """What is there after a power cut: mode and bytes, or the target of a link; None for a folder.

        Args:
            left: What the disk had written of all that nobody had synced.
            seed: Draws it, for `SOME`.
        """
        drawn = random.Random(seed)

        def keeps(kind: Left) -> Callable[[], bool]:
            if left is Left.SOME:
                return lambda: drawn.random() < 0.5
            return lambda: left is kind

        names: dict[int, dict[str, Node]] = {}

        def of(folder: Folder) -> dict[str, Node]:
            return names.setdefault(id(folder), dict(folder.sure))

        keep = keeps(Left.NAMES)
        for naming in self._pending:
            if keep():
                naming.make(of)
        keep = keeps(Left.BYTES)
        contents: dict[int, bytes] = {}

        def content(file: File) -> tuple[int, bytes | str | None]:
            if id(file) not in contents:
                contents[id(file)] = file.left(keep)
            return file.mode, file.target if file.target is not None else contents[id(file)]

        return {
            path: found if isinstance(found, tuple) else (0o700, found)
            for path, found in _walked(self._root, of, content)
            if not path.endswith(
                "-shm"
            )  # memory of SQLite, of which a new process believes nothing
        }

    # ---- calls, by their names -------------------------------------------------------------------

    def _openat(self, told: dict[str, Any]) -> None:
        flags, path = told["flags"], told["path"]
        if flags & _NAMELESS:
            return  # known by its inode as soon as something is written
        found = self._find(path)
        if found is None and flags & _CREATES:
            self._name(path, File())
        elif isinstance(found, File) and flags & _TRUNCATES and not flags & _ONLY_NEW:
            found.change(_truncated(0))

    def _write(self, told: dict[str, Any]) -> None:
        file = self._file(told)
        if file is not None:
            at, data = told["at"], base64.b64decode(told["data"])
            file.change(*_written(len(file.seen) if at < 0 else at, data))

    _pwrite64 = _pwritev = _pwritev2 = _write

    def _sendfile(self, told: dict[str, Any]) -> None:
        assert not self._is_below(told["path"]), f"no model of {told}"

    _copy_file_range = _sendfile

    def _ftruncate(self, told: dict[str, Any]) -> None:
        file = self._file(told)
        if file is not None:
            file.change(_truncated(told["size"]))

    def _fallocate(self, told: dict[str, Any]) -> None:
        file = self._file(told)
        if file is not None and not told["flags"] & _KEEP_SIZE:
            file.change(_truncated(max(told["size"], len(file.seen))))

    def _fsync(self, told: dict[str, Any]) -> None:
        found = self._find(told["path"])
        if isinstance(found, Folder):
            for naming in [one for one in self._pending if one.touches(found)]:
                naming.make(lambda folder: folder.sure)
                self._pending.remove(naming)
        elif (file := self._file(told)) is not None:
            file.sync()

    _fdatasync = _fsync

    def _syncfs(self, _told: dict[str, Any]) -> None:
        for naming in self._pending:
            naming.make(lambda folder: folder.sure)
        self._pending.clear()
        for file in {id(one): one for one in self._all_files()}.values():
            file.sync()

    def _all_files(self) -> Iterator[File]:
        yield from self._files.values()
        for _, found in _walked(self._root, lambda one: one.seen, lambda one: one):
            if found is not None:
                yield found

    def _mkdir(self, told: dict[str, Any]) -> None:
        if self._find(told["path"]) is None:
            self._name(told["path"], Folder())

    def _symlink(self, told: dict[str, Any]) -> None:
        if self._find(told["path"]) is None:
            self._name(told["path"], File(target=told["target"]))

    def _link(self, told: dict[str, Any]) -> None:
        file = self._file(told)
        if file is not None and self._find(told["to"]) is None:
            self._name(told["to"], file)

    def _unlink(self, told: dict[str, Any]) -> None:
        found = self._find(told["path"])
        if isinstance(found, File):
            self._name(told["path"], None)
            self._forget(found)

    def _rmdir(self, told: dict[str, Any]) -> None:
        found = self._find(told["path"])
        if isinstance(found, Folder) and not found.seen:
            self._name(told["path"], None)

    def _rename(self, told: dict[str, Any]) -> None:
        source, target = self._find(told["path"]), self._find(told["to"])
        above, into = self._above(told["path"]), self._above(told["to"])
        if source is None or above is None or into is None or source is target:
            return
        if told["flags"] == 1 and target is not None:
            return
        there = target if told["flags"] & _EXCHANGE else None
        self._change(Naming(((*above, there), (*into, source))))
        if there is None and isinstance(target, File):
            self._forget(target)

    def _nothing(self, told: dict[str, Any]) -> None:
        """A call that changes nothing on a disk, or only who may read."""

    # ---- names -----------------------------------------------------------------------------------

    def _is_below(self, path: str) -> bool:
        return path == str(self._place) or path.startswith(f"{self._place}/")

    def _find(self, path: str) -> Node | None:
        if not self._is_below(path):
            return None
        node: Node | None = self._root
        for name in Path(path).relative_to(self._place).parts:
            if not isinstance(node, Folder):
                return None
            node = node.seen.get(name)
        return node

    def _above(self, path: str) -> tuple[Folder, str] | None:
        folder = self._find(str(Path(path).parent))
        return (folder, Path(path).name) if isinstance(folder, Folder) else None

    def _name(self, path: str, node: Node | None) -> None:
        above = self._above(path)
        if above is not None:
            self._change(Naming(((*above, node),)))

    def _change(self, naming: Naming) -> None:
        naming.make(lambda folder: folder.seen)
        self._pending.append(naming)

    def _forget(self, file: File) -> None:
        """Another file may get its inode; under another name of its own it is known again."""
        self._files = {inode: one for inode, one in self._files.items() if one is not file}

    def _file(self, told: dict[str, Any]) -> File | None:
        """The file of a descriptor: by its inode, if it was seen before or has no name."""
        path, inode = told["path"], told.get("inode", 0)
        if not self._is_below(path):
            return None
        if path.endswith(" (deleted)"):
            return self._files.setdefault(inode, File())
        found = self._find(path)
        if not isinstance(found, File):
            return None
        if inode:
            self._files[inode] = found
        return found


def put(state: dict[str, tuple[int, bytes | str | None]], place: Path) -> None:
    """Make a folder what a cut has left."""
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(mode=0o700)
    for path, (mode, found) in state.items():
        target = place / path
        if found is None:
            target.mkdir(mode=0o700)
        elif isinstance(found, str):
            target.symlink_to(found)
        else:
            target.write_bytes(found)
            target.chmod(mode)


def _loaded(start: Path) -> Folder:
    def load(path: Path) -> Node:
        mode = path.lstat().st_mode & 0o7777
        if path.is_symlink():
            return File(target=str(path.readlink()))
        if path.is_dir():
            below = {one.name: load(one) for one in path.iterdir()}
            return Folder(dict(below), dict(below), mode)
        data = path.read_bytes()
        return File(bytearray(data), bytearray(data), mode=mode)

    found = load(start)
    assert isinstance(found, Folder)
    return found


def _walked(
    root: Folder,
    names: Callable[[Folder], dict[str, Node]],
    content: Callable[[File], Any],
) -> Iterator[tuple[str, Any]]:
    """Every path in order, a folder before what is in it."""
    folders = [("", root)]
    while folders:
        above, folder = folders.pop()
        for name, node in sorted(names(folder).items()):
            path = f"{above}{name}"
            if isinstance(node, Folder):
                yield path, None
                folders.append((f"{path}/", node))
            else:
                yield path, content(node)


def _truncated(size: int) -> Callable[[bytearray], None]:
    def step(data: bytearray) -> None:
        del data[size:]
        data.extend(bytes(size - len(data)))

    return step


def _written(at: int, data: bytes) -> Iterator[Callable[[bytearray], None]]:
    """One step for each block of the file."""
    done = 0
    while done < len(data):
        count = min(len(data) - done, _BLOCK - (at + done) % _BLOCK)
        yield _block(at + done, data[done : done + count])
        done += count


def _block(at: int, data: bytes) -> Callable[[bytearray], None]:
    def step(found: bytearray) -> None:
        if len(found) < at:
            found.extend(bytes(at - len(found)))
        found[at : at + len(data)] = data

    return step
