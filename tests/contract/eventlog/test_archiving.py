"""Where an archive cannot be made as usual (findings R3, K9); kills at each call are in tests/torture/test_event_log.py."""

import errno
import os
from pathlib import Path

import pytest

from strongroom.crypto.secret import SecretBytes
from strongroom.crypto.signing import SigningKey
from strongroom.errors import ConflictError, NotFoundError, StateError, StorageError
from strongroom.eventlog import archiving, copies, jsonl, notes
from strongroom.eventlog.checkpoint_form import parse
from strongroom.eventlog.events import log_events
from strongroom.eventlog.jsonl import JsonlEventLog
from strongroom.eventlog.notes import LogSigner
from strongroom.system import durable
from tests.contract.eventlog.test_checkpoints import CLOCK, SIGNER, ids, make, some

_ASIDE = "node1.jsonl.20261121T200000Z"


@pytest.fixture
def log(tmp_path: Path) -> JsonlEventLog:
    found = make(tmp_path)
    found.append(some(3))
    return found


def names(log: JsonlEventLog) -> list[str]:
    return sorted(path.name for path in log.path.parent.iterdir())


WHOLE = [_ASIDE, f"{_ASIDE}.checkpoint"]
LIVING = ["node1.checkpoint", "node1.jsonl"]


def check_archived(log: JsonlEventLog, before: bytes) -> None:
    aside = log.path.with_name(_ASIDE)
    assert aside.read_bytes() == before
    assert aside.stat().st_ino != log.path.stat().st_ino
    assert (aside.stat().st_nlink, log.path.stat().st_nlink) == (1, 1)
    note = parse(archiving.kept_checkpoint(aside).read_bytes()).note
    assert copies.verify(aside, notes.open_note(note, SIGNER.verifier)).is_whole
    assert (log.verify().is_whole, log.verify().late) == (True, ())


@pytest.mark.parametrize("code", sorted(archiving._NO_LINKS), ids=errno.errorcode.get)
def test_a_file_system_without_hard_links(
    log: JsonlEventLog, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    """K9: the log is copied."""
    before = log.path.read_bytes()

    def refuse(*_: object) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "link", refuse)
    log.archive("os:ada", "full")
    check_archived(log, before)
    assert names(log) == sorted([*LIVING, *WHOLE])


@pytest.mark.parametrize("length", [0, 1, 300, None])
def test_a_copy_that_was_cut_is_taken_back(log: JsonlEventLog, length: int | None) -> None:
    """R3, where there are no hard links: a killed command left a part of the copy, or all of it."""
    before = log.path.read_bytes()
    told = log_events.event_log_archived(
        "os:ada",
        file=_ASIDE,
        seq=4,
        sha256="0" * 64,
        size=4,
        root="0" * 64,
        whole=True,
        reason="full",
    )
    new, checkpoint = log._new_log(told)
    os.close(log._archive._prepared(log._archive.next_log, new))
    os.close(log._archive._prepared(log._archive.next_checkpoint, checkpoint))
    log.path.with_name(_ASIDE).write_bytes(before[:length])
    assert log.verify().is_whole
    assert names(log) == LIVING
    log.archive("os:ada", "full")
    check_archived(log, before)


def test_what_is_no_copy_stays(log: JsonlEventLog) -> None:
    """An archived log of the same second is nobody's leftover."""
    log.archive("os:ada", "first")
    first, living = log.path.with_name(_ASIDE).read_bytes(), log.path.read_bytes()
    with pytest.raises(ConflictError, match="already"):
        log.archive("os:ada", "second")
    assert log.path.with_name(_ASIDE).read_bytes() == first
    assert log.path.read_bytes() == living
    assert names(log) == sorted([*LIVING, *WHOLE])
    assert log.verify().is_whole


@pytest.mark.parametrize("data", [b"", b"half", b'{"actor":"x"}\n'])
def test_half_a_prepared_log_is_removed(log: JsonlEventLog, data: bytes) -> None:
    log._archive.next_log.write_bytes(data)
    log.append(some())
    assert names(log) == LIVING
    assert log.verify().is_whole


def test_a_prepared_checkpoint_of_another_log_is_never_put_in_place(log: JsonlEventLog) -> None:
    """Its log is gone: it would speak against the one that is there."""
    other = make(log.path.parent / "other")
    other.path.parent.mkdir()
    other.append(some(1, 7))
    other.archive("os:ada", "x")
    log._archive.next_checkpoint.write_bytes(other.checkpoints.path.read_bytes())
    assert log.verify().is_whole
    log._archive.next_checkpoint.write_bytes(b"damaged")
    log.append(some())
    assert log.verify().is_whole
    assert "other" in names(log)
    assert not log._archive.next_checkpoint.exists()


