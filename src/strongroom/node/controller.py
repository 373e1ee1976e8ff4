"""Composes the controller: the duties of the whole installation, and this node as one that stands for doing them (ADR 48).

Each duty may be begun again at any moment by another node, and is right when it is done twice: the lock saves work, and
its fence keeps one that was paused from deciding by what it saw before.
"""

import logging
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final

from strongroom.errors import StrongroomError
from strongroom.eventlog.base import SYSTEM
from strongroom.eventlog.events import node_events
from strongroom.node.opening import Node
from strongroom.runtime.duties import Duty
from strongroom.services.nodes.controller import Candidate, ControllerPorts

UPKEEP_S: Final = 600.0
SWEEP_S: Final = 86_400.0
"""The time between two sweeps of the file store, which reads the names of all files."""
LOOK_S: Final = 5.0
"""Seconds between two looks at what a node that is gone, or a killed command, has left."""
_END_WAIT_S: Final = 15.0
"""The time for the duties to end; what hangs ends with the process."""
_log = logging.getLogger("strongroom.controller")


@contextmanager
def standing(node: Node, upkeep_s: float = UPKEEP_S) -> Iterator[None]:
    """Stand for controller until the end of the block; a single node is the only one that does.

    Args:
        node: The node; of a cluster, it is announced.
        upkeep_s: Seconds between two runs of the duties that are not urgent.
    """
    # the parts of the node are built here, before any thread of a duty works with them
    duties_of(node, upkeep_s)
    stopping = threading.Event()
    candidate = Candidate(
        ControllerPorts(
            coordinator=node.coordinator,
            repository=node.repository,
            duties=lambda: duties_of(node, upkeep_s),
            taken=lambda epoch: _told(node, epoch),
            check=lambda: _check(node),
        )
    )
    thread = threading.Thread(
        target=candidate.stand, args=(stopping,), name="controller", daemon=True
    )
    thread.start()
    try:
        yield
    finally:
        stopping.set()
        thread.join(_END_WAIT_S)
        if thread.is_alive():
            _log.warning("the controller did not end in time; its lock goes with this process")


def duties_of(node: Node, upkeep_s: float = UPKEEP_S) -> Sequence[Duty]:
    """The duties of the installation, as this node does them.

    Args:
        node: The node.
        upkeep_s: Seconds between two runs of the duties that are not urgent.
    """
    rotation, uploads, jobs = node.rotation_upkeep, node.uploads, node.jobs

    def expire() -> None:
        if found := uploads.expire():
            _log.info("expired %d uploads", found)

    def remove_keys() -> None:
        if found := node.remove_due_service_keys():
            _log.info("removed %d service keys, whose days were over", found)

    def end_tokens() -> None:
        if found := node.service_tokens.remove_ended():
            _log.info("removed %d tokens of services, whose time was over", found)

    def forget() -> None:
        if found := jobs.forget_ended(*_retention(node)):
            _log.info("forgot %d jobs that ended long ago", found)

    return [
        # components may be slow: each has a thread of its own
        Duty("interrupted rotations", upkeep_s, rotation.finish),
        Duty("rotations that are due", upkeep_s, rotation.rotate_due, first_s=upkeep_s),
        Duty("uploads", upkeep_s, expire),
        Duty("ended jobs", upkeep_s, forget),
        Duty("service keys", upkeep_s, remove_keys),
        Duty("tokens of services", upkeep_s, end_tokens),
        *(_of_cluster(node, upkeep_s) if node.outside is not None else ()),
    ]


def _of_cluster(node: Node, upkeep_s: float) -> Sequence[Duty]:
    """The duties that a single node has not: nobody else could leave anything, and nothing is shared."""
    from strongroom.node import service_passwords
    from strongroom.services.jobs.gone import GoneNodes
    from strongroom.services.jobs.takeover import Takeover
    from strongroom.services.keys import left_change

    found: list[Duty] = []
    if node.other_workers is not None:
        ports = node.job_ports
        gone = GoneNodes(ports.repository, ports.files, node.jobs, ports.clock)
        found.append(Duty("jobs of gone nodes", LOOK_S, Takeover(node.other_workers, gone).look))
    if (spread := node.spread) is not None:
        found.append(
            Duty("staged keys", LOOK_S, lambda: left_change.withdraw(node.coordinator, spread))
        )

    def resume() -> None:
        try:
            finished = service_passwords.resume(node, SYSTEM)
        except StrongroomError as error:
            # a command is at work on it, or another node has not done its part: both passwords are kept meanwhile
            _log.warning("a password's change is still to be finished: %s", error.with_hint)
            return
        for name in finished:
            _log.info("finished the change of the password for %s", name)

    return [
        *found,
        Duty("interrupted passwords", upkeep_s, resume, first_s=upkeep_s),
        Duty("formats", LOOK_S, lambda: node.software.raise_to_all(SYSTEM)),
        Duty("entries", upkeep_s, node.entry_store.collect),
        Duty("files", SWEEP_S, node.sweep_files),
    ]


def _told(node: Node, epoch: int) -> None:
    """Leave an event; the only node there is has been the controller all along."""
    if node.outside is not None:
        node.events.append([node_events.controller_taken(node.paths.node_id, epoch)])


def _check(node: Node) -> None:
    """Refuse the office to older software than that of the others; a single node has no others."""
    if node.outside is not None:
        node.software.check_controls()


def _retention(node: Node) -> tuple[int, int]:
    """For how many days ended jobs are kept, and how many of them at most."""
    days, most = (
        int(node.configuration.effective(f"backgrounder.jobs.{name}") or "0")
        for name in ("keep_days", "keep_most")
    )
    # never less: a command that waits for a job must still find the job after its end
    return max(1, days), max(100, most)
