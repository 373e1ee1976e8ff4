"""The gate before all requests of a node: it turns new ones away in a maintenance, and knows which are under way.

Closing and letting in exclude each other: behind `close` no request begins, and those that are inside are counted until
the last one is through, with the threads that work for them. So a gate that is closed and empty means that nobody is
served.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

RETRY_AFTER_S: Final = 30
"""The seconds after which a client that was turned away may come again."""
WORDS: Final = "this server is out of service for maintenance; try again later"
PROBES: Final = frozenset({"/healthz", "/readyz"})
"""The paths that answer in a maintenance, too: they tell it."""


class Gate:
    """The gate of one node; threads share it, and so do the event loops of its doors."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._is_closed = False
        self._inside: dict[object, Callable[[], None]] = {}
        self._cut: set[object] = set()
        self._working = 0

    @property
    def is_closed(self) -> bool:
        """Whether new requests are turned away."""
        return self._is_closed

    @property
    def under_way(self) -> int:
        """How many requests are inside, and threads that work for a request that is gone."""
        with self._lock:
            return max(len(self._inside), self._working)

    def close(self) -> None:
        """Turn new requests away from now on."""
        with self._lock:
            self._is_closed = True

    def open(self) -> None:
        """Let requests in again."""
        with self._lock:
            self._is_closed = False

    def enter(self, cut: Callable[[], None]) -> object | None:
        """Let a request in; None if it is turned away.

        Args:
            cut: Has the request end at once; called from any thread.

        Returns:
            The token by which the request leaves.
        """
        with self._lock:
            if self._is_closed:
                return None
            token = object()
            self._inside[token] = cut
            return token

    def leave(self, token: object) -> None:
        """A request is through."""
        with self._lock:
            self._inside.pop(token, None)
            self._cut.discard(token)

    @contextmanager
    def working(self) -> Iterator[None]:
        """A thread works for a request until the end of the block, also if the request was cut off meanwhile."""
        with self._lock:
            self._working += 1
        try:
            yield
        finally:
            with self._lock:
                self._working -= 1

    def cut(self) -> int:
        """Have the requests that are inside end at once, each of them once; returns how many.

        Whoever is cut off twice is interrupted while it tells its client.
        """
        with self._lock:
            found = [one for one in self._inside.items() if one[0] not in self._cut]
            self._cut.update(token for token, _ in found)
        for _, end in found:
            end()
        return len(found)
