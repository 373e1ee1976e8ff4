"""Duties of a serving node: each again and again, at once when it is asked for, and none ends with its own error."""

import threading
import time
from collections.abc import Callable

import pytest

from strongroom.runtime import duties
from strongroom.runtime.duties import Duty

LIMIT_S = 30.0
NEVER_S = 3600.0


def reached(is_so: Callable[[], bool]) -> bool:
    end = time.monotonic() + LIMIT_S
    while not is_so() and time.monotonic() < end:
        time.sleep(0.01)
    return is_so()


def test_a_duty_is_done_at_the_start_and_when_it_is_asked_for() -> None:
    done: list[int] = []
    with duties.kept([Duty("look", NEVER_S, lambda: done.append(1))]) as kept:
        assert reached(lambda: len(done) == 1)
        kept.hasten("look")
        assert reached(lambda: len(done) == 2)


def test_news_while_a_duty_is_done_asks_for_another_run() -> None:
    begun, go_on, runs = threading.Event(), threading.Event(), []

    def run() -> None:
        runs.append(1)
        begun.set()
        assert go_on.wait(LIMIT_S)

    with duties.kept([Duty("look", NEVER_S, run)]) as kept:
        assert begun.wait(LIMIT_S)
        kept.hasten("look")
        go_on.set()
        assert reached(lambda: len(runs) == 2)


def test_an_error_ends_neither_the_duty_nor_another(caplog: pytest.LogCaptureFixture) -> None:
    runs: dict[str, int] = {"bad": 0, "good": 0}

    def bad() -> None:
        runs["bad"] += 1
        raise RuntimeError("for the test")

    def good() -> None:
        runs["good"] += 1

    with duties.kept([Duty("bad", 0.01, bad), Duty("good", 0.01, good)]):
        assert reached(lambda: min(runs.values()) >= 3)
    assert "the duty bad failed" in caplog.text
    before = dict(runs)
    time.sleep(0.05)
    assert runs == before  # the block has ended, and so have they


def test_a_duty_that_hangs_delays_no_other_and_no_end(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(duties, "_END_WAIT_S", 0.1)
    free, runs = threading.Event(), []
    hanging = Duty("hanging", NEVER_S, lambda: free.wait(LIMIT_S))
    with duties.kept([hanging, Duty("quick", 0.01, lambda: runs.append(1))]):
        assert reached(lambda: len(runs) >= 3)
    free.set()
    assert "duty hanging did not end in time" in caplog.text
