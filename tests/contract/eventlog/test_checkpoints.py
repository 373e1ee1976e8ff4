"""Checkpoints beside the log (M9, S13; format/events.md §5.4, §6): what was done to the file is found."""

import os
import random
import threading
from base64 import b64encode
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from strongroom import canonical
from strongroom.clock import FixedClock
from strongroom.crypto.secret import SecretBytes
from strongroom.crypto.signing import SigningKey
from strongroom.errors import ConflictError, IntegrityError, NotFoundError, StateError, StorageError
from strongroom.eventlog import audit, chain, checkpoint_form
from strongroom.eventlog.base import Event
from strongroom.eventlog.chain import Head
from strongroom.eventlog.events import secret_events
from strongroom.eventlog.jsonl import JsonlEventLog
from strongroom.eventlog.merkle import Frontier
from strongroom.eventlog.notes import Checkpoint, LogSigner
from strongroom.system import durable
from tests.conftest import Torture

CLOCK = FixedClock(datetime(2026, 11, 21, 20, 0, 0, tzinfo=UTC))
SIGNER = LogSigner("strongroom/i/node1", SigningKey(SecretBytes(bytes(range(32)))))


def make(folder: Path, signer: LogSigner | None = SIGNER) -> JsonlEventLog:
    return JsonlEventLog(folder / "node1.jsonl", "node1", CLOCK, find_signer=lambda: signer)


@pytest.fixture
def log(tmp_path: Path) -> JsonlEventLog:
    return make(tmp_path)


def some(count: int = 1, first: int = 0) -> list[Event]:
    return [secret_events.secret_revealed("os:ada", f"parameter.{first + n}") for n in range(count)]


def ids(log: JsonlEventLog) -> list[object]:
    return [record["id"] for record in log.read()]


def test_each_append_is_signed(log: JsonlEventLog) -> None:
    for number in range(5):
        log.append(some(number + 1))
        report = log.verify()
        assert report.is_whole
        assert (report.signed, report.unsigned) == (report.head.seq, 0)
        assert report.late == ()
    assert ids(log).count("EVENT_LOG_SIGNED") == 1


def test_another_process_goes_on_with_the_checkpoint(log: JsonlEventLog, tmp_path: Path) -> None:
    log.append(some(3))
    make(tmp_path).append(some(2))
    log.append(some(1))
    assert log.verify().is_whole
    assert ids(log)[0] == "EVENT_LOG_SIGNED"
    assert "EVENT_LOG_UNSIGNED" not in ids(log)


def test_a_log_that_began_without_a_key_is_signed_from_its_first_line(tmp_path: Path) -> None:
    make(tmp_path, None).append(some(3))
    assert make(tmp_path, None).verify().signed is None
    log = make(tmp_path)
    assert log.verify().faults == ("there is no checkpoint, though there is a key that signs them",)
    log.append(some())
    report = log.verify()
    assert (report.is_whole, report.signed) == (True, 5)
    assert [one.name for one in report.unacknowledged] == ["1-3"], "nobody else signed them"


def test_a_key_that_cannot_be_opened_stops_no_event(tmp_path: Path) -> None:
    def closed() -> LogSigner:
        raise StateError("the keystore is gone")

    log = JsonlEventLog(tmp_path / "node1.jsonl", "node1", CLOCK, find_signer=closed)
    log.append(some(2))
    assert log.verify().head.seq == 2
    assert log.verify().faults == ("the keystore is gone",)


def test_lines_behind_the_checkpoint_are_found_and_told_by_the_next_event(
    log: JsonlEventLog, tmp_path: Path
) -> None:
    """A forged line continues the chain well; nobody signed it."""
    log.append(some(3))
    make(tmp_path, None).append(some(2, first=7))
    report = log.verify()
    assert (report.is_whole, report.breaks, report.signed, report.unsigned) == (False, (), 4, 2)
    log.append(some())
    report = log.verify()
    assert report.is_whole
    assert ids(log)[-2] == "EVENT_LOG_UNSIGNED"
    assert [(one.name, one.told) for one in report.late] == [("5-6", 7)]


