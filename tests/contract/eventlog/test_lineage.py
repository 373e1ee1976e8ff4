"""The chain of archived logs, from the first to the present one (crypto review S4; format/events.md §7.2)."""

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from strongroom.clock import FixedClock
from strongroom.eventlog import archiving, chain, checkpoints, lineage, notes
from strongroom.eventlog.base import Detail, Event
from strongroom.eventlog.checkpoint_form import parse
from strongroom.eventlog.events import log_events
from strongroom.eventlog.jsonl import JsonlEventLog
from strongroom.eventlog.merkle import Frontier
from tests.contract.eventlog.test_checkpoints import CLOCK, SIGNER, some


class Logs:
    """A log with two archived ones."""

    def __init__(self, folder: Path) -> None:
        self.clock = FixedClock(CLOCK.moment)
        path = folder / "node1.jsonl"
        self.log = JsonlEventLog(path, "node1", self.clock, find_signer=lambda: SIGNER)
        self.forger = JsonlEventLog(path, "node1", self.clock)
        self.first = self.archived(3)
        self.second = self.archived(5)
        self.log.append(some(2, 90))

    def archived(self, count: int) -> Path:
        self.log.append(some(count, self.clock.moment.second * 10))
        return self.archive("long")

    def archive(self, reason: str) -> Path:
        """Archive the log as it is; no two are archived in one second."""
        self.clock.moment += timedelta(seconds=1)
        return self.log.archive("os:ada", reason)

    @property
    def doubts(self) -> list[str]:
        report = self.log.verify()
        assert not report.is_changed, report.faults
        return [one.name for one in report.unacknowledged]

    @property
    def faults(self) -> tuple[str, ...]:
        return self.log.verify().faults


@pytest.fixture
def logs(tmp_path: Path) -> Logs:
    return Logs(tmp_path)


def test_a_chain_is_verified_from_the_first_to_the_present(logs: Logs) -> None:
    report = logs.log.verify()
    assert (report.is_whole, report.unacknowledged) == (True, ())
    assert report.archives == (logs.second.name, logs.first.name)


def _edit(path: Path) -> None:
    path.write_bytes(path.read_bytes().replace(b"os:ada", b"os:eve", 1))


def _cut(path: Path) -> None:
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:-1]))


def _grow(path: Path) -> None:
    JsonlEventLog(path, "node1", CLOCK).append(some(1, 7))


def _rewrite(path: Path) -> None:
    """A log of the same size, with a chain that holds and a checkpoint of the node's own key."""
    lines, head, tree = path.read_bytes().splitlines(), chain.Head(), Frontier()
    made = []
    for line in lines:
        record = chain.parse_line(line)
        details = dict(record["details"])  # type: ignore[call-overload]
        event = Event(str(record["id"]), "os:eve", details)
        made.append(chain.make_line(event, head, time=str(record["time"]), node="node1"))
        head, tree = chain.head_of(made[-1]), tree.grown(made[-1])
    path.write_bytes(b"\n".join(made) + b"\n")
    signing = checkpoints.Signing(SIGNER, Frontier(), ())
    archiving.kept_checkpoint(path).write_bytes(checkpoints.signed(signing, made, head))


@pytest.mark.parametrize("change", [_edit, _cut, _grow, _rewrite], ids=lambda one: one.__name__)
@pytest.mark.parametrize("which", ["first", "second"])
def test_an_archived_log_that_is_another_one_is_a_fault(
    logs: Logs, change: Callable[[Path], None], which: str
) -> None:
    path: Path = getattr(logs, which)
    change(path)
    says = f"the archived log {path.name} is not the one that the next log names"
    assert logs.faults == (says,)
    assert logs.log.acknowledge("os:ada", "well").is_changed
    assert logs.faults == (says,), "no acknowledgement makes it right"


def test_an_archived_log_that_is_gone_is_asked_about_once(logs: Logs) -> None:
    logs.first.unlink()
    assert logs.doubts == [logs.first.name]
    logs.log.acknowledge("os:ada", "moved to tape")
    assert logs.doubts == []
    third = logs.archived(1)
    assert (logs.doubts, logs.log.verify().archives) == ([], (third.name, logs.second.name))
    logs.second.unlink()
    assert logs.doubts == [logs.second.name], "who looks at the rest is not known any more"


def test_what_stands_before_a_gap_is_named_by_nobody(logs: Logs) -> None:
    """Whoever puts a log of his own among the archived ones is not believed by the counts that are made from them."""
    logs.second.unlink()
    assert logs.doubts == [logs.second.name, logs.first.name]
    strange = logs.first.with_name("node1.jsonl.20200101T000000Z")
    strange.write_bytes(logs.first.read_bytes())
    report = logs.log.verify()
    assert f"no log names the archived log {strange.name}" in [one.text for one in report.doubts]


def test_lines_that_were_signed_late_stay_so_in_the_archive(logs: Logs) -> None:
    """X1: an archive was a way to be rid of them."""
    logs.forger.append(some(1, 666))
    aside = logs.archived(1)
    assert logs.doubts == [f"{aside.name}:5-5"]
    logs.archived(1)
    logs.log.acknowledge("os:ada", "power")
    assert logs.doubts == []
    logs.archived(1)
    assert logs.doubts == [], "the acknowledgement counts from its archive"


