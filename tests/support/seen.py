"""Lets a test look into a process of the product where a user runs the tests.

The product hides its memory, descriptors and environment from all programs of its user (`system.process_memory`). Root
looks all the same, so as root nothing here changes anything. A user's tracer would see no path of a call, no descriptor
and no environment, and tests that choose calls by their paths would choose none. For those tests the process is started
without that one step, which has tests of its own (`tests/contract/cli/test_process_memory.py`).
"""

import os
import sys
from collections.abc import Sequence
from pathlib import Path

_PROGRAM = """
import runpy, sys
from strongroom.system import process_memory
process_memory.keep_private = lambda: None
del sys.argv[0]
sys.path.insert(0, "")
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def words(command: Sequence[str | Path]) -> list[str]:
    """The command line of one of the product's scripts, for a process that may be looked into."""
    plain = [str(word) for word in command]
    return plain if os.geteuid() == 0 else [sys.executable, "-c", _PROGRAM, *plain]


def allow() -> None:
    """The same for the process that calls this, before it runs a command of the product."""
    if os.geteuid() != 0:
        from strongroom.system import process_memory

        process_memory.keep_private = lambda: None
