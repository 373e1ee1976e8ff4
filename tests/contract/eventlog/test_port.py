"""The contract of the EventLog port, run over every implementation (house 2.6).

A new implementation adds one function that opens a log in a folder, and one row in `OPENERS`. Processes reach the
same log by the same function.
"""

import multiprocessing
import threading
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import partial
from itertools import pairwise
from pathlib import Path

import pytest

from strongroom.clock import FixedClock
from strongroom.errors import FormatError
from strongroom.eventlog.base import Event, EventLog, Query
from strongroom.eventlog.events import key_events, secret_events
from strongroom.eventlog.jsonl import JsonlEventLog
from tests.contract.eventlog.test_checkpoints import SIGNER

Opener = Callable[[Path], EventLog]
_THREADS = 8
_EACH = 12


def open_jsonl(folder: Path) -> JsonlEventLog:
    clock = FixedClock(datetime(2026, 11, 21, 20, 0, 0, tzinfo=UTC))
    return JsonlEventLog(folder / "node1.jsonl", "node1", clock, find_signer=lambda: SIGNER)


OPENERS = [pytest.param(open_jsonl, id="jsonl")]


@pytest.fixture(params=OPENERS)
def opener(request: pytest.FixtureRequest) -> Opener:
    chosen: Opener = request.param
    return chosen


@pytest.fixture
def log(opener: Opener, tmp_path: Path) -> EventLog:
    return opener(tmp_path)


def shown(actor: str, *names: str) -> list[Event]:
    return [secret_events.secret_revealed(actor, name) for name in names]


def seen(log: EventLog) -> list[tuple[str, str]]:
    """Who showed what, in the order of the log."""
    found = []
    for record in log.read(Query(ids=frozenset({secret_events.SECRET_REVEALED}))):
        details = record["details"]
        assert isinstance(details, dict)
        found.append((str(record["actor"]), str(details["parameter"])))
    return found


def append_many(log: EventLog, actor: str) -> None:
    for number in range(_EACH):
        log.append(shown(actor, f"{number}.a", f"{number}.b", f"{number}.c"))


def check_unbroken(found: Sequence[tuple[str, str]], actors: Sequence[str]) -> None:
    """Everybody's events in their order, and no append torn apart by another."""
    assert len(found) == 3 * _EACH * len(actors)
    for at in range(0, len(found), 3):
        actor, name = found[at]
        number = name.partition(".")[0]
        assert found[at : at + 3] == [(actor, f"{number}.{part}") for part in "abc"]
    for actor in actors:
        numbers = [int(name.partition(".")[0]) for one, name in found if one == actor]
        assert all(before <= after for before, after in pairwise(numbers))


def run_threads(works: Sequence[Callable[[], None]]) -> None:
    threads = [threading.Thread(target=work) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
        assert not thread.is_alive()


def test_nothing_was_appended(log: EventLog) -> None:
    log.append([])
    assert list(log.read()) == []
    assert list(log.history(secret_events.SECRET_REVEALED)) == []


def test_another_reader_sees_what_was_appended(opener: Opener, tmp_path: Path) -> None:
    opener(tmp_path).append(shown("os:ada", "a", "b"))
    assert seen(opener(tmp_path)) == [("os:ada", "a"), ("os:ada", "b")]


def test_threads_share_a_log(log: EventLog) -> None:
    actors = [f"user:{number}" for number in range(_THREADS)]
    run_threads([partial(append_many, log, actor) for actor in actors])
    check_unbroken(seen(log), actors)


def test_threads_of_processes_share_a_log(opener: Opener, tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    groups = [[f"user:{process}.{thread}" for thread in range(3)] for process in range(2)]
    processes = [context.Process(target=_race, args=(opener, tmp_path, group)) for group in groups]
    for process in processes:
        process.start()
    for process in processes:
        process.join(120)
    assert [process.exitcode for process in processes] == [0, 0]
    check_unbroken(seen(opener(tmp_path)), [actor for group in groups for actor in group])


def test_what_one_does_wrong_is_told_to_that_one_only(log: EventLog) -> None:
    """An event that is too long, among those of others that may be written together with it."""
    too_long = [
        *shown("os:eve", "first"),
        Event(secret_events.SECRET_REVEALED, "os:eve", {"parameter": "x" * 20_000}),
    ]
    refused: list[FormatError] = []

    def eve() -> None:
        for _ in range(_EACH):
            try:
                log.append(too_long)
            except FormatError as error:
                refused.append(error)

    actors = ["user:1", "user:2", "user:3"]
    run_threads([eve, *(partial(append_many, log, actor) for actor in actors)])
    assert len(refused) == _EACH
    assert len(set(map(id, refused))) == _EACH
    check_unbroken(seen(log), actors)


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        (Query(ids=frozenset({key_events.MEK_RETIRED})), ["m"]),
        (
            Query(ids=frozenset({key_events.MEK_RETIRED, secret_events.SECRET_REVEALED})),
            ["a", "b", "m", "c"],
        ),
        (Query(ids=frozenset({key_events.MEK_RETIRED}), actor="os:ada"), []),
        (Query(actor="os:ada"), ["a", "b", "c"]),
        (Query(actor="os:ada", limit=2), ["b", "c"]),
        (Query(ids=frozenset({secret_events.SECRET_REVEALED}), limit=1), ["c"]),
        (Query(ids=frozenset({key_events.MEK_RETIRED}), until="2026-11-21T19:59:59Z"), []),
        (Query(ids=frozenset({key_events.MEK_RETIRED}), since="2026-11-21T20:00:00Z"), ["m"]),
        (Query(ids=frozenset({"NO_SUCH_EVENT"})), []),
    ],
)
def test_filters(log: EventLog, query: Query, expected: list[str]) -> None:
    log.append(shown("os:ada", "a", "b"))
    log.append([key_events.mek_retired("os:bob", "m")])
    log.append(shown("os:ada", "c"))
    found = [dict(one["details"]) for one in log.read(query)]  # type: ignore[call-overload]
    names = [one.get("parameter", one.get("mek_id")) for one in found]
    assert [
        name for name in names if name is not None
    ] == expected  # the log itself may have told something, too


def test_a_history_is_that_of_some_ids(log: EventLog) -> None:
    log.append(shown("os:ada", "a"))
    log.append([key_events.mek_retired("os:bob", "m")])
    assert [one["id"] for one in log.history(key_events.MEK_RETIRED)] == [key_events.MEK_RETIRED]


def _race(opener: Opener, folder: Path, actors: Sequence[str]) -> None:
    log = opener(folder)
    run_threads([partial(append_many, log, actor) for actor in actors])
