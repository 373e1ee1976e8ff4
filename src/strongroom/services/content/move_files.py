"""Moves the files of all extracts to another store: copied, read back, and only then in force (format/object-store.md §8).

Nothing of the old store changes before the entry that says where the files are is put, in one step. Until then a
failure or a kill leaves the old store in force and copies in the new one; the next run copies only what is missing, or
takes the copies back. Afterwards the next run removes what is left in the old store.
"""

import hashlib
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Final, NamedTuple

from strongroom.coordination.base import Change, Coordinator
from strongroom.coordination.locks import BACKUP_LOCK
from strongroom.errors import (
    ConflictError,
    IntegrityError,
    NotFoundError,
    StateError,
    StorageError,
    StrongroomError,
)
from strongroom.eventlog.base import EventLog
from strongroom.eventlog.events import extract_events
from strongroom.extracts import place
from strongroom.extracts.place import Place
from strongroom.filestore.base import FileStore, NodeFiles, ReadableFile
from strongroom.repository.unit_of_work import Repository
from strongroom.system.plural import counted

LOCK = "extracts"
_LOCK_WAIT_S: Final = 5.0
_PIECE_BYTES: Final = 4 << 20
_NAMED: Final = 5

Report = Callable[[int], None]


@dataclass(frozen=True)
class MovePorts:
    """The ports on which a move works.

    Attributes:
        coordinator: Holds the entry that says where the files are.
        repository: Names the files that must be there.
        event_log: The log to which the move is appended.
        node_id: This node, which alone may be alive.
        store: Opens the store of an address.
        prove: Proves that the store of an address can be relied on.
        others: Returns the ids of the installation's other nodes.
    """

    coordinator: Coordinator
    repository: Repository
    event_log: EventLog
    node_id: str
    store: Callable[[str], NodeFiles]
    prove: Callable[[str], None]
    others: Callable[[], tuple[str, ...]]


class Moved(NamedTuple):
    """The result of a move, or, of a plan, what it would be.

    Attributes:
        before: The address of the store that was in force.
        after: The address of the store that is in force.
        files: The number of files that were copied by this run.
        size: The bytes of those files.
        present: The number of files that an earlier run had copied.
        removed: The number of files that were removed where they are not needed any longer.
    """

    before: str
    after: str
    files: int = 0
    size: int = 0
    present: int = 0
    removed: int = 0


