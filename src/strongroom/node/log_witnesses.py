"""Composes a node as a witness of the others' event logs, and the question how all logs of a cluster are proved."""

import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Final

from strongroom.clock import format_utc
from strongroom.errors import FormatError, IntegrityError, StateError
from strongroom.eventlog import notes
from strongroom.eventlog.extending import Base
from strongroom.joining import own_keys
from strongroom.joining.log_heads import LogHeads, Path
from strongroom.node.opening import Node
from strongroom.runtime.duties import Duty
from strongroom.services.nodes import cosigning, inquiry, judging_logs, witnessed_file
from strongroom.services.nodes.cosigning import Cosigner, CosignPorts
from strongroom.services.nodes.judging_logs import Head, JudgedLog, LogNotes

LOOK_S: Final = 10.0
"""Seconds between two looks at whether each witness can follow this node's log."""
WAIT_S: Final = 20.0
"""Seconds for which a reader waits until a log is shown to go on from what was witnessed a moment ago."""
_PAUSE_S: Final = 0.5
_ALONE_S: Final = 5.0
_LOCK: Final = "witnessed"


def duty(node: Node, name: str) -> Duty:
    """The duty: to show this node's event log to the others, and to cosign the heads of theirs."""
    return Duty(name, LOOK_S, cosigner(node).look)


def cosigner(node: Node) -> Cosigner:
    """The node as a witness.

    Raises:
        StateError: The node is a single one.
        StorageError: The node's own keys are not there.
    """
    return Cosigner(_ports(node), own_keys.read(node.paths))


def forget(node: Node, other: str, actor: str, reason: str) -> int:
    """Have this node witness the log of another one anew; returns how many lines of it were known.

    Raises:
        StateError: The node is a single one.
        NotFoundError: This node has witnessed nothing of that one.
    """
    return cosigning.forget(_ports(node), other, actor, reason)


def ask(node: Node, wait_s: float | None = None) -> tuple[JudgedLog, ...]:
    """The event logs of all nodes of the cluster, as they are proved from here; none of a single node.

    Args:
        node: The node that asks.
        wait_s: Seconds for which a log that goes on is waited for; None is `WAIT_S`.

    Raises:
        CoordinationError: ZooKeeper does not answer: nothing is known of any log now.
        StrongroomError: This node's own keys or log cannot be read.
    """
    notes_board = node.board
    if notes_board is None:
        return ()
    ports, keys = _ports(node), own_keys.read(node.paths)
    end = time.monotonic() + (WAIT_S if wait_s is None else wait_s)
    while True:
        board = cosigning.board_of(ports, keys)._replace(now_ms=inquiry.now_ms(notes_board))
        found = tuple(
            _judge_own(node, board) if one == keys.node_id else judging_logs.judge_shown(board, one)
            for one in board.nodes
        )
        if time.monotonic() >= end or not judging_logs.is_waiting(found):
            return found
        time.sleep(_PAUSE_S)


def _judge_own(node: Node, board: LogNotes) -> JudgedLog:
    """This node's log by its own lines, against what the others witnessed of it."""
    bases = _bases(board)
    shown = node.events.show(bases)
    if not shown.note:
        return JudgedLog(board.own, unproved=("its log has no signed head",))
    paths = {
        one: Path(bases[one].tree.size, bases[one].tree.root, steps)
        for one, steps in shown.paths.items()
    }
    at = format_utc(node.clock.now())
    heads = LogHeads(board.own, 0, 1, at, shown.note, shown.first, shown.lines, paths, board.memory)
    return judging_logs.judge(board, board.own, Head(heads, notes.told_by(shown.note)))


def _bases(board: LogNotes) -> Mapping[str, Base]:
    found = dict[str, Base]()
    for one in board.nodes:
        # the judgement tells of a word that is not believed
        with suppress(FormatError, IntegrityError):
            known = None if one == board.own else board.known_by(one, board.own)
            if known is not None:
                found[one] = known.base
    return found


def _ports(node: Node) -> CosignPorts:
    board = node.board
    if board is None:
        raise StateError(_SINGLE)
    path, file_modes = node.paths.witnessed, node.file_modes
    return CosignPorts(
        notes=board,
        registered=node.peers.all,
        log=node.events,
        read=lambda: witnessed_file.read(path),
        write=lambda seen: witnessed_file.write(path, seen, file_modes),
        alone=lambda: node.coordinator.lock(_LOCK, wait_s=_ALONE_S),
        clock=node.clock,
        monotonic=time.monotonic,
    )


_SINGLE: Final = "a single node has nobody to witness its event log"
