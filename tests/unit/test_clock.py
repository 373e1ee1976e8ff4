"""Times: K-12."""

from datetime import UTC, datetime, timedelta, timezone

import pytest

from strongroom import clock
from strongroom.errors import FormatError

SEEDS_TEXT = "2019-05-29T23:46:54Z"
SEEDS_MOMENT = datetime(2019, 5, 29, 23, 46, 54, tzinfo=UTC)


def test_the_seeds_form() -> None:
    assert clock.format_utc(SEEDS_MOMENT) == SEEDS_TEXT
    assert clock.parse_utc(SEEDS_TEXT) == SEEDS_MOMENT


def test_other_zones_are_told_in_utc() -> None:
    east = timezone(timedelta(hours=9))
    assert clock.format_utc(SEEDS_MOMENT.astimezone(east)) == SEEDS_TEXT


@pytest.mark.parametrize(
    "text",
    [
        "",
        "2019-05-29",
        "2019-05-29T23:46:54",
        "2019-05-29T23:46:54+00:00",
        "2019-05-29T23:46:54.000Z",
        "2019-05-29T23:46:54Z\n",
        "20190529T234654Z",
        "2019-W22-3T23:46:54Z",
        "2019-02-30T00:00:00Z",
        "0001-01-01T00:00:00",
        "0001-01-01T00:00:00Z",
        "2019-05-29 23:46:54Z",
        "2019-149T23:46:54.0Z",
    ],
)
def test_one_form_only(text: str) -> None:
    with pytest.raises(FormatError, match="not a UTC time"):
        clock.parse_utc(text)


def test_system_clock_gives_whole_seconds_in_utc() -> None:
    now = clock.SystemClock().now()
    assert now.microsecond == 0
    assert now.tzinfo is UTC
    assert clock.parse_utc(clock.format_utc(now)) == now


def test_fixed_clock() -> None:
    fixed = clock.FixedClock(SEEDS_MOMENT)
    assert fixed.now() == fixed.now() == SEEDS_MOMENT
    fixed.moment += timedelta(hours=1)
    assert fixed.now() == SEEDS_MOMENT + timedelta(hours=1)
