"""Lines and chains of the event log (C-23, format/events.md)."""

import hashlib
import json

import pytest

from strongroom import canonical
from strongroom.errors import FormatError
from strongroom.eventlog import chain
from strongroom.eventlog.base import Event
from strongroom.eventlog.chain import Head
from strongroom.eventlog.events import directory_events, key_events, secret_events
from strongroom.service_keys.model import KeyKind


def _lines(count: int) -> list[bytes]:
    head, lines = Head(), []
    for number in range(count):
        event = secret_events.secret_revealed("os:ada", f"parameter.{number}")
        line = chain.make_line(event, head, time="2026-11-21T20:00:00Z", node="node1")
        lines.append(line)
        head = chain.head_of(line)
    return lines


def test_a_line_says_who_did_what_to_which_key_when_and_where() -> None:
    """C-23."""
    event = key_events.key_generated("os:ada", "MEK", "8ddd70df-be67-4dbf-9c35-1f0aa2421521")
    line = chain.make_line(event, Head(), time="2026-11-21T20:00:00Z", node="node1")
    assert json.loads(line) == {
        "v": 1,
        "seq": 1,
        "prev": "0" * 64,
        "time": "2026-11-21T20:00:00Z",
        "node": "node1",
        "actor": "os:ada",
        "id": "KEY_GENERATED",
        "details": {"kind": "MEK", "key_id": "8ddd70df-be67-4dbf-9c35-1f0aa2421521"},
    }


def test_lines_are_ascii_and_hold_no_line_break() -> None:
    event = directory_events.user_created("user:ada", "1", "Zoë\u2028\n☃")
    line = chain.make_line(event, Head(), time="2026-11-21T20:00:00Z", node="node1")
    assert line.isascii()
    assert b"\n" not in line
    details = chain.parse_line(line)["details"]
    assert details == {"user_id": "1", "name": "Zoë\u2028\n☃"}


def test_a_line_is_the_canonical_spelling_of_its_record() -> None:
    """The writer of lines is not the one of other documents: both spell every record alike, and the reader takes it."""
    words = ["", "é☃\U0001f511", '"\\\n\x00\x7f\u2028', "\ud800", "a" * 1000]
    values = [*words, 0, -1, 2**70, True, False, None, KeyKind.ED25519]
    details = {
        f"{word}{number}": value for number, value in enumerate(values) for word in words[:4]
    }
    for actor in words:
        line = chain.make_line(
            Event("X", actor, details), Head(6, "a" * 64), time="2026-11-21T20:00:00Z", node="node1"
        )
        record = chain.parse_line(line)
        assert line == canonical.dumps(record, canonical.ASCII)
        assert (record["details"], record["actor"], record["seq"]) == (details, actor, 7)


def test_a_chain_verifies() -> None:
    lines = _lines(5)
    report = chain.verify(lines)
    assert report.breaks == ()
    assert report.head == Head(5, hashlib.sha256(lines[-1]).hexdigest())
    assert chain.verify([]).head == Head()


@pytest.mark.parametrize(
    ("change", "line"),
    [
        pytest.param(lambda a: [a[0], a[1].replace(b"ada", b"eve"), *a[2:]], 3, id="edited"),
        pytest.param(lambda a: [a[0], *a[2:]], 2, id="removed"),
        pytest.param(lambda a: [a[0], a[0], *a[1:]], 2, id="inserted"),
        pytest.param(lambda a: [a[0], a[2], a[1], *a[3:]], 2, id="reordered"),
        pytest.param(lambda a: a[1:], 1, id="beginning-removed"),
        pytest.param(lambda a: [a[0], b"{}", *a[1:]], 2, id="foreign"),
    ],
)
def test_what_was_done_to_a_chain_is_found_at_its_line(change: object, line: int) -> None:
    assert callable(change)
    report = chain.verify(change(_lines(5)))
    assert report.breaks[0].line == line
    assert report.breaks[0].what


def test_a_wrong_number_is_found_although_the_digest_fits() -> None:
    first = _lines(1)[0]
    head = Head(7, hashlib.sha256(first).hexdigest())
    second = chain.make_line(Event("X", "system"), head, time="2026-11-21T20:00:00Z", node="node1")
    assert chain.verify([first, second]).breaks[0].what == "its number is 8, not 2"


def test_an_event_too_long_for_a_line_is_refused() -> None:
    event = Event("X", "system", {"text": "x" * chain.MAX_LINE_BYTES})
    with pytest.raises(FormatError, match="has over"):
        chain.make_line(event, Head(), time="2026-11-21T20:00:00Z", node="node1")


@pytest.mark.parametrize("value", [b"key", 1.5, ["x"]])
def test_a_detail_of_another_kind_is_refused(value: object) -> None:
    event = Event("X", "system", {"value": value})  # type: ignore[dict-item]  # what is tested
    with pytest.raises(FormatError, match="no text and no whole number"):
        chain.make_line(event, Head(), time="2026-11-21T20:00:00Z", node="node1")


@pytest.mark.parametrize(
    "line",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"{", id="no-json"),
        pytest.param(b"[]", id="no-object"),
        pytest.param(b"{}", id="no-fields"),
        pytest.param(b"[" * 20_000, id="deep"),
        pytest.param(_lines(1)[0] + b" ", id="not-canonical"),
        pytest.param(_lines(1)[0].replace(b'"v":1', b'"v":2'), id="other-version"),
        pytest.param(_lines(1)[0].replace(b'"seq":1', b'"seq":"1"'), id="no-number"),
    ],
)
def test_what_is_no_line_is_refused(line: bytes) -> None:
    with pytest.raises(FormatError):
        chain.parse_line(line)
