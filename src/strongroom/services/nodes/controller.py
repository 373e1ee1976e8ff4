"""The controller: the one node whose process does the duties of the whole installation (ADR 48).

Every node that is served stands for it. Whoever holds the lock `controller` does the duties; each is done under the lease of
that lock, by which the coordination service and the repository refuse the writes of a controller that was paused or cut
off while another one took its place.
"""

import logging
import threading
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from strongroom.coordination.base import Coordinator, Lease
from strongroom.errors import ConflictError, StrongroomError
from strongroom.repository.reach import ROWS
from strongroom.runtime import duties
from strongroom.runtime.duties import Duty

if TYPE_CHECKING:
    from strongroom.repository.unit_of_work import Repository

LOCK: Final = "controller"
LOOK_S: Final = 1.0
"""Seconds between two looks: of a node that stands, at whether there is a controller; of the controller, at its lock."""
AGAIN_S: Final = 5.0
"""Seconds before a node stands again that could not be the controller, or lost the lock: others come first."""
_log = logging.getLogger("strongroom.controller")


@dataclass(frozen=True)
class ControllerPorts:
    """The parts of a node that stands for controller.

    Attributes:
        coordinator: The coordination service, which has the lock.
        repository: The repository, which refuses the transactions of earlier controllers.
        duties: Returns the duties of the installation, as this node does them.
        taken: Is told the epoch under which this node became the controller; raises if it cannot be.
        check: Raises if this node may not be the controller; asked before it stands, and under the lock.
    """

    coordinator: Coordinator
    repository: "Repository"
    duties: Callable[[], Sequence[Duty]]
    taken: Callable[[int], None]
    check: Callable[[], None] = lambda: None


class Candidate:
    """A node that stands for controller."""

    def __init__(self, ports: ControllerPorts) -> None:
        self._ports = ports
        self._failure = ""
        self._unfit = ""

    def stand(self, stopping: threading.Event) -> None:
        """Be the controller whenever no other node is, until told to stop; an error is logged, and the next look tries again."""
        while not stopping.is_set():
            pause_s = AGAIN_S
            try:
                if not self._ports.coordinator.holder(LOCK) and self._may_stand():
                    self._serve(stopping)
            except StrongroomError as error:
                self._tell(error)
            except Exception:  # noqa: BLE001 an unexpected error must not leave the installation without a controller for good
                _log.exception("the node cannot stand for controller; it will be tried again")
            else:
                self._failure, pause_s = "", LOOK_S
            stopping.wait(pause_s)

    def _may_stand(self) -> bool:
        """Whether this node may be the controller; why it may not is logged once, however often another node is."""
        try:
            self._ports.check()
        except StrongroomError as error:
            if error.message != self._unfit:
                _log.warning("%s", error.with_hint)
            self._unfit = error.message
            return False
        self._unfit = ""
        return True

    def _serve(self, stopping: threading.Event) -> None:
        """Take the lock, and do the duties for as long as it is held.

        Raises:
            ConflictError: The lock was lost.
            StrongroomError: This node cannot be the controller now.
        """
        ports = self._ports
        with ExitStack() as stack:
            try:
                lease = stack.enter_context(ports.coordinator.lock(LOCK, wait_s=0))
            except ConflictError:
                return  # another node was quicker
            # once more: only who has the lock raises what this asks for
            ports.check()
            with ports.repository.fenced(LOCK, lease.token), ports.repository.transaction(ROWS):
                # from here on no transaction of an earlier controller is made
                pass
            ports.taken(lease.token)
            _log.info("this node is the controller, under epoch %d", lease.token)
            stack.enter_context(duties.kept([self._under(lease, one) for one in ports.duties()]))
            while not stopping.wait(LOOK_S):
                if not ports.coordinator.is_in_force(lease):
                    raise ConflictError(
                        "this node is not the controller any more: it lost the lock"
                    )

    def _under(self, lease: Lease, duty: Duty) -> Duty:
        def run() -> None:
            ports = self._ports
            with ports.coordinator.under(lease), ports.repository.fenced(LOCK, lease.token):
                duty.run()

        return duty._replace(run=run)

    def _tell(self, error: StrongroomError) -> None:
        if error.message != self._failure:
            _log.warning("%s", error.with_hint)
        self._failure = error.message
