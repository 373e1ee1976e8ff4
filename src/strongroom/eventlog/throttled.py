"""Throttles events that strangers can cause: a few in an interval are written, the others only counted (S8, S16).

A client without any credential must not be able to fill the log, nor to bury the events of others in it. The throttle
knows nothing of the events' content and keeps its count in memory: a killed process forgets how many it had held back.
"""

import threading
from datetime import datetime, timedelta

from strongroom.clock import Clock

INTERVAL = timedelta(minutes=1)


class Throttle:
    """Decides which of many events of one kind are written; for many threads.

    Args:
        clock: Gives the present.
        interval: The length of an interval.
        at_once: How many events may be written in one interval.
    """

    def __init__(self, clock: Clock, interval: timedelta = INTERVAL, *, at_once: int = 1) -> None:
        self._clock = clock
        self._interval = interval
        self._at_once = at_once
        self._guard = threading.Lock()
        self._began_at: datetime | None = None
        self._written = 0
        self._held_back = 0

    def turn(self) -> int | None:
        """How many events were held back since the last written one; None if this event is held back, too."""
        now = self._clock.now()
        with self._guard:
            if not self._is_within(now):
                self._began_at, self._written = now, 0
            if self._written >= self._at_once:
                self._held_back += 1
                return None
            self._written += 1
            held_back, self._held_back = self._held_back, 0
            return held_back

    def rest(self, *, last: bool = False) -> int:
        """How many events were held back, to be reported now since no later event reports them; 0 within the interval.

        Args:
            last: The process ends: report without waiting for the end of the interval.
        """
        now = self._clock.now()
        with self._guard:
            if not last and self._is_within(now):
                return 0
            held_back, self._held_back = self._held_back, 0
            if held_back:
                self._began_at, self._written = now, 1
            return held_back

    def _is_within(self, now: datetime) -> bool:
        # a clock that was set back an hour would otherwise hold events back for an hour
        began = self._began_at
        return began is not None and timedelta(0) <= now - began < self._interval
