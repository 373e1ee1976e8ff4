"""The processes that a served node has now, by the topology and in a maintenance, followed from a thread; and its signals."""

import logging
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING, Final

from strongroom.services.jobs.processes import Counts, NodeProcesses
from strongroom.services.nodes.draining import Doors, Draining, DrainingPorts, Work
from strongroom.system.last_answer import LastAnswer

if TYPE_CHECKING:
    from strongroom.cli.ports.commands import CommandServices

LOOK_S: Final = 0.5
_END_WAIT_S: Final = 1.0
_STOPPING: Final = (signal.SIGINT, signal.SIGTERM)
_log = logging.getLogger("vizportal.Serve")


class Placement:
    """The processes of this node, as they were at the last look; whoever asks waits for nothing."""

    def __init__(self, processes: NodeProcesses, draining: Draining) -> None:
        self._draining = draining
        self._failures: dict[Callable[[], None], str] = {}
        self.counts = Counts()
        self._read = LastAnswer(processes.own, self.counts, _log, "the processes of this node")

    @property
    def is_ending(self) -> bool:
        """Whether a process that works on jobs ends by itself, and has no successor: there is a maintenance."""
        return self._draining.work is not Work.USUAL

    def backgrounders(self) -> int:
        """How many backgrounders the node is to have, if only for the extracts that they work on."""
        return 0 if self._draining.work is Work.NONE else self.counts.backgrounder

    def look(self) -> None:
        """Look; what cannot be read stays as it was, and no failure ends the looks: a gate that is closed would stay so."""
        for step in (self._draining.look, self._count):
            try:
                step()
            except Exception as error:  # noqa: BLE001 an unexpected error must not leave a gate closed for good
                if self._failures.get(step) != repr(error):
                    _log.exception("what this node runs stays as it was; the next look tries again")
                self._failures[step] = repr(error)
            else:
                self._failures.pop(step, None)

    def _count(self) -> None:
        self.counts = self._read()


@contextmanager
def followed(node: "CommandServices", doors: Doors) -> Iterator[Placement]:
    """The processes of this node, looked at again and again until the end of the block.

    Args:
        node: The node.
        doors: The gate of the node, which is closed in a maintenance; so it is behind the first look.
    """
    ports = DrainingPorts(
        seen=node.out_of_service.seen,
        doors=doors,
        works=node.sole_worker.is_there,
        say=node.out_of_service.say_drained,
    )
    found = Placement(node.node_processes, Draining(ports))
    found.look()
    stopping = threading.Event()

    def follow() -> None:
        while not stopping.wait(LOOK_S):
            found.look()

    thread = threading.Thread(target=follow, name="placement", daemon=True)
    thread.start()
    try:
        yield found
    finally:
        stopping.set()
        thread.join(_END_WAIT_S)


@contextmanager
def told_to_end() -> Iterator[threading.Event]:
    """An event that SIGTERM and SIGINT set while there is no web service, which has handlers of its own."""
    ending = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield ending
        return

    def end(_signal: int, _frame: FrameType | None) -> None:
        ending.set()
        signal.signal(signal.SIGTERM, signal.SIG_IGN)

    before = {one: signal.signal(one, end) for one in _STOPPING}
    try:
        yield ending
    finally:
        for one, handler in before.items():
            # a second signal does not cut off what the first one asked for
            ignored = one is signal.SIGTERM and ending.is_set()
            signal.signal(one, signal.SIG_IGN if ignored else handler)