def test_a_cut_log_stays_cut(log: JsonlEventLog) -> None:
    """What comes later does not paper over it."""
    log.append(some(5))
    lines = log.path.read_bytes().splitlines(keepends=True)
    log.path.write_bytes(b"".join(lines[:-2]))
    assert log.verify().faults == ("2 of the 6 lines that were signed are missing at the end",)
    log.append(some(9, first=50))
    report = log.verify()
    assert report.breaks == ()
    assert report.faults == ("the first 6 lines are not those that were signed",)


def test_another_last_line_is_found(log: JsonlEventLog) -> None:
    log.append(some(3))
    other = make(log.path.parent / "other", None)
    other.path.parent.mkdir()
    lines = log.path.read_bytes().splitlines(keepends=True)
    other.path.write_bytes(b"".join(lines[:-1]))
    other.append(some(1, first=99))
    log.path.write_bytes(other.path.read_bytes())
    assert log.verify().faults == ("the first 4 lines are not those that were signed",)
    log.append(some(1, first=70))
    assert not log.verify().is_whole


def test_a_checkpoint_that_is_gone_is_found_and_later_told(log: JsonlEventLog) -> None:
    log.append(some(3))
    log.checkpoints.path.unlink()
    assert not log.verify().is_whole
    log.append(some())
    report = log.verify()
    assert report.is_whole
    (late,) = report.late
    assert late.text == (
        "lines 1 to 4 were signed only with line 5: there was no checkpoint of them any more"
    )


def in_text(data: bytes) -> bytes:
    """The checkpoint in the form of 0.1.0."""
    stored = checkpoint_form.parse(data)
    nodes = [b64encode(node).decode() for node in stored.frontier.nodes]
    state = {"frontier": nodes, "head": stored.head}
    return canonical.dumps(state, canonical.ASCII_LINE) + stored.note


def _other_state(data: bytes) -> bytes:
    """A frontier of the right form, and another root than the note's."""
    return data.replace(data.split(b'"')[3], b"A" * 43 + b"=")


def _signed_by_another(data: bytes) -> bytes:
    end = len(data.rstrip(b"\n")) if data.startswith(b"{") else len(data[:512].rstrip(b"\n"))
    return data[: end - 4] + b"AAA=" + data[end:]


