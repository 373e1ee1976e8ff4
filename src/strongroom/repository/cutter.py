"""Ends the wait for an answer that does not come, by shutting the connection's socket down.

The limits of PostgreSQL itself end what it does, and those of TCP a peer that is gone. Neither helps if the peer's TCP
is alive and the answer is lost on the way, as behind a proxy or a firewall that forgot the connection.
"""

import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from strongroom.errors import StorageError


@dataclass(frozen=True)
class _Wait:
    until: float
    descriptor: Callable[[], int]


class Cutter:
    """Watches waits, by one thread, which begins with the first wait."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._waits: dict[object, _Wait] = {}
        self._thread: threading.Thread | None = None
        self._is_closed = False

    @contextmanager
    def within(self, descriptor: Callable[[], int], limit_s: float) -> Iterator[None]:
        """Cut the connection if the block lasts longer.

        Args:
            descriptor: Returns the descriptor of the connection's socket; raises if the connection is closed.
            limit_s: Seconds that the block may last.
        """
        turn = self.begin(descriptor, limit_s)
        try:
            yield
        finally:
            self.end(turn)

    def begin(self, descriptor: Callable[[], int], limit_s: float) -> object:
        """Begin to watch a wait; returns what `end` takes.

        Raises:
            StorageError: The system gives no thread now; the next wait tries it again (findings R17).
        """
        turn, wait = object(), _Wait(time.monotonic() + limit_s, descriptor)
        with self._changed:
            if self._thread is None:
                self._thread = self._started()
            sooner = all(wait.until < other.until for other in self._waits.values())
            self._waits[turn] = wait
            if sooner:
                self._changed.notify()
        return turn

    def end(self, turn: object) -> None:
        """The answer has come; ending a wait twice is no error."""
        with self._changed:
            self._waits.pop(turn, None)

    def close(self) -> None:
        """End the thread."""
        with self._changed:
            self._is_closed = True
            self._changed.notify()
        if self._thread is not None:
            self._thread.join()

    def _started(self) -> threading.Thread:
        thread = threading.Thread(target=self._watch, name="cutter", daemon=True)
        try:
            thread.start()
        except RuntimeError as error:
            raise StorageError("the system gives no thread that bounds waits") from error
        return thread

    def _watch(self) -> None:
        with self._changed:
            while not self._is_closed:
                now = time.monotonic()
                for turn, wait in list(self._waits.items()):
                    if wait.until <= now:
                        del self._waits[turn]
                        _cut(wait.descriptor)
                nearest = min((wait.until for wait in self._waits.values()), default=None)
                self._changed.wait(None if nearest is None else max(0.0, nearest - now))


def _cut(descriptor: Callable[[], int]) -> None:
    # whatever the driver raises for a connection that is closed by now: there is nothing left to cut
    with suppress(Exception), socket.socket(fileno=os.dup(descriptor())) as link:
        link.shutdown(socket.SHUT_RDWR)
