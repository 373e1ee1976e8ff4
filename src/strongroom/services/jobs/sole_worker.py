"""The lock by which a single process of a node works on jobs at a time: the backgrounder, or a command without one."""

from contextlib import AbstractContextManager

from strongroom.coordination.base import Coordinator, Lease
from strongroom.errors import ConflictError


class SoleWorker:
    """The lock of the process that works on a node's jobs."""

    def __init__(self, coordinator: Coordinator, node_id: str) -> None:
        self._coordinator = coordinator
        self._name = f"backgrounder-{node_id}"

    def hold(self, wait_s: float = 0) -> AbstractContextManager[Lease]:
        """Hold the lock until the end of the block; the caller works on jobs meanwhile.

        Args:
            wait_s: Seconds to wait for another process to end its work.

        Raises:
            ConflictError: Another process works on jobs.
        """
        return self._coordinator.lock(self._name, wait_s=wait_s)

    def is_there(self) -> bool:
        """Whether a process works on jobs now."""
        try:
            with self.hold():
                return False
        except ConflictError:
            return True
