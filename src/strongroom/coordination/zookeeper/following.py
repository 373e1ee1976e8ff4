"""The versions of entries that this process asks for all the time, kept by a watch instead of a round trip each.

A version from here may be older than the entry by the time that a watch takes, some milliseconds. While no server answers
it grows old, and nobody is given one that is older than he takes: then the service is asked, and its failure is told.
"""

import threading
import time
from collections.abc import Callable
from typing import NamedTuple

from strongroom.coordination.base import Versioned
from strongroom.coordination.zookeeper.session import Session
from strongroom.coordination.zookeeper.settings import Limits
from strongroom.coordination.zookeeper.watching import Watch
from strongroom.errors import CoordinationError


class _Seen(NamedTuple):
    """A version, and the moment before it was asked for."""

    version: int
    at: float


class _Failed(NamedTuple):
    """A failure to ask, and when it was told."""

    error: CoordinationError
    at: float


class FollowedVersion:
    """The version of one entry, followed from the first use on."""

    def __init__(self, session: Session, path: str, limits: Limits, ask: Callable[[], int]) -> None:
        """Keep what is followed; nothing is sent before the first use.

        Args:
            session: The session.
            path: The node of the entry.
            limits: The limits of the calls.
            ask: Asks the service for the version.
        """
        self._watch = Watch(session, path, limits.poll_s)
        self._limits = limits
        self._ask = ask
        self._starting = threading.Lock()
        self._noting = threading.Lock()
        self._is_started = False
        self._seen: _Seen | None = None
        self._failed: _Failed | None = None

    def within(self, age_s: float) -> int:
        """The version at some moment of the last `age_s` seconds.

        Raises:
            CoordinationError: No server has answered since, nor does one now; or that was found out a moment ago.
        """
        self._start()
        seen, now = self._seen, time.monotonic()
        if seen is not None and now - seen.at <= age_s:
            return seen.version
        failed = self._failed
        # a caller waits for the limit of a read; the next ones must not, while the watch asks again all the time
        if failed is not None and now - failed.at <= self._limits.read_s + 1:
            raise CoordinationError(failed.error.message, hint=failed.error.hint) from failed.error
        try:
            return self._look().version
        except CoordinationError as error:
            self._note(error)
            raise

    def stop(self) -> None:
        """End the thread that follows."""
        self._watch.stop()

    def _start(self) -> None:
        with self._starting:
            if not self._is_started:
                self._watch.start(self._look, lambda _: None, self._note)
                self._is_started = True

    def _look(self) -> Versioned:
        at = time.monotonic()
        version = self._ask()
        with self._noting:
            # an answer that came late must not take the place of a newer one, which the watch would not tell again
            if self._seen is None or at >= self._seen.at:
                self._seen = _Seen(version, at)
            self._failed = None
        return Versioned(b"", version)

    def _note(self, error: CoordinationError) -> None:
        self._failed = _Failed(error, time.monotonic())
