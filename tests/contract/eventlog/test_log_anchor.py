"""The event log against its anchor in the repository, on a real node (crypto review X1, S4; format/anchor.md 5)."""

import base64
import json
import os
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from strongroom.cli import dispatch
from strongroom.doors.http import upkeep
from strongroom.errors import IntegrityError, StorageError
from strongroom.eventlog import anchored
from strongroom.eventlog.events import key_events, secret_events
from strongroom.node.opening import Node
from strongroom.services.keys import log_anchor
from strongroom.services.keys.log_signing import PARAMETER
from tests.contract.eventlog.test_checkpoints import make

ACTOR = "os:tester"
GONE = "does not go on from them: it was put back, or cut"


def _told(node: Node, count: int = 1) -> None:
    node.events.append(
        [secret_events.secret_revealed(ACTOR, f"parameter.{n}") for n in range(count)]
    )


def _transaction(node: Node) -> None:
    """A transaction of the repository that is made for something else, later than the one before."""
    node.log_anchor._renewed_at = None
    with node.repository.transaction() as tx:
        tx.marks.set("ready", "yes")


def _anchored_events(node: Node, count: int = 1) -> None:
    _told(node, count)
    _transaction(node)


def _files(node: Node) -> list[Path]:
    return [node.paths.events, node.events.checkpoints.path]


def _copied(node: Node) -> list[bytes]:
    return [path.read_bytes() for path in _files(node)]


def _put_back(node: Node, copy: list[bytes]) -> None:
    for path, data in zip(_files(node), copy, strict=True):
        path.write_bytes(data)


def _run(node: Node, *words: str) -> int:
    return dispatch.main("strongroom", ["--data-dir", str(node.paths.root), *words])


def _row(node: Node) -> str | None:
    with node.repository.reading() as tx:
        return tx.marks.find(log_anchor.MARK)


def _named(node: Node) -> object:
    """What the row says of the logs; it may be written anew with the same, at another time."""
    row = _row(node)
    return row and json.loads(base64.b64decode(row)[anchored._HEAD_BYTES :])["logs"]


def test_log_and_checkpoint_that_are_put_back_together_are_noticed(
    node: Node, capsys: pytest.CaptureFixture[str]
) -> None:
    """X1: an older pair was verified, and `kms status` was OK: a rotation and a decryption were gone for good."""
    _anchored_events(node, 3)
    old = _copied(node)
    with closing(Node(node.paths, node.clock)) as command:
        command.meks.rotate(ACTOR)
    assert _run(node, "events", "verify") == 0
    _put_back(node, old)
    capsys.readouterr()
    assert _run(node, "events", "verify") == 20
    assert GONE in capsys.readouterr().err
    assert _run(node, "events", "acknowledge", "--reason", "well") == 20
    assert _run(node, "status") == 1
    assert "event log: the event log had " in capsys.readouterr().err
    assert any(GONE in words for words in upkeep.event_log_problems(node))


def test_a_tail_that_was_written_anew_is_not_taken_by_the_anchor(node: Node) -> None:
    """X1: old checkpoint and a log with invented events behind it; the next command signed them, exit 0."""
    _anchored_events(node, 3)
    old = _copied(node)
    _anchored_events(node, 5)
    _put_back(node, old)
    make(node.paths.events.parent, None).append([key_events.mek_retired("os:eve", "m1")] * 9)
    lines, named = node.paths.events.read_bytes(), _named(node)
    assert any(GONE in words for words in upkeep.event_log_problems(node))
    assert node.paths.events.read_bytes() == lines, "a start signs nothing of it"
    _anchored_events(node, 30)
    assert _named(node) == named
    assert any(GONE in words for words in node.event_log_faults())


def _cut(node: Node) -> None:
    lines = node.paths.events.read_bytes().splitlines(keepends=True)
    node.paths.events.write_bytes(b"".join(lines[:-2]))


def _no_log(node: Node) -> None:
    for path in _files(node):
        path.unlink()


def _no_checkpoint(node: Node) -> None:
    node.events.checkpoints.path.unlink()


def _lines(node: Node) -> bytes:
    return node.paths.events.read_bytes() if node.paths.events.exists() else b""


def _new_log(node: Node) -> None:
    _no_log(node)
    with closing(Node(node.paths, node.clock)) as fresh:
        fresh.events.take_as_it_is()
        fresh.events.append([key_events.mek_retired("os:eve", "m1")] * 99)


def _no_key(node: Node) -> None:
    node.configuration.compare_and_put(lambda old: old.with_values({PARAMETER: None}))


@pytest.mark.parametrize("change", [_cut, _no_log, _new_log, _no_key])
def test_a_log_without_what_the_anchor_names_is_noticed(
    node: Node, change: Callable[[Node], None]
) -> None:
    """S4: who removed the log, its checkpoint or its key began a new one, and nothing told."""
    _anchored_events(node, 3)
    change(node)
    with closing(Node(node.paths, node.clock)) as fresh:
        assert fresh.event_log_faults()
        named, lines = _named(fresh), _lines(fresh)
        with pytest.raises(IntegrityError, match="the event log had"):
            _told(fresh)
        assert _lines(fresh) == lines, "no process begins to write there (anchor.md 5.6)"
        fresh.events.take_as_it_is()
        _anchored_events(fresh, 2)
        assert _named(fresh) == named


def test_a_checkpoint_that_is_gone_is_noticed_until_the_log_is_signed_again(node: Node) -> None:
    """Its lines are all there; that nobody had signed them meanwhile is an administrator's to judge."""
    _anchored_events(node, 3)
    _no_checkpoint(node)
    assert node.event_log_faults()
    _anchored_events(node, 2)
    assert node.event_log_faults() == ()
    assert len(node.events.verify().unacknowledged) == 1


