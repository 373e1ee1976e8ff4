"""What coverage does not measure: some processes, and the tests that only repeat lines that others reach.

Coverage writes files of its own, imports what it likes, and takes a lock in the midst of the code that it measures. That
lock is never released if Ctrl-C strikes while it is held, and the process then waits for itself for ever: one of some
sixty interrupted commands did.

It makes a test take nearly twice its time (CPython before 3.12 calls it at each call of each function, ours or not). So
it is on for the tests that prove one thing at a time, `tests/unit` and `tests/contract`, and off for those that say what
hundreds of inputs, other people's tools or whole stories do: a line that only those reach is a line without a test.

A process from its start costs most: half a second of imports is a whole one when it is measured. The product's commands
and servers run as forks of one process that has the modules (`forked`), and those are measured; a process that a test
starts by itself is so only in a module marked `measured_processes`.
"""

import os
from pathlib import Path

import coverage
import pytest

_MEASURED_FOLDERS = ("unit", "contract")
# the slowest first: a worker that begins one of them last lets all others wait
_OTHERS = (
    "canary",
    "docs",
    "interop",
    "torture",
    *_MEASURED_FOLDERS,
    "property",
    "vectors",
    "structure",
)
_ROOT = Path(__file__).resolve().parent.parent


def environment() -> dict[str, str]:
    """The environment of this process without coverage's variables."""
    return {name: value for name, value in os.environ.items() if not _is_of_coverage(name)}


def is_measured(item: pytest.Item) -> bool:
    """Whether coverage counts what a test runs."""
    is_table = any(item.get_closest_marker(name) is not None for name in ("table", "crossed"))
    return _folder(item) in _MEASURED_FOLDERS and not is_table


def place(item: pytest.Item) -> int:
    """Where a test stands in a whole run: measured ones come first, or they would find modules that were imported unseen."""
    if is_measured(item):
        return 0
    folder = _folder(item)
    return 1 + (_OTHERS.index(folder) if folder in _OTHERS else len(_OTHERS))


class Measurement:
    """Coverage of this process, of its forks, and of the processes that it starts if they are asked for; it can pause."""

    def __init__(self) -> None:
        self._coverage = coverage.Coverage.current()
        self._variables = {one: os.environ[one] for one in os.environ if _is_of_coverage(one)}
        self._is_on = self._coverage is not None

    @property
    def is_on(self) -> bool:
        """Whether what this process runs now is measured."""
        return self._is_on

    @property
    def variables(self) -> dict[str, str]:
        """The variables by which processes of a measured run know that they are measured."""
        return dict(self._variables)

    def switch(self, *, on: bool, processes: bool = False) -> None:
        """Let coverage go on, or pause; without a measurement nothing happens.

        Args:
            on: Whether this process is measured from now on, and its forks.
            processes: Whether the processes that it starts are as well.
        """
        if self._coverage is None:
            return
        for name, value in self._variables.items():
            if on and processes:
                os.environ[name] = value
            else:
                os.environ.pop(name, None)
        if on == self._is_on:
            return
        self._is_on = on
        if on:
            self._coverage.start()
        else:
            self._coverage.stop()


def _is_of_coverage(name: str) -> bool:
    return name.startswith("COVERAGE")


def _folder(item: pytest.Item) -> str:
    return item.path.relative_to(_ROOT).parts[0]


measurement = Measurement()
"""That of this process; made before any test could pause it."""