_Damage = Callable[[bytes], bytes]
_OF_BOTH: dict[str, _Damage] = {
    "empty": lambda _: b"",
    "another size": lambda data: data.replace(b"\n4\n", b"\n3\n"),
    "a size below zero": lambda data: data.replace(b"\n4\n", b"\n-4\n"),
    "another log": lambda data: data.replace(b"strongroom/i", b"strongroom/j"),
    "another signature": _signed_by_another,
}
_OF_TEXT: dict[str, _Damage] = {
    "no members": lambda data: b"{}\n" + data.split(b"\n", 1)[1],
    "no JSON": lambda data: b"[[[\n" + data.split(b"\n", 1)[1],
    "no note": lambda data: data.split(b"\n", 1)[0] + b"\n",
    "a node too many": lambda data: data.replace(b'"frontier":["', b'"frontier":["AAAA","'),
    "another tree": _other_state,
}
_OF_SECTORS: dict[str, _Damage] = {
    "cut": lambda data: data[:-1],
    "longer": lambda data: data + b"\n",
    "no mark": lambda data: data[1:] + b"\n",
    "no note": lambda data: data[:89].ljust(512, b"\n") + data[512:],
    "a short head": lambda data: data[:24] + data[25:89].ljust(65, b"\n") + data[89:],
    "no ASCII": lambda data: data[:24] + b"\xff" + data[25:],
}
DAMAGES: dict[str, _Damage] = {
    **_OF_BOTH,
    **_OF_SECTORS,
    **{
        f"{name}, in text": lambda data, damage=damage: damage(in_text(data))  # type: ignore[misc]
        for name, damage in {**_OF_BOTH, **_OF_TEXT}.items()
    },
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_changed_checkpoint_is_found(
    log: JsonlEventLog, damage: Callable[[bytes], bytes]
) -> None:
    log.append(some(3))
    path = log.checkpoints.path
    path.write_bytes(damage(path.read_bytes()))
    fresh = make(path.parent)
    assert not fresh.verify().is_whole
    fresh.append(some())
    assert len(fresh.verify().late) == 1


def test_a_changed_digest_in_the_state_does_no_harm(log: JsonlEventLog) -> None:
    """It only says whether lines must be read again."""
    log.append(some(3))
    path = log.checkpoints.path
    head = chain.head_of(log.path.read_bytes().splitlines()[-1]).digest.encode()
    path.write_bytes(path.read_bytes().replace(head, b"0" * 64))
    fresh = make(path.parent)
    fresh.append(some())
    assert (fresh.verify().is_whole, fresh.verify().late) == (True, ())


def test_a_checkpoint_kept_elsewhere_speaks_against_a_new_log(tmp_path: Path) -> None:
    log = make(tmp_path)
    log.append(some(5))
    newest = log.checkpoints.newest()
    assert newest is not None
    kept = newest[1]
    log.append(some(2))
    assert log.verify(kept).is_whole
    log.path.unlink()
    log.checkpoints.path.unlink()
    log.append(some(9, first=3))
    assert log.verify().is_whole
    assert log.verify(kept).faults == ("the first 6 lines are not those that were signed",)


def test_a_log_that_is_gone_is_no_empty_log(log: JsonlEventLog) -> None:
    assert log.checkpoints.newest() is None
    log.append(some(2))
    log.path.unlink()
    assert log.verify().faults == ("3 of the 3 lines that were signed are missing at the end",)


def test_an_archived_log_is_named_by_the_next(log: JsonlEventLog) -> None:
    with pytest.raises(NotFoundError, match="no event log"):
        log.archive("os:ada", "")
    log.append(some(3))
    before = log.verify()
    aside = log.archive("os:ada", "it is full")
    assert aside.name == "node1.jsonl.20261121T200000Z"
    assert ids(log) == ["EVENT_LOG_SIGNED", "EVENT_LOG_ARCHIVED"]
    details = list(log.read())[-1]["details"]
    assert details == {
        "file": aside.name,
        "last": 4,
        "reason": "it is full",
        "sha256": before.head.digest,
        "size": 4,
        "root": before.tree.root.hex(),
        "whole": True,
    }
    assert (log.verify().is_whole, log.verify().archives) == (True, (aside.name,))
    with pytest.raises(ConflictError, match="already"):
        log.archive("os:ada", "again")


def test_whoever_waits_while_a_log_is_archived_writes_into_the_new_one(log: JsonlEventLog) -> None:
    """No event may come behind the line that the new log names as the last."""
    log.append(some(2000))
    stop, written = threading.Event(), []

    def write(first: int) -> None:
        own = make(log.path.parent)
        while not stop.is_set():
            own.append(some(1, first))
            written.append(first)

    threads = [threading.Thread(target=write, args=(n,)) for n in (10_000, 20_000)]
    for thread in threads:
        thread.start()
    aside = log.archive("os:ada", "long")
    stop.set()
    for thread in threads:
        thread.join()
    assert ids(log)[:2] == ["EVENT_LOG_SIGNED", "EVENT_LOG_ARCHIVED"]
    named = next(one["details"] for one in log.read() if one["id"] == "EVENT_LOG_ARCHIVED")
    archived = aside.read_bytes().splitlines()
    assert isinstance(named, dict)
    assert (named["last"], named["sha256"]) == chain.head_of(archived[-1])
    report = log.verify()
    assert (report.is_whole, report.late) == (True, ())
    assert len(archived) - 2001 + report.head.seq - 2 == len(written)


def test_a_damaged_log_can_be_archived(log: JsonlEventLog) -> None:
    log.append(some(3))
    log.path.write_bytes(b"damaged\n" + log.path.read_bytes())
    log.archive("os:ada", "damaged")
    assert log.verify().is_whole


def test_a_place_that_cannot_be_changed_is_told(
    log: JsonlEventLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    log.append(some(3))

    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "link", refuse)
    with pytest.raises(StorageError, match="cannot be moved"):
        log.archive("os:ada", "")


# ---- S13: six manipulations of each of a thousand records --------------------------------------------


def _long(count: int) -> tuple[list[bytes], Checkpoint]:
    head, lines, tree = Head(), [], Frontier()
    for number in range(count):
        event = secret_events.secret_revealed("os:ada", f"parameter.{number}")
        line = chain.make_line(event, head, time="2026-11-21T20:00:00Z", node="node1")
        lines.append(line)
        head, tree = chain.head_of(line), tree.grown(line)
    return lines, Checkpoint("strongroom/i/node1", count, tree.root)


def _rechained(lines: list[bytes]) -> list[bytes]:
    """The lines as somebody would write them who makes the chain anew behind a change."""
    head, chained = Head(), []
    for line in lines:
        record = chain.parse_line(line)
        details = record["details"]
        assert isinstance(details, dict)
        event = Event(str(record["id"]), str(record["actor"]), details)
        chained.append(chain.make_line(event, head, time=str(record["time"]), node="node1"))
        head = chain.head_of(chained[-1])
    return chained


def _edit(lines: list[bytes], at: int) -> list[bytes]:
    return [*lines[:at], lines[at].replace(b"os:ada", b"os:bob"), *lines[at + 1 :]]


def _delete(lines: list[bytes], at: int) -> list[bytes]:
    return [*lines[:at], *lines[at + 1 :]]


def _insert(lines: list[bytes], at: int) -> list[bytes]:
    return [*lines[:at], lines[at].replace(b"os:ada", b"os:eve"), *lines[at:]]


def _reorder(lines: list[bytes], at: int) -> list[bytes]:
    other = at - 1 if at else 1
    swapped = list(lines)
    swapped[at], swapped[other] = swapped[other], swapped[at]
    return swapped


def _truncate(lines: list[bytes], at: int) -> list[bytes]:
    return lines[:at]


def _swap_segments(lines: list[bytes], at: int) -> list[bytes]:
    middle = (at + len(lines)) // 2
    if middle in {at, len(lines)}:
        return _reorder(lines, at)
    return [*lines[:at], *lines[middle:], *lines[at:middle]]


MANIPULATIONS = (_edit, _delete, _insert, _reorder, _truncate, _swap_segments)


@pytest.mark.torture
@pytest.mark.parametrize("manipulate", MANIPULATIONS, ids=lambda one: one.__name__.strip("_"))
def test_every_manipulation_is_found(
    torture: Torture, manipulate: Callable[[list[bytes], int], list[bytes]]
) -> None:
    """S13: 6 x 1,000, and each with the chain left as it was or made anew behind the change."""
    lines, checkpoint = _long(1000)
    assert audit.verify(lines, [checkpoint]).is_whole
    chance = random.Random(torture.seed)
    places = torture.choose(range(1000))
    for at in places:
        changed = manipulate(lines, at)
        if chance.random() < 0.5:
            changed = _rechained(changed)
        report = audit.verify(changed, [checkpoint]).with_checkpoint(checkpoint, ())
        assert not report.is_whole, f"{manipulate.__name__} at {at}"


def test_a_chain_made_anew_verifies_but_for_the_checkpoint() -> None:
    """Why there are checkpoints at all."""
    lines, checkpoint = _long(50)
    changed = _rechained(_edit(lines, 20))
    assert audit.verify(changed, []).is_whole
    assert audit.verify(changed, [checkpoint]).faults


def test_a_note_that_does_not_verify_is_an_integrity_error(log: JsonlEventLog) -> None:
    log.append(some())
    other = LogSigner("strongroom/i/node1", SigningKey(SecretBytes(bytes(32))))
    with pytest.raises(IntegrityError, match="not signed by"):
        make(log.path.parent, other).checkpoints.newest()


def test_what_a_killed_writer_left_is_removed(log: JsonlEventLog) -> None:
    """R10: it stayed until the next event, which may be days."""
    log.append(some())
    leftover = durable.temp_path(log.checkpoints.path)
    assert not log.remove_leftovers()
    leftover.write_bytes(b"half a check")
    assert log.remove_leftovers()
    assert not leftover.exists()
    assert log.verify().is_whole
    leftover.mkdir()
    with pytest.raises(StorageError, match=r"cannot remove .*\.tmp"):
        log.remove_leftovers()
