"""Events that anybody can cause (findings S8)."""

from datetime import UTC, datetime, timedelta

import pytest

from strongroom.clock import FixedClock
from strongroom.eventlog.throttled import Throttle


@pytest.fixture
def clock() -> FixedClock:
    return FixedClock(datetime(2026, 11, 21, 20, 0, 0, tzinfo=UTC))


def test_so_many_are_told_and_the_others_are_counted(clock: FixedClock) -> None:
    throttle = Throttle(clock, at_once=3)
    assert [throttle.turn() for _ in range(6)] == [0, 0, 0, None, None, None]
    clock.moment += timedelta(seconds=59)
    assert throttle.turn() is None
    clock.moment += timedelta(seconds=1)
    assert [throttle.turn() for _ in range(4)] == [4, 0, 0, None]


def test_a_clock_that_was_set_back_does_not_silence(clock: FixedClock) -> None:
    throttle = Throttle(clock)
    assert throttle.turn() == 0
    clock.moment -= timedelta(days=1)
    assert throttle.turn() == 0


def test_the_rest_is_told_once_and_not_too_early(clock: FixedClock) -> None:
    throttle = Throttle(clock)
    assert (throttle.rest(), throttle.rest(last=True)) == (0, 0)
    assert [throttle.turn() for _ in range(3)] == [0, None, None]
    assert throttle.rest() == 0
    clock.moment += timedelta(minutes=1)
    assert (throttle.rest(), throttle.rest()) == (2, 0)
    assert throttle.turn() is None, "the rest was told in this minute"
    assert (throttle.rest(last=True), throttle.rest(last=True)) == (1, 0)
