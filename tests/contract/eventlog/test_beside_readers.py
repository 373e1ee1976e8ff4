"""Who reads much holds nobody up: appends go on in the middle of it (findings R4, R16)."""

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from strongroom.clock import SystemClock
from strongroom.eventlog import audit, chain, logfile
from strongroom.eventlog.base import Query
from strongroom.eventlog.events import key_events
from strongroom.eventlog.jsonl import JsonlEventLog
from tests.contract.eventlog.test_checkpoints import make, some

_LIMIT_S = 60


@pytest.fixture
def log(tmp_path: Path) -> JsonlEventLog:
    found = make(tmp_path)
    found.append(some(50))
    found.archive("os:ada", "long")
    found.append(some(50))
    return found


class Beside:
    """Appends once, from another process's point of view, when somebody is in the middle of reading."""

    def __init__(self, log: JsonlEventLog) -> None:
        self.log = make(log.path.parent)
        self.went_on: bool | None = None

    def __call__(self) -> None:
        if self.went_on is None:
            thread = threading.Thread(target=self.log.append, args=(some(1, 900),), daemon=True)
            thread.start()
            thread.join(_LIMIT_S)
            self.went_on = not thread.is_alive()


def test_verifying(log: JsonlEventLog, monkeypatch: pytest.MonkeyPatch) -> None:
    """R4: what it verifies is the log as it was when it began."""
    beside, verify = Beside(log), audit.verify
    before = log.verify().head

    def stopped(lines: Any, kept: Any) -> audit.Report:
        def passed_on() -> Iterator[bytes]:
            for line in lines:
                yield line
                beside()

        return verify(passed_on(), kept)

    monkeypatch.setattr(audit, "verify", stopped)
    report = log.verify()
    assert beside.went_on, "the append waited for the end of the verification"
    assert (report.is_whole, report.head, report.unsigned) == (True, before, 0)
    assert log.verify().head.seq == before.seq + 1


READERS: dict[str, Callable[[JsonlEventLog], object]] = {
    "verify": lambda log: log.verify(),
    "problems": lambda log: log.problems(),
    "read": lambda log: list(log.read()),
    "the newest": lambda log: list(log.read(Query(ids=frozenset({"EVENT_LOG_ARCHIVED"}), limit=5))),
    "secret_times": lambda log: log.secret_times(),
}


@pytest.mark.parametrize("read", READERS.values(), ids=READERS)
def test_every_reader(
    log: JsonlEventLog, read: Callable[[JsonlEventLog], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each of them goes through one of these two functions, which stop after their first line."""
    beside = Beside(log)
    for name in ("_lines", "lines_backwards"):
        original = getattr(logfile, name)

        def stopped(
            *arguments: Any, original: Callable[..., Iterator[bytes]] = original
        ) -> Iterator[bytes]:
            for line in original(*arguments):
                yield line
                if threading.current_thread() is threading.main_thread():
                    beside()

        monkeypatch.setattr(logfile, name, stopped)
    read(log)
    assert beside.went_on, "the append waited for the reader"
    assert log.verify().is_whole


def test_a_torn_end_is_judged_as_it_was(
    log: JsonlEventLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next writer sets it aside and writes over it, while a verification may be at its beginning."""
    with log.path.open("ab") as file:
        file.write(b"foreign line\n{torn")
    before = log.verify()
    assert [found.what for found in before.breaks] == ["not a line of the event log"]
    beside, verify = Beside(log), audit.verify

    def stopped(lines: Any, kept: Any) -> audit.Report:
        beside()
        return verify(lines, kept)

    monkeypatch.setattr(audit, "verify", stopped)
    assert log.verify() == before
    assert beside.went_on


def test_archiving_reads_the_end_only(log: JsonlEventLog, monkeypatch: pytest.MonkeyPatch) -> None:
    """R4: it holds the lock, so what it does must not grow with the log."""
    parsed: list[bytes] = []
    head_of = chain.head_of

    def counted(line: bytes) -> chain.Head:
        parsed.append(line)
        return head_of(line)

    log.append(some(3000, 1000))
    monkeypatch.setattr(log, "_clock", SystemClock())
    monkeypatch.setattr(chain, "head_of", counted)
    log.archive("os:ada", "longer")
    assert len(parsed) < 10


def test_catching_up_reads_what_is_behind_the_checkpoint_only(
    log: JsonlEventLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """R4, R10: an append after a kill holds the lock, too."""
    log.append(some(3000, 1000))
    make(log.path.parent, None).append(some(3, 5000))
    read: list[bytes] = []
    original = logfile.lines_backwards

    def counted(*arguments: Any) -> Iterator[bytes]:
        for line in original(*arguments):
            read.append(line)
            yield line

    monkeypatch.setattr(logfile, "lines_backwards", counted)
    monkeypatch.setattr(logfile, "lines_up_to", lambda *_: pytest.fail("all was read"))
    log.append([key_events.mek_retired("os:ada", "m")])
    assert len(read) == 4
    assert log.verify().is_whole
