"""Removes what no put needs any more: old markers, and blobs to which no entry refers; a duty of one process at a time.

The ages are by ZooKeeper's clock, whose present time is that of a write of our own.
"""

from typing import Final

from strongroom.coordination.zookeeper import requests
from strongroom.coordination.zookeeper.blobs import Blobs
from strongroom.coordination.zookeeper.entries import Entries
from strongroom.coordination.zookeeper.outcomes import KEPT_MS
from strongroom.coordination.zookeeper.session import Session
from strongroom.coordination.zookeeper.settings import Deadline, Limits
from strongroom.coordination.zookeeper.tree import Tree

_UNUSED_MS: Final = 60 * 60 * 1000
"""How long a blob stays without an entry: a put stores its blobs before its entries."""


def collect(session: Session, tree: Tree, entries: Entries, limits: Limits) -> int:
    """Remove what is old and unused; returns how many markers and blobs went.

    Raises:
        CoordinationError: No server answers in time.
    """
    deadline = Deadline(limits.put_s)
    now_ms = _now_ms(session, tree, deadline)
    gone = 0
    for path in _older(session, tree.markers, now_ms - KEPT_MS):
        gone += requests.remove(session, path)
    blobs = Blobs(session, tree)
    for path in _older(session, tree.blobs, now_ms - _UNUSED_MS):
        digest = bytes.fromhex(path.rpartition("/")[2])
        gone += digest not in entries.referred() and blobs.collect(
            digest, entries.referred, Deadline(limits.put_s)
        )
    return gone


def _older(session: Session, folder: str, than_ms: int) -> list[str]:
    paths = [f"{folder}/{name}" for name in requests.children(session, folder)]
    nodes = requests.read_together(session, paths)
    return [
        path
        for path, node in zip(paths, nodes, strict=True)
        if node is not None and node.touched_ms <= than_ms
    ]


def _now_ms(session: Session, tree: Tree, deadline: Deadline) -> int:
    """The present time of ZooKeeper's leader."""
    session.ask(lambda client: client.set_async(tree.markers, b""), deadline)
    node = requests.read(session, tree.markers, deadline)
    return 0 if node is None else node.touched_ms