def test_the_anchor_moves_with_transactions_once_a_second(node: Node) -> None:
    _anchored_events(node)
    first = _row(node)
    assert first is not None
    _told(node)
    with node.repository.transaction() as tx:
        tx.marks.set("ready", "yes")
    assert _row(node) == first, "less than a second later"
    _transaction(node)
    assert _row(node) not in {None, first}
    assert node.event_log_faults() == ()
    _transaction(node)
    assert node.event_log_faults() == ()


def test_a_transaction_that_fails_moves_nothing(node: Node) -> None:
    _anchored_events(node)
    before = _row(node)
    _told(node)
    node.log_anchor._renewed_at = None

    def fail() -> None:
        with node.repository.transaction() as tx:
            tx.marks.set("ready", "yes")
            raise StorageError("full")

    with pytest.raises(StorageError, match="full"):
        fail()
    assert _row(node) == before


def test_a_disk_that_does_not_keep_the_checkpoint_moves_nothing(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a power failure could take back a checkpoint that the anchor names."""
    _anchored_events(node)
    before = _row(node)
    _told(node)
    with monkeypatch.context() as patch:

        def refuse(_: int) -> None:
            raise OSError(5, "Input/output error")

        patch.setattr(os, "fsync", refuse)
        with pytest.raises(StorageError, match=r"cannot sync .*checkpoint"):
            node.events.checkpoints.sync()
        _transaction(node)
    assert _row(node) == before
    _transaction(node)
    assert _row(node) != before


def test_archives_are_no_fault(node: Node, capsys: pytest.CaptureFixture[str]) -> None:
    """Also if the anchor stands before several of them, or the one that it names was moved away."""
    _anchored_events(node, 3)
    _told(node)
    node.events.archive(ACTOR, "long")
    assert node.event_log_faults() == ()
    _told(node, 2)
    [first] = node.paths.events.parent.glob("*Z")
    first.rename(first.with_name("node1.jsonl.20200101T000000Z"))
    assert node.event_log_faults(), "nothing is found under its name"
    first.with_name("node1.jsonl.20200101T000000Z").rename(first)
    _transaction(node)
    first.unlink()
    assert node.event_log_faults() == ()
    assert _run(node, "events", "acknowledge", "--reason", "moved") == 0
    assert _run(node, "events", "verify") == 0


def test_an_archive_of_a_log_that_contradicts_its_anchor_is_asked_about(
    node: Node, capsys: pytest.CaptureFixture[str]
) -> None:
    _anchored_events(node, 3)
    old = _copied(node)
    _anchored_events(node, 3)
    _put_back(node, old)
    assert _run(node, "events", "archive", "--reason", "routine") == 0
    assert GONE in capsys.readouterr().err
    assert _run(node, "events", "verify") == 24
    assert "was changed before it was archived" in capsys.readouterr().err
    assert _run(node, "events", "acknowledge", "--reason", "seen") == 0
    assert _run(node, "events", "verify") == 0
    _anchored_events(node, 3)
    assert node.event_log_faults() == ()


def _marks(node: Node) -> sqlite3.Connection:
    return sqlite3.connect(node.paths.repository, isolation_level=None)


@pytest.mark.parametrize(
    "change",
    [
        lambda _: "",
        lambda _: "no base64",
        lambda row: base64.b64encode(base64.b64decode(row)[:-1] + b" ").decode(),
        lambda row: base64.b64encode(bytes(16) + base64.b64decode(row)[16:]).decode(),
    ],
    ids=["empty", "no base64", "another document", "another key"],
)
def test_a_row_that_is_not_ours_is_a_fault_and_stays(
    node: Node, change: Callable[[str], str]
) -> None:
    """A MAC that does not fit is never "no anchor"."""
    _anchored_events(node)
    row = _row(node)
    assert row is not None
    with closing(_marks(node)) as database:
        database.execute("UPDATE marks SET value = ? WHERE name = 'anchor.logs'", (change(row),))
    assert len(node.event_log_faults()) == 1
    _anchored_events(node)
    assert _row(node) == change(row)


def test_a_regeneration_takes_the_anchor_along(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also one that is done within a second: the key of the row is removed at its end."""
    _anchored_events(node)
    times = node.log_anchor._times
    monkeypatch.setattr(node.log_anchor, "_times", times._replace(monotonic=lambda: 7.0))
    before = node.configuration.document().configuration_key_id
    node.regenerate.run(ACTOR, lambda _: None, ["keys"])
    row = _row(node)
    assert row is not None
    key_id = anchored.key_of(base64.b64decode(row))
    assert key_id == node.configuration.document().configuration_key_id != before
    assert node.event_log_faults() == ()


def test_without_a_repository_the_log_is_verified_alone(
    node: Node, capsys: pytest.CaptureFixture[str]
) -> None:
    node.close()
    shutil.rmtree(node.paths.repository.parent)
    assert _run(node, "events", "verify") == 0
    assert (
        "could not be compared with its anchor: there is no repository" in capsys.readouterr().err
    )
    assert _run(node, "events", "archive", "--reason", "long") == 0
    assert "the anchor of the event log was not renewed" in capsys.readouterr().err


def test_the_faults_are_told_as_json(node: Node, capsys: pytest.CaptureFixture[str]) -> None:
    _anchored_events(node, 2)
    _cut(node)
    assert _run(node, "events", "verify", "--json") == 20
    shown = json.loads(capsys.readouterr().out)
    assert shown["changed"] is True
    assert any(GONE in words for words in shown["faults"])
    with pytest.raises(IntegrityError):
        node.events.signed_since(node.events.verify().tree.grown(b"more"))
