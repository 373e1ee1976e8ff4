"""Choosing among records (finding R16): by pages, from both ends, and as they come."""

import random
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from strongroom.clock import FixedClock
from strongroom.errors import FormatError
from strongroom.eventlog import chain, logfile
from strongroom.eventlog.base import Query
from strongroom.eventlog.events import key_events, secret_events
from strongroom.eventlog.jsonl import JsonlEventLog
from tests.contract.eventlog.test_checkpoints import SIGNER

_IDS = ["KEY_GENERATED", "SECRET_REVEALED", "EVENT_LOG_SIGNED", "MEK_RETIRED"]
_ACTORS = ["os:ada", "user:bob", 'user:o"hara \\ é', "system"]


class Enough(Exception):  # noqa: N818 it ends a follower
    """Raised instead of waiting on."""


@pytest.fixture
def log(tmp_path: Path) -> JsonlEventLog:
    clock = FixedClock(datetime(2026, 11, 21, 20, 0, 0, tzinfo=UTC))
    return JsonlEventLog(tmp_path / "node1.jsonl", "node1", clock, find_signer=lambda: SIGNER)


def _fill(log: JsonlEventLog, count: int) -> None:
    chance = random.Random(count)
    for number in range(count):
        log._clock.moment += timedelta(seconds=chance.choice([0, 1, 7, -3]))  # type: ignore[attr-defined]
        actor = chance.choice(_ACTORS)
        reason = chance.choice(["", '},"id":"KEY_GENERATED","node":"x', "a\nb", "x" * 2000])
        log.append(
            [
                secret_events.secret_revealed(actor, f"p.{number}", reason=reason)
                if chance.random() < 0.7
                else key_events.key_generated(actor, "MEK", f"m{number}")
            ]
        )


def _plain(log: JsonlEventLog, query: Query) -> list[Any]:
    """The same by reading all: what the choice must be."""
    found = [
        record
        for record in map(chain.parse_line, log.path.read_bytes().splitlines())
        if query.since <= str(record["time"]) <= (query.until or "~")
        and (not query.ids or record["id"] in query.ids)
        and query.actor in {"", record["actor"]}
    ]
    return found if query.limit is None else found[-query.limit :]


def test_every_choice_is_that_of_reading_all(log: JsonlEventLog) -> None:
    _fill(log, 120)
    times = sorted({str(record["time"]) for record in log.read()})
    chance = random.Random(7)
    for _ in range(150):
        query = Query(
            since=chance.choice(["", *times]),
            until=chance.choice(["", *times]),
            ids=frozenset(chance.sample(_IDS, chance.randrange(3))),
            actor=chance.choice(["", *_ACTORS, "os:nobody"]),
            limit=chance.choice([None, 1, 3, 1000]),
        )
        assert list(log.read(query)) == _plain(log, query), query


