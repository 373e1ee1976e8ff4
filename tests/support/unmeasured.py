"""What coverage does not count: processes, and the tests that only repeat lines that others reach.

Counted is what `tests/unit` and `tests/contract` run, which prove one thing at a time, in this process and in its forks
(`forked`: the product's commands and servers). Not counted is what hundreds of inputs, other people's tools or whole
stories reach: a line that only those reach is a line without a test. A process that a test starts from nothing counts
neither: its code has no probes.

Probes in the product's code measure, not a tracer (`probes`): under a tracer a test takes nearly twice its time, and a
tracer takes a lock in the midst of the code that it looks at. That lock is never released if Ctrl-C strikes while it is
held, and the process then waits for itself for ever: one of some sixty interrupted commands did.
"""

import os
from pathlib import Path

import pytest

from tests.support import probes

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
    is_table = any(
        item.get_closest_marker(name) is not None for name in ("table", "crossed", "sampled")
    )
    return _folder(item) in _MEASURED_FOLDERS and not is_table


def place(item: pytest.Item) -> int:
    """Where a test stands in a whole run: measured ones come first, or they would find modules that were imported unseen."""
    if is_measured(item):
        return 0
    folder = _folder(item)
    return 1 + (_OTHERS.index(folder) if folder in _OTHERS else len(_OTHERS))


class Measurement:
    """Coverage of this process and of its forks; it can pause. Without a folder of probes there is none."""

    def __init__(self) -> None:
        self._probes = probes.install()
        self._variables = {one: os.environ[one] for one in os.environ if _is_of_coverage(one)}

    @property
    def is_on(self) -> bool:
        """Whether what this process runs now counts."""
        return self._probes is not None and self._probes.counts

    @property
    def variables(self) -> dict[str, str]:
        """The variables by which the server of forks knows that it is measured."""
        return dict(self._variables)

    def switch(self, *, on: bool) -> None:
        """Let this process count from now on, and its forks, or pause.

        No process that it starts finds the variables any more.
        """
        for name in self._variables:
            os.environ.pop(name, None)
        if self._probes is not None:
            self._probes.switch(on=on)


def _is_of_coverage(name: str) -> bool:
    return name.startswith("COVERAGE")


def _folder(item: pytest.Item) -> str:
    """The folder of the tests; empty for a test of another tree."""
    return item.path.relative_to(_ROOT).parts[0] if item.path.is_relative_to(_ROOT) else ""


measurement = Measurement()
"""That of this process; made before anything of the product is imported."""
