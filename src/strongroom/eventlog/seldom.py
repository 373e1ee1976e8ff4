"""Events that anybody can cause: one in an interval is told, the others are counted (S16).

Whoever asks without any credential must not be able to fill the log, nor to drown in it what others do. It knows
nothing of what is told, and keeps its count in memory: what was held back when a process ends is not told.
"""

import threading
from datetime import datetime, timedelta

from strongroom.clock import Clock

INTERVAL = timedelta(minutes=1)


class Seldom:
    """Says when it is time to tell again; for many threads."""

    def __init__(self, clock: Clock, interval: timedelta = INTERVAL) -> None:
        self._clock = clock
        self._interval = interval
        self._guard = threading.Lock()
        self._told_at: datetime | None = None
        self._held_back = 0

    def turn(self) -> int | None:
        """How many were held back since the last one that was told; None if this one is held back, too."""
        now = self._clock.now()
        with self._guard:
            last = self._told_at
            # a clock that was set back must not silence us for as long
            if last is not None and timedelta(0) <= now - last < self._interval:
                self._held_back += 1
                return None
            self._told_at, held_back, self._held_back = now, self._held_back, 0
            return held_back