def test_a_log_without_a_key_leaves_no_checkpoint_to_the_new_one(tmp_path: Path) -> None:
    """The old checkpoint would say of the new log that it was cut."""
    make(tmp_path).append(some(3))
    log = make(tmp_path, None)
    log.archive("os:ada", "no key")
    assert names(log) == sorted(["node1.jsonl", *WHOLE])
    assert ids(log) == ["EVENT_LOG_ARCHIVED"]
    again = make(tmp_path)
    again.append(some())
    assert again.verify().is_whole


def test_a_key_that_does_not_open_now_archives_nothing(log: JsonlEventLog) -> None:
    """R3: a full disk may keep the key from being opened, and the new log would have no checkpoint."""

    def closed() -> LogSigner:
        raise StateError("the keystore is gone")

    before = log.path.read_bytes()
    other = JsonlEventLog(log.path, "node1", CLOCK, find_signer=closed)
    with pytest.raises(StateError, match="keystore is gone"):
        other.archive("os:ada", "x")
    assert (log.path.read_bytes(), names(log)) == (before, LIVING)


def test_an_unsigned_tail_is_signed_before_it_is_archived(log: JsonlEventLog) -> None:
    """R10."""
    make(log.path.parent, None).append(some(2, 7))
    log.archive("os:ada", "x")
    aside = log.path.with_name(_ASIDE)
    note = parse(archiving.kept_checkpoint(aside).read_bytes()).note
    checkpoint = notes.open_note(note, SIGNER.verifier)
    assert checkpoint.size == len(aside.read_bytes().splitlines()) == 7


def test_a_changed_log_is_archived_as_it_is(log: JsonlEventLog) -> None:
    """Nobody signs over it, and its checkpoint goes on to speak against it."""
    log.path.write_bytes(log.path.read_bytes().rpartition(b'{"actor"')[0])
    before, checkpoint = log.path.read_bytes(), log.checkpoints.path.read_bytes()
    log.archive("os:ada", "cut")
    aside = log.path.with_name(_ASIDE)
    assert aside.read_bytes() == before
    assert archiving.kept_checkpoint(aside).read_bytes() == checkpoint
    assert log.verify().is_whole


def test_a_log_without_a_valid_line_at_its_end_can_be_archived(log: JsonlEventLog) -> None:
    """As the refusal of an append advises."""
    with log.path.open("ab") as file:
        file.write(b"\0" * 200_000 + b"\n")
    with pytest.raises(StorageError, match="no valid line at its end") as caught:
        log.append(some())
    assert "events archive" in caught.value.hint
    log.archive("os:ada", "zeros")
    log.append(some())
    assert log.verify().is_whole
    details = next(one["details"] for one in log.read() if one["id"] == "EVENT_LOG_ARCHIVED")
    assert isinstance(details, dict)
    assert details["last"] == 4


def test_a_disk_that_does_not_confirm_the_change_is_told(
    log: JsonlEventLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, calls = log.path.read_bytes(), []

    def refuse(_: Path) -> None:
        calls.append(1)
        if len(calls) == 2:  # behind the rename
            raise StorageError("cannot sync the folder")

    monkeypatch.setattr(durable, "sync_folder", refuse)
    with pytest.raises(
        StorageError, match=r"was moved to .*, and a new one has begun.*cannot sync"
    ):
        log.archive("os:ada", "full")
    check_archived(log, before)


def test_a_copy_elsewhere_is_verified_without_a_change(tmp_path: Path) -> None:
    log = make(tmp_path)
    log.append(some(2))
    note = parse(log.checkpoints.path.read_bytes()).note
    names_before = names(log)
    tmp_path.chmod(0o500)
    log.path.chmod(0o400)
    try:
        assert copies.verify(log.path, notes.open_note(note, SIGNER.verifier)).is_whole
    finally:
        tmp_path.chmod(0o700)
    assert names(log) == names_before
    with pytest.raises(StorageError, match="cannot be read"):
        copies.verify(tmp_path)


def test_there_is_nothing_to_archive(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError):
        make(tmp_path).archive("os:ada", "x")
    other = LogSigner("strongroom/i/node1", SigningKey(SecretBytes(bytes(32))))
    assert make(tmp_path, other).sign() == (jsonl._NO_CHECKPOINT,)
