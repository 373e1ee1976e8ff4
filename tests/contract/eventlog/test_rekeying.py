"""Another key for the checkpoints of a log: signed by both, then by the new one alone (crypto review X7; events.md §5.2)."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from strongroom.crypto.secret import SecretBytes
from strongroom.crypto.signing import SigningKey
from strongroom.errors import IntegrityError
from strongroom.eventlog import notes
from strongroom.eventlog.checkpoint_form import parse, render
from strongroom.eventlog.events import key_events, log_events, secret_events
from strongroom.eventlog.jsonl import JsonlEventLog
from strongroom.eventlog.notes import LogSigner
from tests.contract.eventlog.test_checkpoints import CLOCK, ids, some

ORIGIN = "strongroom/i/node1"
OLD_KEY, NEW_KEY = (SigningKey(SecretBytes(bytes([n]) * 32)) for n in (1, 2))
OLD, BOTH = LogSigner(ORIGIN, OLD_KEY), LogSigner(ORIGIN, NEW_KEY, OLD_KEY)
NEW = LogSigner(ORIGIN, NEW_KEY)


class Key:
    """What the configuration says that signs."""

    def __init__(self) -> None:
        self.signer: LogSigner | None = OLD

    def __call__(self) -> LogSigner | None:
        return self.signer


@pytest.fixture
def key() -> Key:
    return Key()


@pytest.fixture
def log(tmp_path: Path, key: Key) -> JsonlEventLog:
    """A log under the old key, with three events."""
    made = JsonlEventLog(tmp_path / "node1.jsonl", "node1", CLOCK, find_signer=key)
    made.append(some(3))
    return made


def _again(log: JsonlEventLog, key: Key) -> JsonlEventLog:
    return JsonlEventLog(log.path, "node1", CLOCK, find_signer=key)


def _note(log: JsonlEventLog) -> bytes:
    return parse(log.checkpoints.path.read_bytes()).note


def _signers(log: JsonlEventLog) -> Iterator[bytes]:
    return iter(notes.key_ids(_note(log), ORIGIN))


def test_a_new_key_begins_with_an_event_and_two_signatures(log: JsonlEventLog, key: Key) -> None:
    key.signer = BOTH
    fresh = _again(log, key)
    assert fresh.verify().is_whole, "the former key's checkpoint is good until the next append"
    fresh.append(some(1))
    assert ids(log)[-2:] == [log_events.EVENT_LOG_REKEYED, secret_events.SECRET_REVEALED]
    told = next(one for one in log.read() if one["id"] == log_events.EVENT_LOG_REKEYED)
    assert told["details"] == {
        "former": OLD.verifier.text,
        "key": NEW.verifier.text,
        "lines": 4,
    }
    for verifier in (OLD.verifier, NEW.verifier):
        assert notes.open_note(_note(log), verifier).size == 6
    fresh.append(some(1))
    assert set(_signers(log)) == {NEW.verifier.key_id}
    assert ids(log).count(log_events.EVENT_LOG_REKEYED) == 1
    report = fresh.verify()
    assert (report.is_whole, report.late) == (True, ())


def test_lines_that_nobody_signed_are_told_before_the_new_key(log: JsonlEventLog, key: Key) -> None:
    JsonlEventLog(log.path, "node1", CLOCK).append(some(2))
    key.signer = BOTH
    assert _again(log, key).sign() == ()
    assert ids(log)[-2:] == [log_events.EVENT_LOG_UNSIGNED, log_events.EVENT_LOG_REKEYED]
    assert [one.name for one in _again(log, key).verify().late] == ["5-6"]


@pytest.mark.parametrize("first", ["the old process", "the new process"])
def test_a_process_with_the_old_key_in_memory_learns_of_the_new_one(
    log: JsonlEventLog, key: Key, first: str
) -> None:
    """A server that runs on while a command makes new keys: it went on to sign with the old one."""
    key.signer = BOTH
    fresh = _again(log, key)
    if first == "the old process":
        log.append(some(1))
        assert set(_signers(log)) == {OLD.verifier.key_id}
    fresh.append(some(1))
    key.signer = NEW
    log.append(some(1))
    assert set(_signers(log)) == {NEW.verifier.key_id}
    newest = log.newest_checkpoint()
    assert newest is not None
    assert newest.signer is NEW
    assert (log.verify().is_whole, log.verify().late) == (True, ())
    assert ids(log).count(log_events.EVENT_LOG_REKEYED) == 1


def test_a_reader_with_the_old_key_in_memory_learns_of_it_too(log: JsonlEventLog, key: Key) -> None:
    key.signer = BOTH
    fresh = _again(log, key)
    fresh.append(some(1))
    key.signer = NEW
    fresh.append(some(1))
    assert log.verify().is_whole


def test_a_key_that_leaked_signs_nothing_more(log: JsonlEventLog, key: Key) -> None:
    """X7: the one key of all times was good for ever."""
    key.signer = BOTH
    _again(log, key).append(some(1))
    key.signer = NEW
    forger = JsonlEventLog(log.path, "node1", CLOCK, find_signer=lambda: OLD)
    log.checkpoints.path.unlink()
    forger.append([key_events.mek_retired("os:eve", "m1")])
    report = _again(log, key).verify()
    assert report.faults == (f"the checkpoint is not signed by {ORIGIN}",)


def test_a_strange_signature_of_our_name_changes_nothing(log: JsonlEventLog, key: Key) -> None:
    other = LogSigner(ORIGIN, SigningKey(SecretBytes(bytes(32))))
    line = other.sign(4, bytes(32)).rpartition(b"\n\n")[2]
    path = log.checkpoints.path
    stored = parse(path.read_bytes())
    path.write_bytes(render(stored.frontier, stored.head, stored.note + line))
    fresh = _again(log, key)
    for each in (log, fresh):
        assert each.verify().is_whole
        each.append(some(1))
    assert (log.verify().is_whole, log.verify().late) == (True, ())


def test_an_archive_between_goes_on_with_the_new_key(log: JsonlEventLog, key: Key) -> None:
    key.signer = BOTH
    _again(log, key).archive("os:ada", "long")
    key.signer = NEW
    assert _again(log, key).verify().is_whole
    assert set(_signers(log)) == {NEW.verifier.key_id}


def test_the_former_key_signs_only_what_it_is_asked_to() -> None:
    root = bytes(32)
    assert notes.key_ids(BOTH.sign(1, root), ORIGIN) == {NEW.verifier.key_id}
    assert notes.key_ids(BOTH.sign(1, root, with_former=True), ORIGIN) == BOTH.key_ids
    assert notes.key_ids(NEW.sign(1, root, with_former=True), ORIGIN) == NEW.key_ids
    assert BOTH.open(OLD.sign(1, root)) == BOTH.open(NEW.sign(1, root))
    with pytest.raises(IntegrityError, match="not signed by"):
        NEW.open(OLD.sign(1, root))
    with pytest.raises(IntegrityError, match="not signed by"):
        BOTH.open(LogSigner(ORIGIN, SigningKey(SecretBytes(bytes(32)))).sign(1, root))
