"""The duty of a node as a witness: it shows its own event log, and cosigns the heads of the others (docs/format/log-heads.md).

A node takes a head only if it goes on from the one that it took before, which lies on its own disk: neither ZooKeeper
nor the other node can make it forget.
"""

import logging
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Final, NamedTuple, Protocol

from strongroom.clock import Clock, format_utc
from strongroom.coordination.board import Board, Posted
from strongroom.errors import FormatError, IntegrityError, NotFoundError
from strongroom.eventlog import cosignatures, notes
from strongroom.eventlog.base import EventLog
from strongroom.eventlog.events import log_events
from strongroom.eventlog.extending import Base, Shown
from strongroom.eventlog.notes import Verifier
from strongroom.joining import log_heads
from strongroom.joining.log_heads import LogHeads, Path, Seen
from strongroom.joining.node_keys import NodeKeys
from strongroom.joining.registry import RegisteredNode
from strongroom.services.keys import log_signing
from strongroom.services.nodes import judging_logs
from strongroom.services.nodes.judging_logs import Head, Known, LogNotes

EVERY_S: Final = judging_logs.EVERY_MS / 1000
_log = logging.getLogger("strongroom.agent")


class ShownLog(EventLog, Protocol):
    """The event log of this node, which shows how it goes on."""

    def show(self, bases: Mapping[str, Base], /) -> Shown:
        """The log, and for each of these how it goes on from what that one knew of it."""
        ...


class CosignPorts(NamedTuple):
    """The ports of a witness.

    Attributes:
        notes: The board of the cluster.
        registered: The nodes of the registry.
        log: The event log of this node.
        read: Reads the heads that were witnessed.
        write: Writes them, durably.
        alone: Keeps other processes of this node from both.
        clock: Gives the present.
        monotonic: Seconds of a clock that never goes back.
    """

    notes: Board
    registered: Callable[[], Mapping[str, RegisteredNode]]
    log: ShownLog
    read: Callable[[], Mapping[str, Seen]]
    write: Callable[[Mapping[str, Seen]], None]
    alone: Callable[[], AbstractContextManager[object]]
    clock: Clock
    monotonic: Callable[[], float]


