"""The parts of a body that its reader comes for, asked for at once: their requests run side by side, not in turn."""

import threading
from collections.abc import Callable, Iterable
from concurrent.futures import Executor, Future
from dataclasses import dataclass
from typing import Final

from strongroom.system.positions import Span

GAP_BYTES: Final = 256 * 1024
"""Parts that lie nearer to each other are one request: that many bytes come sooner than another answer."""

Fetch = Callable[[int, int], bytes]
"""Gives the bytes of the body from an offset on, so many as are asked for."""


@dataclass
class _Part:
    """A part on its way, and how much of it nobody has read yet."""

    span: Span
    data: Future[bytes]
    left: int


class Expected:
    """Parts of one body that are on their way; threads share it.

    Args:
        fetch: Asks the store.
        pool: Runs the requests.
    """

    def __init__(self, fetch: Fetch, pool: Executor) -> None:
        self._fetch, self._pool = fetch, pool
        self._lock = threading.Lock()
        self._parts: list[_Part] = []

    def ask(self, spans: Iterable[Span]) -> None:
        """Ask for parts of the body, of which none is empty."""
        for start, stop in _joined(spans):
            data = self._pool.submit(self._fetch, start, stop - start)
            with self._lock:
                self._parts.append(_Part((start, stop), data, stop - start))

    def read(self, at: int, most: int) -> memoryview | None:
        """Bytes from an offset on, at most so many; None if no part has it.

        A part that was read to its end, and as many bytes of it as it has, is forgotten.
        """
        with self._lock:
            part = next((one for one in self._parts if one.span[0] <= at < one.span[1]), None)
            if part is None:
                return None
            start, stop = part.span
            count = min(most, stop - at)
            part.left -= count
            if part.left <= 0 and at + count == stop:
                self._parts.remove(part)
        return memoryview(self._bytes(part))[at - start : at - start + count]

    def forget(self) -> None:
        """Drop what nobody has read."""
        with self._lock:
            parts, self._parts = self._parts, []
        for part in parts:
            part.data.cancel()

    def _bytes(self, part: _Part) -> bytes:
        # a request that waits behind the parts of uploads is made by who waits for it
        if not part.data.cancel():
            return part.data.result()
        mine: Future[bytes] = Future()
        mine.set_result(self._fetch(part.span[0], part.span[1] - part.span[0]))
        part.data = mine
        return mine.result()


def _joined(spans: Iterable[Span]) -> list[Span]:
    """The same parts, with those in one that overlap or lie near to each other."""
    found: list[Span] = []
    for start, stop in sorted(spans):
        if found and start - found[-1][1] <= GAP_BYTES:
            found[-1] = found[-1][0], max(found[-1][1], stop)
        else:
            found.append((start, stop))
    return found
