"""Composes the question to every node of a cluster, as one of them asks it."""

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING

from strongroom.config import versions
from strongroom.joining.node_reports import KeysSeen, StoreSeen
from strongroom.kms import store as kms_store
from strongroom.node.opening import Node
from strongroom.services.nodes import inquiry
from strongroom.services.nodes.inquiry import InquiryPorts
from strongroom.services.nodes.judging import Head

if TYPE_CHECKING:
    from strongroom.services.nodes.judging import Judged


def report_ages(node: Node) -> Mapping[str, int]:
    """How many seconds ago each node of the cluster posted its newest report, by the clock of ZooKeeper; nothing is judged.

    Raises:
        CoordinationError: ZooKeeper does not answer.
    """
    board = node.board
    if board is None:
        return {}
    notes, now_ms = board.read_all(), inquiry.now_ms(board)
    return {name: max(0, now_ms - one.at_ms) // 1000 for name, one in notes.items() if one.value}


def ask(node: Node, wait_s: float = inquiry.WAIT_S) -> "tuple[Judged, ...]":
    """The nodes of the cluster, each as it is now; none of a single node.

    Raises:
        CoordinationError: ZooKeeper does not answer: nothing is known of any node now.
        StrongroomError: This node itself cannot read what the others are compared with.
    """
    board = node.board
    if board is None:
        return ()

    def head() -> Head:
        keys = node.authority.present()
        since_ms = board.changed_ms(versions.CURRENT)
        store, raw = node.kms_store.current()
        return Head(
            StoreSeen(store.epoch, kms_store.digest(raw)),
            KeysSeen(keys.active.id, keys.generation),
            since_ms,
        )

    ports = InquiryPorts(board, node.authority, node.peers.all, head, time.monotonic, time.sleep)
    return inquiry.ask(ports, wait_s)