class Cosigner:
    """A node as a witness of all others."""

    def __init__(self, ports: CosignPorts, keys: NodeKeys) -> None:
        self._ports = ports
        self._keys = keys
        self._next_s = ports.monotonic()
        self._last: LogHeads | None = None
        self._told = dict[str, str]()

    def look(self) -> None:
        """Post a note about once a minute, and at once if a witness cannot follow the one that hangs there.

        Raises:
            StrongroomError: Something cannot be read or written; the next look tries again.
        """
        ports, own = self._ports, self._keys.node_id
        board = board_of(ports, self._keys)
        if own not in board.nodes:
            return
        bases = {
            node: one.base if (one := self._seen_of_me(board, node)) else Base()
            for node in board.nodes
            if node != own
        }
        is_due = ports.monotonic() >= self._next_s
        is_up = self._hangs(board.posted(own)) and self._covers(bases)
        if not is_due and is_up and self._is_by(board.nodes[own].log_key):
            return
        seen = self._take(board) if is_due else board.memory
        self._post(bases, {node: one for node, one in seen.items() if node in board.nodes})
        if is_due:
            self._next_s = ports.monotonic() + EVERY_S

    # ---- as a witness ----------------------------------------------------------------------------

    def _take(self, board: LogNotes) -> Mapping[str, Seen]:
        """The heads that this node has witnessed, with those that go on from them; they are on the disk before they are told."""
        with self._ports.alone():
            board = board._replace(memory=self._ports.read())
            seen = self._taken(board)
            self._ports.write(seen)
        return seen

    def _taken(self, board: LogNotes) -> dict[str, Seen]:
        found = dict(board.memory)
        for node in board.nodes:
            if node == self._keys.node_id or board.posted(node) is None:
                continue
            before = board.memory.get(node)
            try:
                head = board.head(board.opened(node))
            except (FormatError, IntegrityError):
                # a reader is told of it; a moment after a regeneration the node signs by a key that is not registered
                continue
            try:
                known = board.known_by(self._keys.node_id, node) or Known(
                    self._keys.node_id, Base()
                )
                tree = judging_logs.follow(head, known)
            except (FormatError, IntegrityError) as error:
                self._refuse(node, before, error.message)
                continue
            self._told.pop(node, None)
            if tree is not None:
                found[node] = Seen(Base(head.shown.first, tree), self._cosigned(head))
                if before is None:
                    self._tell_first(node, head)
        return found

    def _cosigned(self, head: Head) -> bytes:
        name = log_signing.origin(self._keys.installation_id, self._keys.node_id)
        seconds = int(self._ports.clock.now().timestamp())
        return cosignatures.cosigned(head.shown.head, name, self._keys.signing, seconds)

    def _tell_first(self, node: str, head: Head) -> None:
        root = head.checkpoint.root.hex()
        lines = head.checkpoint.size
        self._ports.log.append([log_events.log_head_witnessed(node, lines=lines, root=root)])

    def _refuse(self, node: str, before: Seen | None, cause: str) -> None:
        """Say once why a head is not taken; nothing is said of a log of which nothing was known."""
        if self._told.get(node) == cause or before is None:
            return
        self._told[node] = cause
        _log.error("the event log of %s is not witnessed: %s", node, cause)
        known = before.base.tree.size
        self._ports.log.append([log_events.log_head_refused(node, known=known, cause=cause)])

    # ---- as one that is witnessed ----------------------------------------------------------------

    def _seen_of_me(self, board: LogNotes, watcher: str) -> Known | None:
        try:
            return board.known_by(watcher, self._keys.node_id) if board.posted(watcher) else None
        except (FormatError, IntegrityError):
            # a reader is told of it; to this node it is as if nothing hung there
            return None

    def _hangs(self, posted: Posted | None) -> bool:
        """Whether the note of this node is the one that it posted last."""
        last = self._last
        return (
            posted is not None
            and last is not None
            and (posted.born, posted.version) == (last.born, last.version)
        )

    def _is_by(self, log_key: bytes) -> bool:
        """Whether the head that hangs there is signed by the key that the registry names now."""
        last, name = self._last, log_signing.origin(self._keys.installation_id, self._keys.node_id)
        if last is None or not last.head:
            return False
        return Verifier(name, log_key).key_id in notes.key_ids(last.head, name)

    def _covers(self, bases: Mapping[str, Base]) -> bool:
        """Whether every witness can follow the note that hangs there."""
        last = self._last
        return last is not None and all(
            node in last.paths and last.paths[node].begins_at(base)
            for node, base in bases.items()
            if base.tree.root != _root_of(last)
        )

    def _post(self, bases: Mapping[str, Base], seen: Mapping[str, Seen]) -> None:
        keys, ports = self._keys, self._ports
        shown = ports.log.show(bases)
        paths = {
            node: Path(bases[node].tree.size, bases[node].tree.root, steps)
            for node, steps in shown.paths.items()
        }
        name = log_heads.name_of(keys.node_id)
        place = ports.notes.take_place(name)
        made = LogHeads(
            keys.node_id,
            place.born,
            place.version + 1,
            format_utc(ports.clock.now()),
            shown.note,
            shown.first,
            shown.lines,
            paths,
            seen,
        )
        ports.notes.post(name, fitted(made, keys), place.version)
        self._last = made


def forget(ports: CosignPorts, node: str, actor: str, reason: str) -> int:
    """Have this node witness the log of another one anew, from what it is now; returns how many lines were known.

    Args:
        ports: The ports.
        node: The other node.
        actor: The person or process that asks, for the event.
        reason: Why it is right that the log does not go on.

    Raises:
        NotFoundError: This node has witnessed nothing of that one.
        StrongroomError: The event or the file cannot be written.
    """
    with ports.alone():
        seen = dict(ports.read())
        before = seen.pop(node, None)
        if before is None:
            raise NotFoundError(
                f"nothing of the event log of {node[:80]!r} was witnessed here",
                hint="'strongroom events verify --all-nodes' shows what was",
            )
        known = before.base.tree.size
        event = log_events.log_head_accepted(actor, node, known=known, reason=reason)
        ports.log.append([event])
        ports.write(seen)
    return known


def fitted(made: LogHeads, keys: NodeKeys) -> bytes:
    """The signed note; without the longest ways if it were too long: their witnesses have to wait for the next one."""
    while True:
        try:
            return made.signed(keys.installation_id, keys.signing)
        except ValueError:
            if not made.paths:
                raise
            longest = max(made.paths, key=lambda node: _length(made.paths[node]))
            left = {node: one for node, one in made.paths.items() if node != longest}
            made = made._replace(paths=left)


def board_of(ports: CosignPorts, keys: NodeKeys) -> LogNotes:
    """The notes of all nodes, as they are now.

    Raises:
        CoordinationError: The board cannot be read.
    """
    nodes = {node: one for node, one in ports.registered().items() if not one.state.is_gone}
    notes = ports.notes.read_all()
    return LogNotes(keys.node_id, keys.installation_id, nodes, notes, 0, ports.read())


def _root_of(last: LogHeads) -> bytes:
    return notes.told_by(last.head).root if last.head else b""


def _length(path: Path) -> int:
    return sum(32 * len(step.span.nodes) + sum(map(len, step.opening)) for step in path.steps)