def test_a_log_that_was_changed_before_it_was_archived_is_asked_about(logs: Logs) -> None:
    """The reason of a routine archive is no word on a change that nobody had seen."""
    _cut(logs.log.path)
    aside = logs.archive("end of the year")
    assert logs.doubts == [aside.name]
    logs.log.acknowledge("os:ada", "compared with the backup")
    assert logs.doubts == []
    _cut(aside)
    assert logs.faults


def test_a_broken_chain_is_seen_though_nobody_told_of_it(logs: Logs) -> None:
    """Lines that came between the look and the archive."""
    logs.log.path.write_bytes(b"strange\n" + logs.log.path.read_bytes())
    kept = logs.log.problems
    logs.log.problems = lambda: ()  # type: ignore[method-assign]
    aside = logs.archive("long")
    logs.log.problems = kept  # type: ignore[method-assign]
    assert logs.doubts == [aside.name, logs.first.name, logs.second.name]


@pytest.mark.parametrize("tail", [b"", b"half a line", b"a whole one\n", b"one\nand a half"])
def test_bytes_behind_the_last_line_are_counted_as_they_lie(logs: Logs, tail: bytes) -> None:
    with logs.log.path.open("ab") as file:
        file.write(tail)
    aside = logs.archive("torn")
    whole = not tail.count(b"\n")
    assert (logs.faults, logs.doubts) == ((), [] if whole else [aside.name])


def test_lines_that_come_while_the_log_is_read_are_counted(
    logs: Logs, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted = logs.log._counted

    def slow() -> object:
        found = counted()
        JsonlEventLog(logs.log.path, "node1", logs.clock, find_signer=lambda: SIGNER).append(
            some(3, 70)
        )
        return found

    monkeypatch.setattr(logs.log, "_counted", slow)
    aside = logs.archive("long")
    assert (logs.faults, logs.doubts) == ((), [])
    assert len(aside.read_bytes().splitlines()) == 7


# ---- archived by earlier releases ----------------------------------------------------------------


def _as_before(logs: Logs) -> None:
    """The present log as an earlier release began it, without size and root of the one before."""
    [record] = [one for one in logs.log.read() if one["id"] == log_events.EVENT_LOG_ARCHIVED]
    details: dict[str, Detail] = dict(record["details"])  # type: ignore[call-overload]
    for name in ("size", "root", "whole"):
        del details[name]
    event = Event(log_events.EVENT_LOG_ARCHIVED, "os:ada", details)
    logs.log.path.unlink()
    logs.log.checkpoints.path.unlink()
    logs.log.append([event])


def test_the_last_digest_is_enough_for_a_chain_that_holds(logs: Logs) -> None:
    _as_before(logs)
    assert (logs.faults, logs.doubts) == ((), [])
    assert logs.log.verify().archives == (logs.second.name, logs.first.name)
    _cut(logs.second)
    assert logs.faults == (
        f"the archived log {logs.second.name} is not the one that the next log names",
    )


def test_one_whose_chain_is_broken_is_asked_about(logs: Logs) -> None:
    """Nothing tells whether it was whole when it was archived."""
    _as_before(logs)
    _edit(logs.second)
    assert logs.doubts == [logs.second.name]


def test_a_log_that_names_itself_ends_the_way(logs: Logs) -> None:
    """Its last digest is right, and its chain broken: without an end the verification went round for ever."""
    lines = logs.second.read_bytes().splitlines()
    last = chain.head_of(lines[-1])
    event = Event(
        log_events.EVENT_LOG_ARCHIVED,
        "os:ada",
        {"file": logs.second.name, "last": last.seq, "sha256": last.digest, "reason": ""},
    )
    lines[1] = chain.make_line(
        event, chain.head_of(lines[0]), time="2026-11-21T20:00:00Z", node="node1"
    )
    logs.second.write_bytes(b"\n".join(lines) + b"\n")
    _as_before(logs)
    assert logs.second.name in logs.doubts


@pytest.mark.parametrize(
    "details",
    [
        {"last": "4"},
        {"file": 7, "last": 1, "sha256": "", "root": "zz", "size": 1, "whole": True},
        {"file": "x", "last": 1, "sha256": "", "root": "00", "size": 1, "whole": True},
        {"file": "x", "last": 1, "sha256": "", "root": "00" * 32, "size": "1", "whole": True},
        {"file": "x", "last": 1, "sha256": "", "root": "00" * 32, "size": 1},
    ],
)
def test_a_line_that_is_not_ours_names_no_log(details: dict[str, object]) -> None:
    event = Event(log_events.EVENT_LOG_ARCHIVED, "os:eve", details)  # type: ignore[arg-type]
    line = chain.make_line(event, chain.Head(), time="2026-11-21T20:00:00Z", node="node1")
    assert lineage.link_of([line]) is None
    assert lineage.link_of([b"none", line, line]) is None
    assert lineage.link_of([]) is None


def test_the_note_beside_an_archived_log_is_not_needed(logs: Logs) -> None:
    """The next log speaks for it; the note is for whoever has the archived log alone."""
    note = archiving.kept_checkpoint(logs.first)
    checkpoint = notes.open_note(parse(note.read_bytes()).note, SIGNER.verifier)
    assert checkpoint.size == 4
    note.unlink()
    assert (logs.faults, logs.doubts) == ((), [])
