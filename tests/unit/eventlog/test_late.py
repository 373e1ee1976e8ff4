"""Lines that were signed later than they were written, and who acknowledged them (format/events.md §6)."""

import pytest

from strongroom.eventlog import chain
from strongroom.eventlog.base import Event
from strongroom.eventlog.events import log_events, secret_events
from strongroom.eventlog.late import Late, Remarks

KEY = "strongroom/i/node1+00000000+AA=="


def _late(*written: Event) -> tuple[Late, ...]:
    """What the remarks find in a log of these events."""
    remarks, head = Remarks(), chain.Head()
    for number, event in enumerate(written, 1):
        line = chain.make_line(event, head, time="2026-11-21T20:00:00Z", node="node1")
        head = chain.head_of(line)
        remarks.take(line, number)
    return remarks.late()


def _other(number: int = 0) -> Event:
    return secret_events.secret_revealed("os:ada", f"parameter.{number}")


def _acknowledged(*names: str) -> Event:
    [event] = log_events.event_log_acknowledged("os:ada", acknowledged=names, reason="read")
    return event


def test_a_log_that_was_signed_in_time_has_none() -> None:
    assert _late() == ()
    assert _late(log_events.event_log_signed(KEY, 0), _other(), _acknowledged("1-2")) == ()


@pytest.mark.parametrize(
    ("remark", "found"),
    [
        (log_events.event_log_unsigned(first=1, last=2), Late(1, 2, 3)),
        (log_events.event_log_signed(KEY, 2), Late(1, 2, 3, log_events.EVENT_LOG_SIGNED)),
    ],
)
def test_each_is_acknowledged_by_its_numbers_behind_the_line_that_tells_of_it(
    remark: Event, found: Late
) -> None:
    before = (_other(), _other())
    assert _late(*before, remark) == (found,)
    assert _late(*before, remark, _acknowledged("1-2")) == (found._replace(acknowledged=4),)
    assert _late(*before, remark, _other(), _acknowledged("9-9", "1-2"), _acknowledged("1-2")) == (
        found._replace(acknowledged=5),
    )
    for name in ("1-3", "2-2", "1-2x", "1", "reason", ""):
        assert _late(*before, remark, _acknowledged(name)) == (found,), name
    early = _late(_other(), _acknowledged("1-1"), log_events.event_log_unsigned(first=1, last=1))
    assert early == (Late(1, 1, 3),), "nobody can have read what the log had not told"


def test_an_acknowledgement_that_was_signed_late_counts_for_nothing() -> None:
    log = (
        _other(),
        log_events.event_log_unsigned(first=1, last=1),
        _acknowledged("1-1"),
        log_events.event_log_unsigned(first=3, last=3),
    )
    assert [one.acknowledged for one in _late(*log)] == [0, 0]
    assert [one.acknowledged for one in _late(*log, _acknowledged("3-3"))] == [0, 5]
    assert [one.acknowledged for one in _late(*log, _acknowledged("1-1", "3-3"))] == [5, 5]


def test_a_remark_without_numbers_stands_for_itself() -> None:
    """Whoever forges a line may leave out what ours have: it ended the verification with a traceback."""
    for event_id in (log_events.EVENT_LOG_UNSIGNED, log_events.EVENT_LOG_SIGNED):
        [late] = _late(_other(), Event(event_id, "system", {"first": "x"}))
        assert (late.last, late.told) == (2, 2)
    assert _late(Event(log_events.EVENT_LOG_ACKNOWLEDGED, "system", {})) == ()
    assert _late(Event(log_events.EVENT_LOG_TORN, "system", {})) == ()


def test_lines_that_are_none_are_passed_over() -> None:
    remarks = Remarks()
    line = chain.make_line(
        log_events.event_log_unsigned(first=1, last=1),
        chain.Head(),
        time="2026-11-21T20:00:00Z",
        node="node1",
    )
    start = line.index(b'{"first"')
    end = line.index(b"}", start) + 1
    remarks.take(b'x"id":"EVENT_LOG_UNSIGNED"', 1)
    remarks.take(line[:start] + b"[]" + line[end:], 2)
    assert remarks.late() == ()
