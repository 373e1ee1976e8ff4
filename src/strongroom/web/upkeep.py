"""What a serving node does beside serving: at its start it removes what dead processes left, and later what nobody continued."""

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from strongroom.bootstrap import Node
from strongroom.errors import StrongroomError

INTERVAL_S = 600.0
_log = logging.getLogger("strongroom.web.upkeep")


def at_start(node: Node) -> None:
    """Finish or remove what a killed server was writing; only for the one process that serves the node."""
    hidden = node.files.remove_leftovers()
    orphans = node.stored_files.recover()
    if hidden or orphans:
        _log.warning("removed %d unfinished and %d orphaned files", len(hidden), orphans)
    regularly(node)


def regularly(node: Node) -> None:
    """Expire uploads that nobody continued and sessions that nobody used."""
    uploads, sessions = node.uploads.expire(), node.auth.prune()
    if uploads or sessions:
        _log.info("expired %d uploads and %d sessions", uploads, sessions)


@contextmanager
def kept_up(node: Node, interval_s: float = INTERVAL_S) -> Iterator[None]:
    """Do it at the start and then at intervals, until the end of the block."""
    stopping = threading.Event()

    def work() -> None:
        while not stopping.wait(interval_s):
            try:
                regularly(node)
                node.keeper.upkeep(interval_s)
            except StrongroomError:
                _log.exception("upkeep failed; it will be tried again")

    at_start(node)
    thread = threading.Thread(target=work, name="upkeep", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stopping.set()
        thread.join()
