"""The event log as a file (C-23, format/events.md): synced, chained, torn ends kept."""

import hashlib
import os
import stat
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from strongroom.clock import FixedClock
from strongroom.errors import FormatError, StorageError
from strongroom.eventlog import chain
from strongroom.eventlog.base import Event
from strongroom.eventlog.events import key_events, secret_events
from strongroom.eventlog.jsonl import JsonlEventLog
from strongroom.system import durable

_CLOCK = FixedClock(datetime(2026, 11, 21, 20, 0, 0, tzinfo=UTC))
_WRITER = """
import sys
from pathlib import Path
from strongroom.clock import SystemClock
from strongroom.eventlog.events import key_events, secret_events
from strongroom.eventlog.jsonl import JsonlEventLog
log = JsonlEventLog(Path(sys.argv[1]), "node1", SystemClock())
for number in range(25):
    log.append([secret_events.secret_revealed(sys.argv[2], str(number))] * 2)
"""


@pytest.fixture
def log(tmp_path: Path) -> JsonlEventLog:
    return JsonlEventLog(tmp_path / "events" / "node1.jsonl", "node1", _CLOCK)


def _some(count: int = 1) -> list[Event]:
    return [
        secret_events.secret_revealed("os:ada", f"parameter.{number}") for number in range(count)
    ]


def _ids(log: JsonlEventLog) -> list[object]:
    return [record["id"] for record in log.read()]


def test_events_come_back_in_their_order(log: JsonlEventLog) -> None:
    log.append(_some(3))
    log.append([key_events.mek_retired("os:ada", "m")])
    log.append([])
    assert _ids(log) == ["SECRET_REVEALED"] * 3 + ["MEK_RETIRED"]
    assert [record["seq"] for record in log.read()] == [1, 2, 3, 4]
    assert {record["time"] for record in log.read()} == {"2026-11-21T20:00:00Z"}
    assert log.verify().breaks == ()


def test_a_log_that_is_not_there_is_empty(log: JsonlEventLog) -> None:
    assert list(log.read()) == []
    assert log.verify().head == chain.Head()


@pytest.mark.parametrize("file_modes", [durable.PRIVATE, durable.shared_with(os.getegid())])
def test_the_file_has_its_mode(tmp_path: Path, file_modes: durable.FileModes) -> None:
    """C-10."""
    log = JsonlEventLog(tmp_path / "events" / "node1.jsonl", "node1", _CLOCK, file_modes)
    log.append(_some())
    assert stat.S_IMODE(log.path.stat().st_mode) == file_modes.file_mode
    assert stat.S_IMODE(log.path.parent.stat().st_mode) == file_modes.folder_mode


def test_two_processes_make_one_chain(log: JsonlEventLog) -> None:
    writers = [
        subprocess.Popen([sys.executable, "-c", _WRITER, str(log.path), f"os:{name}"])
        for name in ("ada", "bob")
    ]
    assert [writer.wait(60) for writer in writers] == [0, 0]
    report = log.verify()
    assert (report.head.seq, report.breaks) == (100, ())
    by_actor = [record["actor"] for record in log.read()]
    assert by_actor.count("os:ada") == by_actor.count("os:bob") == 50
    # batches are not torn apart
    assert all(by_actor[i] == by_actor[i + 1] for i in range(0, 100, 2))


def test_a_line_torn_at_any_byte_is_set_aside_and_recorded(log: JsonlEventLog) -> None:
    """format/events.md §3."""
    log.append(_some(2))
    whole = log.path.read_bytes()
    second = whole.index(b"\n") + 1
    for length in range(second + 1, len(whole)):
        for old in log.path.parent.glob("*.torn-*"):
            old.unlink()
        log.path.write_bytes(whole[:length])
        assert len(_ids(log)) == 1
        log.append([key_events.mek_retired("os:ada", "m")])
        assert _ids(log) == ["SECRET_REVEALED", "EVENT_LOG_TORN", "MEK_RETIRED"]
        assert log.verify().breaks == ()
        torn = whole[second:length]
        recorded = list(log.read())[1]["details"]
        (aside,) = log.path.parent.glob("*.torn-*")
        assert aside.read_bytes() == torn
        assert recorded == {
            "offset": second,
            "bytes": len(torn),
            "sha256": hashlib.sha256(torn).hexdigest(),
            "file": aside.name,
        }


@pytest.mark.parametrize(
    "end",
    [
        pytest.param(bytes(3000), id="zeros"),
        pytest.param(bytes(300) + b"\n", id="zeros-and-newline"),
        pytest.param(b"{}\n" * 3 + b"x", id="foreign-lines"),
        pytest.param(b"x" * 30_000, id="longer-than-a-line"),
    ],
)
def test_garbage_at_the_end_is_set_aside_whole(log: JsonlEventLog, end: bytes) -> None:
    log.append(_some())
    with log.path.open("ab") as file:
        file.write(end)
    log.append([key_events.mek_retired("os:ada", "m")])
    assert _ids(log) == ["SECRET_REVEALED", "EVENT_LOG_TORN", "MEK_RETIRED"]
    assert log.verify().breaks == ()
    (aside,) = log.path.parent.glob("*.torn-*")
    assert aside.read_bytes() == end


def test_a_torn_first_line_is_set_aside(log: JsonlEventLog) -> None:
    log.append(_some())
    log.path.write_bytes(log.path.read_bytes()[:20])
    log.append(_some())
    assert _ids(log) == ["EVENT_LOG_TORN", "SECRET_REVEALED"]


def test_only_the_end_of_a_long_log_is_read(log: JsonlEventLog) -> None:
    log.append(_some(2000))
    assert log.path.stat().st_size > 65_536 * 3
    log.append([key_events.mek_retired("os:ada", "m")])
    report = log.verify()
    assert (report.head.seq, report.breaks) == (2001, ())


@pytest.mark.parametrize("contents", [b"garbage\n", bytes(70_000) + b"\n"])
def test_a_log_without_any_valid_line_is_not_appended_to(
    log: JsonlEventLog, contents: bytes
) -> None:
    log.append(_some())
    log.path.write_bytes(contents)
    with pytest.raises(StorageError, match="no valid line at its end"):
        log.append(_some())
    assert log.path.read_bytes() == contents


def test_a_damaged_line_in_the_middle_is_told_by_its_number(log: JsonlEventLog) -> None:
    log.append(_some(3))
    lines = log.path.read_bytes().splitlines(keepends=True)
    log.path.write_bytes(lines[0] + b"damaged\n" + lines[2])
    with pytest.raises(FormatError, match="line 2 of the event log"):
        list(log.read())
    assert [found.line for found in log.verify().breaks] == [2, 3]


def test_an_endless_line_is_not_read_into_memory(log: JsonlEventLog) -> None:
    log.append(_some())
    with log.path.open("ab") as file:
        file.write(b"x" * 100_000)
    assert len(log.verify().breaks) == 6


def test_a_place_that_cannot_be_written_is_a_storage_error(tmp_path: Path) -> None:
    (tmp_path / "node1.jsonl").mkdir()
    log = JsonlEventLog(tmp_path / "node1.jsonl", "node1", _CLOCK)
    with pytest.raises(StorageError, match="cannot be written"):
        log.append(_some())
    with pytest.raises(StorageError, match="cannot be read"):
        list(log.read())
