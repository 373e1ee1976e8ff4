"""Gathers what each node of a cluster alone has, for a backup of the whole: event logs, and whether its keystore is right.

A node that cannot be asked keeps nobody from a backup: the backup says what it lacks of which node. A log is verified
as it comes in, by the key that the node itself registered, since a backup of a log that was changed proves nothing.
"""

import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from strongroom.backup.nodes import LOGS, NodeShare, NodesInBackup
from strongroom.errors import FormatError, IntegrityError, StorageError, StrongroomError
from strongroom.eventlog import checkpoint_form, copies, notes
from strongroom.eventlog.notes import Verifier
from strongroom.filestore.blockfile import OpenedFile, storage_errors
from strongroom.joining.node_reports import KeysSeen
from strongroom.joining.registry import NodeState, RegisteredNode
from strongroom.services.backups.own_part import Part
from strongroom.services.keys import log_signing
from strongroom.system.plural import counted
from strongroom.system.positions import Source

FOLDER: Final = ".logs-"
MOST_WORDS: Final = 500
"""Characters of a sentence on a node: another machine has a part in its words."""
_ATTEMPTS: Final = 3
_MOST_NOTE_BYTES: Final = 64 * 1024


@dataclass(frozen=True)
class GatherPorts:
    """The ports of the gathering.

    Attributes:
        nodes: Returns the registry.
        part_of: Returns the part of a node; raises if the node cannot be asked.
        keys: Returns the configuration keys that are in force.
        installation_id: The installation.
        extracts: `shared`, or `disks` if each node has extracts of its own.
        folder: A folder that does not exist as yet, for the copies until they are in the archive.
    """

    nodes: Callable[[], Mapping[str, RegisteredNode]]
    part_of: Callable[[str], Part]
    keys: Callable[[], KeysSeen]
    installation_id: str
    extracts: str
    folder: Path


@dataclass(frozen=True)
class Gathered:
    """The parts that were gathered.

    Attributes:
        said: The list for the backup; None for a single node.
        files: The files by the names of their entries.
    """

    said: NodesInBackup | None = None
    files: Mapping[str, Source] = field(default_factory=dict)

    @property
    def bytes(self) -> int:
        """The size of all files."""
        return sum(one.size for one in self.files.values())

    def missing(self, absent: int) -> tuple[str, ...]:
        """Sentences on what a backup lacks of the nodes.

        Args:
            absent: The number of extracts that are not in this node's file store.
        """
        if self.said is None:
            return ()
        if not (absent and self.said.may_be_elsewhere):
            return self.said.missing
        words = f"{counted(absent, 'extract')} not on the disk of this node, and not in the backup"
        return (*self.said.missing, words)


NOTHING: Final = Gathered()
"""The parts of a single node: all that it has is in the backup anyway."""


@contextmanager
def gathered(ports: GatherPorts) -> Iterator[Gathered]:
    """The parts of all nodes that are not gone, until the end of the block.

    Raises:
        StrongroomError: The registry cannot be read, or this machine has no room for the copies.
    """
    # a killed backup whose process had the same number left one; no other backup runs here
    shutil.rmtree(ports.folder, ignore_errors=True)
    with storage_errors(f"cannot write in {ports.folder.parent}"):
        ports.folder.mkdir(mode=0o700)
    opened = dict[str, OpenedFile]()
    try:
        shares = []
        for one in ports.nodes().values():
            if one.state.is_gone:
                continue
            share, paths = _Gathering(ports, one).share()
            opened.update({name: OpenedFile(path, follow=False) for name, path in paths.items()})
            shares.append(share)
        yield Gathered(NodesInBackup(ports.extracts, tuple(shares)), opened)
    finally:
        for file in opened.values():
            file.close()
        shutil.rmtree(ports.folder, ignore_errors=True)


class _Gathering:
    """The gathering of one node's part."""

    def __init__(self, ports: GatherPorts, node: RegisteredNode) -> None:
        self._ports, self._node = ports, node
        origin = log_signing.origin(ports.installation_id, node.node_id)
        self._verifier = Verifier(origin, node.log_key) if node.log_key else None
        self._full: StorageError | None = None

    def share(self) -> tuple[NodeShare, Mapping[str, Path]]:
        node, key = self._node, self._verifier
        known = NodeShare(node.node_id, node.state.value, key.text if key else "")
        if node.state is NodeState.JOINING:
            # a joining node has no keys as yet, and nothing of it is part of the installation
            return known, {}
        try:
            part = self._ports.part_of(node.node_id)
            seen = part.describe()
            paths, events, cause = self._copied(part)
        except StrongroomError as error:
            if self._full is not None:
                # this machine's own trouble is no word on the other node
                raise self._full from error
            words = f"its event log is not in the backup: {error.message}"
            return known._replace(missing=words[:MOST_WORDS]), {}
        if not cause and seen.keys != self._ports.keys():
            cause = "its keystore does not have the keys that are in force"
        files = tuple(sorted(paths))
        return known._replace(files=files, events=events, missing=cause[:MOST_WORDS]), paths

    def _copied(self, part: Part) -> tuple[Mapping[str, Path], int, str]:
        """The files by their entries, the number of events, and what is wrong with the log.

        The log may be archived in the middle; then it is copied anew.
        """
        left = _ATTEMPTS
        while True:
            left -= 1
            with storage_errors(f"cannot write in {self._ports.folder}"):
                into = Path(tempfile.mkdtemp(prefix=self._node.node_id, dir=self._ports.folder))
            try:
                names = part.describe().files
                paths = {self._entry(name): self._copy(part, name, into) for name in names}
                events, cause = self._verified(into)
            except StrongroomError:
                shutil.rmtree(into, ignore_errors=True)
                raise
            if not (cause and left):
                return paths, events, cause
            shutil.rmtree(into)

    def _entry(self, name: str) -> str:
        return f"{LOGS}{self._node.node_id}/{name.lower()}"

    def _copy(self, part: Part, name: str, into: Path) -> Path:
        path = into / name

        def write(piece: bytes) -> None:
            left = memoryview(piece)
            try:
                with storage_errors(f"cannot write {path}"):
                    while left:
                        left = left[file.write(left) :]
            except StorageError as error:
                self._full = error
                raise

        with storage_errors(f"cannot write {path}"), path.open("xb", buffering=0) as file:
            part.copy(name, write)
        return path

    def _verified(self, into: Path) -> tuple[int, str]:
        stem = self._node.node_id
        log, note = into / f"{stem}.jsonl", into / f"{stem}.checkpoint"
        if not log.exists():
            return 0, "it has no event log"
        if self._verifier is None:
            return 0, "its event log is in the backup, and no key of its own is registered for it"
        try:
            kept = notes.open_note(_note_of(note), self._verifier)
            report = copies.verify(log, kept)
        except (FormatError, IntegrityError) as error:
            return 0, f"its event log is in the backup, and does not verify: {error.message}"
        faults = (*report.faults, *(f"line {one.line}: {one.what}" for one in report.breaks))
        if faults:
            return report.head.seq, f"its event log is in the backup, and was changed: {faults[0]}"
        return report.head.seq, ""


def _note_of(path: Path) -> bytes:
    """The signed note of a file of checkpoints.

    Raises:
        FormatError: The file is not there, or is damaged.
    """
    if not path.exists():
        raise FormatError("it has no signed checkpoint")
    if path.stat().st_size > _MOST_NOTE_BYTES:
        raise FormatError("its checkpoint is larger than any")
    return checkpoint_form.parse(path.read_bytes()).note
