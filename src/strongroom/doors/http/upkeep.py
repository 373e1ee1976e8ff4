"""The upkeep of a serving node: removes leftovers of its dead processes, ends sessions, renews credentials of its roots.

Work that belongs to the whole installation is the controller's (`node/controller`).
"""

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from strongroom.doors.http.ports import UpkeepServices
from strongroom.errors import StrongroomError

INTERVAL_S = 600.0
_END_WAIT_S = 10.0
"""The time for a task to end; a task that hangs ends with the process, and is done at the next start."""
_log = logging.getLogger("strongroom.web.upkeep")


def at_start(node: UpkeepServices) -> None:
    """Finish or remove what a killed server was writing; only for the one process that serves the node."""
    _finish_intents(node)
    if node.events.remove_leftovers():
        _log.warning("removed an unfinished file of the event log")
    for words in event_log_problems(node):
        _log.error("event log: %s", words)
    regularly(node)


def _finish_intents(node: UpkeepServices, *, beside_own: bool = False) -> None:
    # a node without its file store still serves keys and lists: a start waits neither for the store nor for one file
    try:
        given_up = node.stored_files.finish_intents(beside_own=beside_own)
    except StrongroomError as error:
        _log.error("files that dead processes left stay for now: %s", error.with_hint)
        return
    if given_up:
        _log.warning("removed %d files that were begun and not finished", given_up)


def event_log_problems(node: UpkeepServices) -> tuple[str, ...]:
    """Sign what a killed writer left unsigned; says what does not fit, or why it cannot be done: it is served all the same.

    A log that contradicts its anchor was put back: nothing is signed then, or the node would sign what stands there now.
    """
    return _problems(node.event_log_faults) or _problems(node.events.sign)


def look_through_files(node: UpkeepServices, may_go_on: Callable[[], bool] = lambda: True) -> None:
    """Remove what belongs to nobody, by a look at all files; nobody waits for it (docs/adr/0059-what-a-page-reads.md)."""
    try:
        unfinished = node.remove_unfinished()
        orphans = node.stored_files.remove_orphans(may_go_on=may_go_on)
    except StrongroomError as error:
        _log.error("files that belong to nobody stay for now: %s", error.with_hint)
        return
    if unfinished or orphans:
        _log.warning("removed %d unfinished and %d orphaned files", unfinished, orphans)


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
    """End sessions that nobody used, of which this process knows; end what a full disk, or a store that was away, left open."""
    node.stored_files.settle()
    _finish_intents(node, beside_own=True)
    if sessions := node.auth.prune():
        _log.info("expired %d sessions", sessions)
    tell_held_back(node)


def tell_held_back(node: UpkeepServices, *, last: bool = False) -> None:
    """Write how many failures by strangers were only counted (S8); `last`: the server ends."""
    node.auth.tell_held_back(last=last)
    node.topology.tell_held_back(last=last)


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
        # not at_start: nobody waits for a long log, and for many files
        attempt(lambda: check_event_log(node))
        attempt(lambda: look_through_files(node, lambda: not stopping.is_set()))
        while not stopping.wait(interval_s):
            attempt(lambda: regularly(node), lambda: node.kms_store.upkeep(interval_s))

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
