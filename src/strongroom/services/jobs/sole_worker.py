"""The locks of the processes that work on a node's jobs: its backgrounders, or a command without one.

Each backgrounder of a node has a place, from 0, and holds the lock of that place for as long as it lives. A command works
in place 0. The kernel frees the lock of a dead process, so whoever gets a lock knows that nobody works in that place.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager

from strongroom.coordination.base import Coordinator, Lease


class SoleWorker:
    """The locks of the processes that work on a node's jobs, one for each place."""

    def __init__(self, coordinator: Coordinator, node_id: str, places: int = 1) -> None:
        """Take the coordinator.

        Args:
            coordinator: The coordination service.
            node_id: The node.
            places: How many processes of the node may work on jobs at most.
        """
        self._coordinator = coordinator
        self._name = f"backgrounder-{node_id}"
        self._places = range(places)

    def hold(self, wait_s: float = 0, *, place: int = 0) -> AbstractContextManager[Lease]:
        """Hold the lock of a place until the end of the block; the caller works on jobs meanwhile.

        Args:
            wait_s: Seconds to wait for another process to end its work.
            place: The place.

        Raises:
            ConflictError: Another process works on jobs there.
        """
        return self._coordinator.lock(self._lock(place), wait_s=wait_s)

    @contextmanager
    def hold_all(self) -> Iterator[None]:
        """Hold the locks of all places: no process of the node works on jobs meanwhile.

        Raises:
            ConflictError: Another process works on jobs.
        """
        with ExitStack() as stack:
            for place in self._places:
                stack.enter_context(self.hold(place=place))
            yield

    def is_there(self) -> bool:
        """Whether a process works on jobs now; nothing is written, so a full disk does not keep the answer back.

        Raises:
            StorageError: The locks cannot be looked at.
        """
        return any(self._coordinator.holder(self._lock(place)) for place in self._places)

    def _lock(self, place: int) -> str:
        return f"{self._name}-{place}" if place else self._name