def test_the_newest_are_read_from_the_end(
    log: JsonlEventLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    log.append([secret_events.secret_revealed("os:ada", f"p.{n}") for n in range(5000)])
    read: list[int] = []
    pread = logfile.os.pread  # type: ignore[attr-defined]

    def counted(handle: int, size: int, offset: int) -> Any:
        read.append(size)
        return pread(handle, size, offset)

    monkeypatch.setattr(logfile.os, "pread", counted)  # type: ignore[attr-defined]
    monkeypatch.setattr(logfile, "_lines", lambda *_: iter(()))
    assert len(list(log.read(Query(limit=20)))) == 20
    assert sum(read) < 4 * logfile.BLOCK_BYTES < log.path.stat().st_size


def test_no_more_than_one_record_is_held(
    log: JsonlEventLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    log.append([secret_events.secret_revealed("os:ada", f"p.{n}") for n in range(300)])
    parsed: list[bytes] = []
    parse_line = chain.parse_line

    def counted(line: bytes) -> Any:
        parsed.append(line)
        return parse_line(line)

    found = log.read(Query(ids=frozenset({"SECRET_REVEALED"})))
    next(found)
    monkeypatch.setattr(chain, "parse_line", counted)
    next(found)
    assert len(parsed) == 1


@pytest.mark.parametrize("limit", [None, 2])
def test_a_damaged_line_is_told_and_not_passed_over(log: JsonlEventLog, limit: int | None) -> None:
    """What does not look like a line might have been one that is asked for."""
    log.append([secret_events.secret_revealed("os:ada", f"p.{n}") for n in range(3)])
    lines = log.path.read_bytes().splitlines(keepends=True)
    log.path.write_bytes(b"".join([*lines[:2], lines[2].replace(b'"v":1', b'"v":2'), *lines[3:]]))
    with pytest.raises(FormatError, match=r"line \d .*of the event log .* is damaged"):
        list(log.read(Query(actor="os:ada", limit=limit)))


def _following(log: JsonlEventLog, query: Query, *steps: Any) -> list[str]:
    """What a follower sees while this happens, step by step."""
    left = iter(steps)

    def wait() -> None:
        step = next(left, None)
        if step is None:
            raise Enough
        step()

    found = []
    try:
        for record in log.follow(query, wait):
            details = record["details"]
            assert isinstance(details, dict)
            found.append(str(details.get("parameter", record["id"])))
    except Enough:
        pass
    return found


def test_following_goes_on_with_what_comes(log: JsonlEventLog) -> None:
    def append(name: str, actor: str = "os:ada") -> Any:
        return lambda: log.append([secret_events.secret_revealed(actor, name)])

    def archive() -> None:
        log._clock.moment += timedelta(seconds=1)  # type: ignore[attr-defined]
        log.archive("os:ada", "x")

    def much() -> None:
        for name in ("d", "e", "f"):
            append(name)()
            archive()
        append("g")()

    def nothing() -> None:
        return None

    for name in ("1", "2", "3"):
        append(name)()
    seen = _following(
        log,
        Query(limit=2, ids=frozenset({"SECRET_REVEALED"})),
        append("a"),
        nothing,
        archive,
        append("b"),
        append("c", "user:bob"),
        much,
        nothing,
        append("h"),
    )
    assert seen == ["2", "3", "a", "b", "c", "d", "e", "f", "g", "h"]
    assert _following(log, Query(actor="user:bob"), append("i"), append("j", "user:bob")) == ["j"]


def test_following_waits_for_a_log_that_is_not_there(log: JsonlEventLog) -> None:
    def begin() -> None:
        log.append([secret_events.secret_revealed("os:ada", "a")])

    assert _following(log, Query(), lambda: None, begin) == ["EVENT_LOG_SIGNED", "a"]


def test_a_log_that_was_put_in_anothers_place_is_followed_from_its_beginning(
    log: JsonlEventLog, tmp_path: Path
) -> None:
    log.append([secret_events.secret_revealed("os:ada", "a")])

    def put() -> None:
        log.path.rename(tmp_path / "gone")
        log.checkpoints.path.unlink()
        log.append([secret_events.secret_revealed("os:ada", "b")])

    assert _following(log, Query(), put) == ["EVENT_LOG_SIGNED", "a", "EVENT_LOG_SIGNED", "b"]


@pytest.mark.parametrize(
    "end", [b"", b"\n", b"x", b"x\n", b"\n\nx\n", b"x" * 200_000, b"y" * 200_000 + b"\n"]
)
def test_backwards_is_forwards_turned_round(tmp_path: Path, end: bytes) -> None:
    lines = [b"l" * (number % 300) for number in range(2000)]
    path = tmp_path / "file"
    path.write_bytes(b"".join(line + b"\n" for line in lines) + end)
    with path.open("rb") as file:
        size = len(path.read_bytes()) - len(end)
        assert list(logfile.lines_backwards(file.fileno(), size)) == lines[::-1]
        # whatever stands at the end, no piece of it is longer than it may be
        found = list(logfile.lines_backwards(file.fileno(), size + len(end)))
        assert found[-2000:] == lines[::-1]
        assert max(map(len, found)) <= chain.MAX_LINE_BYTES + logfile.BLOCK_BYTES
