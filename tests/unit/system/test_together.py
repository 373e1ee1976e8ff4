"""Several calls at once, of which none is waited for longer than a limit."""

import threading
import time
from collections.abc import Callable

import pytest

from strongroom.system import together


def test_the_results_of_calls_that_are_under_way_together() -> None:
    barrier = threading.Barrier(3, timeout=5)

    def call(number: int) -> Callable[[], int]:
        def run() -> int:
            barrier.wait()
            return number

        return run

    found = together.within(5, {str(number): call(number) for number in range(3)})
    assert found == {"0": 0, "1": 1, "2": 2}


def test_a_call_that_does_not_end_is_not_waited_for() -> None:
    ended = threading.Event()
    begun = time.monotonic()
    try:
        found = together.within(
            0.2, {"hangs": ended.wait, "also": ended.wait, "ends": lambda: True}
        )
    finally:
        ended.set()
    assert found == {"hangs": None, "also": None, "ends": True}
    assert time.monotonic() - begun < 2


def test_what_a_call_raises_is_raised() -> None:
    def fail() -> None:
        raise ValueError("of the test")

    with pytest.raises(ValueError, match="of the test"):
        together.within(5, {"fails": fail})
