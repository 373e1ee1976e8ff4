"""Runs the regular duties of a serving node, each in a thread of its own, so that a slow one delays no other."""

import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Final, NamedTuple

_END_WAIT_S: Final = 10.0
"""The time for all duties to end together; one that hangs ends with the process."""
_log = logging.getLogger("strongroom.duties")


class Duty(NamedTuple):
    """Work that a node does again and again.

    Attributes:
        name: The work, in a word or two for the log.
        every_s: Seconds between the end of one run and the begin of the next.
        run: Does it once; an error is logged, and the next run tries again.
        first_s: Seconds before the first run.
    """

    name: str
    every_s: float
    run: Callable[[], object]
    first_s: float = 0.0


class Kept:
    """Duties that are being done."""

    def __init__(self, duties: Sequence[Duty]) -> None:
        self._stopping = threading.Event()
        self._due = {one.name: threading.Event() for one in duties}
        self._threads = [
            threading.Thread(target=self._work, args=(one,), name=f"duty {one.name}", daemon=True)
            for one in duties
        ]

    def start(self) -> None:
        """Begin with all duties."""
        for thread in self._threads:
            thread.start()

    def hasten(self, name: str) -> None:
        """Have a duty done now, or once more if it is being done; from any thread.

        Args:
            name: The name of the duty.
        """
        self._due[name].set()

    def end(self) -> None:
        """End all duties; what hangs is left to the end of the process."""
        self._stopping.set()
        for due in self._due.values():
            due.set()
        for thread in self._threads:
            thread.join(_END_WAIT_S / len(self._threads))
            if thread.is_alive():
                _log.warning("the %s did not end in time", thread.name)

    def _work(self, duty: Duty) -> None:
        due = self._due[duty.name]
        if duty.first_s:
            due.wait(duty.first_s)
        while not self._stopping.is_set():
            # before the run: news that arrives while it runs asks for another one
            due.clear()
            if self._stopping.is_set():
                return
            try:
                duty.run()
            except Exception:  # noqa: BLE001 an unexpected error must not end the duty for good
                _log.exception("the duty %s failed; it will be tried again", duty.name)
            due.wait(duty.every_s)


@contextmanager
def kept(duties: Sequence[Duty]) -> Iterator[Kept]:
    """Do the duties now and then regularly, until the end of the block."""
    found = Kept(duties)
    found.start()
    try:
        yield found
    finally:
        found.end()
