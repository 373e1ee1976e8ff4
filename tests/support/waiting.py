"""Waiting for what another process does in its own time; a limit, so that a test ends."""

import time
from collections.abc import Callable

_LIMIT_S = 120
_PAUSE_S = 0.05


def in_the_end(holds: Callable[[], bool]) -> None:
    """Return when something holds; fails if it never does."""
    limit = time.monotonic() + _LIMIT_S
    while not holds():
        assert time.monotonic() < limit, "waited for in vain"
        time.sleep(_PAUSE_S)
