"""Keeps two jobs from working on the same extract at the same time.

Small jobs run beside a large one of the same site, and may come to the same extract. Without turns both would write a
new file, and one of them in vain. Turns are kept in memory: jobs of other processes, on this node or another,
are kept apart by the order of the queue (ADR 34).
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

_LOOK_S: Final = 0.25
"""Seconds between two checks whether a waiting job shall stop."""


class ItemTurns:
    """The extracts that are being worked on; threads share the object."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._taken: set[str] = set()

    @contextmanager
    def of(self, content_id: str, may_go_on: Callable[[], None]) -> Iterator[None]:
        """Reserve an extract until the end of the block, waiting while another job has it.

        Args:
            content_id: The extract.
            may_go_on: Called while waiting; raises if the job shall stop.
        """
        with self._changed:
            while content_id in self._taken:
                self._changed.wait(_LOOK_S)
                may_go_on()
            self._taken.add(content_id)
        try:
            yield
        finally:
            with self._changed:
                self._taken.discard(content_id)
                self._changed.notify_all()
