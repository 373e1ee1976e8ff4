"""The upkeep of a serving node: removes leftovers of dead processes, expires uploads and sessions, rotates secrets."""

import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from strongroom.doors.http.ports import UpkeepServices
from strongroom.errors import StrongroomError
from strongroom.eventlog.base import SYSTEM

if TYPE_CHECKING:
    from strongroom.services.secrets.scope import Outcome

INTERVAL_S = 600.0
SWEEP_S = 86_400.0
"""The time between two sweeps of the file store, which reads the names of all files."""
_END_WAIT_S = 10.0
"""The time for a task to end; a task that hangs ends with the process, and is done at the next start."""
_log = logging.getLogger("strongroom.web.upkeep")


def at_start(node: UpkeepServices) -> None:
    """Finish or remove what a killed server was writing; only for the one process that serves the node."""
    unfinished = node.remove_unfinished()
    orphans = node.stored_files.recover()
    unfinished += node.events.remove_leftovers()
    if unfinished or orphans:
        _log.warning("removed %d unfinished and %d orphaned files", unfinished, orphans)
    for words in event_log_problems(node):
        _log.error("event log: %s", words)
    regularly(node)


def event_log_problems(node: UpkeepServices) -> tuple[str, ...]:
    """Sign what a killed writer left unsigned; says what does not fit, or why it cannot be done: it is served all the same.

    A log that contradicts its anchor was put back: nothing is signed then, or the node would sign what stands there now.
    """
    return _problems(node.event_log_faults) or _problems(node.events.sign)


def check_event_log(node: UpkeepServices) -> None:
    """Compare all signed lines of the event log with their checkpoint; nobody waits for it."""
    for words in _problems(node.events.problems):
        _log.error("event log: %s", words)


def _problems(look: Callable[[], tuple[str, ...]]) -> tuple[str, ...]:
    try:
        found = look()
    except StrongroomError as error:
        return (f"it could not be verified: {error.with_hint}",)
    return tuple(
        f"it was changed: {words}; 'strongroom events verify' says more" for words in found
    )


def regularly(node: UpkeepServices) -> None:
    """Expire uploads that nobody continued and sessions that nobody used; end what a full disk left open."""
    node.stored_files.settle()
    uploads, sessions = node.uploads.expire(), node.auth.prune()
    if uploads or sessions:
        _log.info("expired %d uploads and %d sessions", uploads, sessions)
    removed = node.remove_due_service_keys()
    if removed:
        _log.info("removed %d service keys, whose days were over", removed)
    tell_held_back(node)


def tell_held_back(node: UpkeepServices, *, last: bool = False) -> None:
    """Write how many failures by strangers were only counted (S8); `last`: the server ends."""
    node.auth.tell_held_back(last=last)
    node.topology.tell_held_back(last=last)


def finish_rotations(node: UpkeepServices) -> None:
    """Go on with rotations of secrets that were cut, as far as they are due (R7); their components may be slow."""
    _tell(node.rotation.resume(SYSTEM))


def rotate_due(node: UpkeepServices) -> None:
    """Rotate the generated secrets whose policy wants it, if that is asked for (`secrets.rotate_when_due`)."""
    if node.configuration.effective("secrets.rotate_when_due") != "true":
        return
    due = [one.name for one in node.secret_inventory.due() if one.origin == "generated"]
    if due:
        _log.info("due: %s", ", ".join(due))
        _tell(node.rotation.rotate(SYSTEM, due))


def _tell(outcomes: Sequence["Outcome"]) -> None:
    for one in outcomes:
        if one.state == "rotated":
            _log.info("rotated %s", one.parameters[0])
        else:
            _log.warning(
                "the rotation of %s stopped at %s: %s", one.parameters[0], one.stage, one.problem
            )


@contextmanager
def kept_up(node: UpkeepServices, interval_s: float = INTERVAL_S) -> Iterator[None]:
    """Do it at the start and then at intervals, until the end of the block."""
    stopping = threading.Event()

    def attempt(*tasks: Callable[[], object]) -> None:
        for task in tasks:
            try:
                task()
            except Exception:  # noqa: BLE001 logged, and the next task goes on
                # an unexpected error must not end the upkeep, which would then stay undone until the next start of the
                # server
                _log.exception("upkeep failed; it will be tried again")

    def work() -> None:
        # not at_start: nobody waits for a hung component, or for a long log
        attempt(lambda: check_event_log(node), lambda: finish_rotations(node))
        swept = time.monotonic()
        while not stopping.wait(interval_s):
            if time.monotonic() - swept >= SWEEP_S:
                swept = time.monotonic()
                attempt(node.sweep_files)
            attempt(
                lambda: regularly(node),
                lambda: rotate_due(node),
                lambda: node.kms_store.upkeep(interval_s),
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
        attempt(node.auth.prune)  # only this process knows which sessions were used
        if thread.is_alive():
            _log.warning("upkeep did not end in time; it goes on at the next start")
        attempt(lambda: tell_held_back(node, last=True))
