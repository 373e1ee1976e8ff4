"""The looks of a served node at what it is to run: no failure ends them (b14)."""

from types import SimpleNamespace
from typing import Any

import pytest

from strongroom.cli.node.placement import Placement
from strongroom.errors import FormatError
from strongroom.services.jobs.processes import Counts


def test_no_failure_ends_the_looks_and_each_is_told_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    looks = []

    def look() -> None:
        looks.append(1)
        if len(looks) < 3:
            raise RuntimeError("Event loop is closed")

    def own() -> Counts:
        if len(looks) == 2:
            raise FormatError("damaged")
        if len(looks) == 3:
            raise ValueError("unexpected")
        return Counts(backgrounder=len(looks))

    draining: Any = SimpleNamespace(look=look)
    processes: Any = SimpleNamespace(own=own)
    placed, found = Placement(processes, draining), []
    for _ in range(4):
        placed.look()
        found.append(placed.counts.backgrounder)
    assert found == [1, 1, 1, 4]
    assert len(caplog.records) == 3