class MoveService:
    """Moves files; the caller ensures that no server and no other command works on this node meanwhile."""

    def __init__(self, ports: MovePorts) -> None:
        self._ports = ports

    def plan(self, target: str) -> Moved:
        """Prove the target, and count what would be copied; nothing but probes is written.

        Raises:
            StateError: Another move is under way, or another node is alive.
            ConflictError: The target holds other files.
            StorageError: The target cannot be relied on.
        """
        present = self._checked(target)
        if present.address == target:
            return Moved(target, target)
        self._check_pins(present.address, target)
        self._ports.prove(target)
        keys = self._keys(present.address)
        self._check_target(present, target, keys)
        source = self._ports.store(present.address)
        there = set(self._ports.store(target).list())
        sizes = [source.stat(key).bytes for key in keys - there]
        return Moved(present.address, target, len(sizes), sum(sizes), len(keys & there))

    def move(self, actor: str, target: str, begin: Callable[[int], Report | None]) -> Moved:
        """Move all files, or do what an interrupted run left; a move under way to another store is undone.

        Args:
            actor: The person or process that asks, for the event.
            target: The address of the store to move to; the one in force undoes a move under way.
            begin: Called with the number of bytes to copy; returns the progress callback, or None.

        Raises:
            StateError: Another move is under way, another node is alive, a backup relies on what a store keeps, or
                files that rows name are not here.
            ConflictError: The target holds other files, or another command moves files or makes a backup.
            StorageError: A store refuses, or does not answer; the store in force is as before.
            IntegrityError: A copy is not what was sent; the store in force is as before.
        """
        with self._locked():
            present = self._checked(target)
            if present.address == target:
                return self._finish(present)
            self._check_pins(present.address, target)
            self._ports.prove(target)
            keys = self._keys(present.address)
            self._check_target(present, target, keys)
            self._begin(present, target)
            done = self._copy(present.address, target, keys, begin)
            self._check_alone()
            event = extract_events.extracts_moved(
                actor, before=present.address, after=target, files=len(keys), size=done.size
            )
            self._ports.event_log.append([event])
            after = Place(target, "", present.address)
            self._put(after)
            return done._replace(removed=self._finish(after).removed)

    # ---- checks ----------------------------------------------------------------------------------

    def _checked(self, target: str) -> Place:
        present = place.read(self._ports.coordinator)[0]
        self._check_alone()
        others = self._ports.others()
        if target == place.DISK != present.address and others:
            raise StateError(
                f"{' and '.join(others)} could read nothing of what lies on the disk of {self._ports.node_id}",
                hint="several nodes need one store; 'tsm topology list-nodes' shows them",
            )
        if present.coming and target not in {present.coming, present.address}:
            raise StateError(
                f"the files are being moved to {present.coming} already",
                hint="finish that move, or undo it by a move to the store in force",
            )
        if present.leaving and target != present.address:
            raise StateError(
                f"files are left in {present.leaving}, from where they were moved",
                hint=f"first run 'strongroom extracts move --to {present.address!r}' to its end",
            )
        return present

    def _check_alone(self) -> None:
        others = set(self._ports.coordinator.members()) - {self._ports.node_id}
        if others:
            raise StateError(
                f"{', '.join(sorted(others))} {'is' if len(others) == 1 else 'are'} alive,"
                " and would go on with the old store",
                hint="stop the servers of the other nodes for the time of the move",
            )

    def _check_pins(self, *stores: str) -> None:
        """Refuse while a backup relies on what a store keeps: a move empties the one or the other."""
        for address in stores:
            self._ports.store(address).check_unpinned()

    def _keys(self, source: str) -> set[str]:
        """The keys to copy: those of the store, among which all must be that rows name."""
        keys = set(self._ports.store(source).list())
        with self._ports.repository.reading() as tx:
            named = tx.contents.storage_keys() | tx.uploads.storage_keys()
        missing = sorted(named - keys)
        if missing:
            raise StateError(
                f"{counted(len(missing), 'file')} of content are not in the store in force:"
                f" {', '.join(missing[:_NAMED])}{' …' if len(missing) > _NAMED else ''}",
                hint="they lie on another node's disk, or are lost: restore them, or delete the content, first",
            )
        return keys

    def _check_target(self, present: Place, target: str, keys: set[str]) -> None:
        strange = set(self._ports.store(target).list()) - (
            keys if present.coming == target else set()
        )
        if strange:
            raise ConflictError(
                f"there are files in {target} already, {counted(len(strange), 'file')} that are not of this move",
                hint="name an empty prefix, or an empty store",
            )

    # ---- changes ---------------------------------------------------------------------------------

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Keep off other moves, and backups: a backup may pin what a move removes."""
        lock = self._ports.coordinator.lock
        with lock(BACKUP_LOCK, wait_s=_LOCK_WAIT_S), lock(LOCK, wait_s=_LOCK_WAIT_S):
            yield

    def _begin(self, present: Place, target: str) -> None:
        """Say that files are being moved, and look for pins once more: a backup pins first, and looks for a move then.

        Locks of a coordination service may be lost; each of the two sees the other even so. Nothing is copied as yet, so
        a refusal leaves what was there.
        """
        self._put(present._replace(coming=target))
        try:
            self._check_pins(present.address, target)
        except StrongroomError:
            self._put(present)
            raise

    def _copy(
        self, before: str, target: str, keys: set[str], begin: Callable[[int], Report | None]
    ) -> Moved:
        source, new = self._ports.store(before), self._ports.store(target)
        there = set(new.list())
        sizes = {key: source.stat(key).bytes for key in keys}
        report = begin(sum(sizes.values()))
        copied = list[str]()
        for key in sorted(keys):
            with closing(source.open(key)) as file:
                if key in there:
                    # an interrupted run may have ended before it looked at its copy
                    if _is_copy(file, new, key):
                        if report is not None:
                            report(sizes[key])
                        continue
                    new.delete(key)
                _copy_one(file, new, key, report)
            copied.append(key)
        size = sum(sizes[key] for key in copied)
        return Moved(before, target, len(copied), size, len(keys) - len(copied))

    def _finish(self, present: Place) -> Moved:
        """Remove what is left of a move that is done, or that is undone; a store on which a backup relies refuses."""
        useless = present.coming or present.leaving
        removed = 0
        if useless:
            removed = self._ports.store(useless).empty()
            self._put(Place(present.address))
        return Moved(present.address, present.address, removed=removed)

    def _put(self, new: Place) -> None:
        coordinator = self._ports.coordinator
        version = place.read(coordinator)[1]
        coordinator.put({place.ENTRY: Change(new.serialize(), version)})


def _copy_one(file: ReadableFile, target: FileStore, key: str, report: Report | None) -> None:
    """Copy a file, and read the copy back.

    Raises:
        IntegrityError: The copy has other bytes.
    """
    pending = target.put(key, expected_bytes=file.size)
    try:
        for offset, piece in _pieces(file):
            pending.write_at(offset, piece)
            if report is not None:
                report(len(piece))
        pending.commit()
    finally:
        pending.abort()
    if not _is_copy(file, target, key):
        raise IntegrityError(f"the copy of {key} is not what was sent")


def _is_copy(file: ReadableFile, target: FileStore, key: str) -> bool:
    """Whether the target has the bytes of a file, read back; False as well if they are not all there."""
    try:
        with closing(target.open(key)) as copy:
            return copy.size == file.size and _digest(copy) == _digest(file)
    except NotFoundError:
        return False


def _digest(file: ReadableFile) -> bytes:
    found = hashlib.sha256()
    for _, piece in _pieces(file):
        found.update(piece)
    return found.digest()


def _pieces(file: ReadableFile) -> Iterator[tuple[int, memoryview]]:
    buffer = memoryview(bytearray(min(_PIECE_BYTES, file.size)))
    for offset in range(0, file.size, _PIECE_BYTES):
        count = file.read_into_at(offset, buffer[: min(_PIECE_BYTES, file.size - offset)])
        if not count:
            raise StorageError("a file became shorter while it was read")
        yield offset, buffer[:count]
