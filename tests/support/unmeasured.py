"""An environment in which coverage does not measure a process.

Coverage writes files of its own, imports what it likes, and takes a lock in the midst of the code that it measures. That
lock is never released if Ctrl-C strikes while it is held, and the process then waits for itself for ever: one of some
sixty interrupted commands did.
"""

import os


def environment() -> dict[str, str]:
    """The environment of this process without coverage's variables."""
    return {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE")}
