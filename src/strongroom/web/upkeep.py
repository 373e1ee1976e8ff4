"""What a serving node does beside serving: at its start it removes what dead processes left, and later what nobody continued."""

import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from strongroom.bootstrap import Node
from strongroom.eventlog import events

if TYPE_CHECKING:
    from strongroom.services.rotation_scope import Outcome

INTERVAL_S = 600.0
_END_WAIT_S = 10.0
"""What a task has to end; one that hangs is cut with the process, and taken up at the next start."""
_log = logging.getLogger("strongroom.web.upkeep")


def at_start(node: Node) -> None:
    """Finish or remove what a killed server was writing; only for the one process that serves the node."""
    hidden = node.files.remove_leftovers()
    orphans = node.stored_files.recover()
    unfinished = len(hidden) + node.events.remove_leftovers()
    if unfinished or orphans:
        _log.warning("removed %d unfinished and %d orphaned files", unfinished, orphans)
    regularly(node)


def regularly(node: Node) -> None:
    """Expire uploads that nobody continued and sessions that nobody used."""
    uploads, sessions = node.uploads.expire(), node.auth.prune()
    if uploads or sessions:
        _log.info("expired %d uploads and %d sessions", uploads, sessions)


def finish_rotations(node: Node) -> None:
    """Go on with rotations of secrets that were cut, as far as they are due (R7); their components may be slow."""
    _tell(node.rotation.resume(events.SYSTEM))


def rotate_due(node: Node) -> None:
    """Rotate the generated secrets whose policy wants it, if that is asked for (`secrets.rotate_when_due`)."""
    if node.configuration.effective("secrets.rotate_when_due") != "true":
        return
    due = [one.name for one in node.secret_inventory.due() if one.origin == "generated"]
    if due:
        _log.info("due: %s", ", ".join(due))
        _tell(node.rotation.rotate(events.SYSTEM, due))


def _tell(outcomes: Sequence["Outcome"]) -> None:
    for one in outcomes:
        if one.state == "rotated":
            _log.info("rotated %s", one.parameters[0])
        else:
            _log.warning(
                "the rotation of %s stopped at %s: %s", one.parameters[0], one.stage, one.problem
            )


@contextmanager
def kept_up(node: Node, interval_s: float = INTERVAL_S) -> Iterator[None]:
    """Do it at the start and then at intervals, until the end of the block."""
    stopping = threading.Event()

    def attempt(*tasks: Callable[[], object]) -> None:
        for task in tasks:
            try:
                task()
            except Exception:  # noqa: BLE001 logged, and the next task goes on
                # one that nobody expected must not end upkeep for the server's life
                _log.exception("upkeep failed; it will be tried again")

    def work() -> None:
        attempt(lambda: finish_rotations(node))  # not at_start: nobody waits for a hung component
        while not stopping.wait(interval_s):
            attempt(
                lambda: regularly(node),
                lambda: rotate_due(node),
                lambda: node.keeper.upkeep(interval_s),
                lambda: finish_rotations(node),
            )

    at_start(node)
    thread = threading.Thread(target=work, name="upkeep", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stopping.set()
        thread.join(_END_WAIT_S)
        if thread.is_alive():
            _log.warning("upkeep did not end in time; it goes on at the next start")
