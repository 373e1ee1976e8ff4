"""`strongroom events`."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from strongroom.bootstrap import Node
from strongroom.cli import dispatch
from strongroom.clock import SystemClock
from strongroom.eventlog import events
from strongroom.eventlog.jsonl import JsonlEventLog
from strongroom.services import event_signing
from strongroom.topology.paths import DataPaths
from tests.small_node import create_small_node


@pytest.fixture
def node(tmp_path: Path) -> Node:
    node = Node(DataPaths(tmp_path), SystemClock())
    node.create_coordinator()  # and no configuration, as while a node is made
    node.events.append([events.key_generated("os:ada", "MEK", "m1")])
    node.events.append([events.secret_revealed("user:bob", "pgsql.readonly_password")])
    return node


def _run(node: Node, *words: str) -> int:
    return dispatch.main("strongroom", ["--data-dir", str(node.paths.root), "events", *words])


def test_list_prints_one_line_each(node: Node, capsys: pytest.CaptureFixture[str]) -> None:
    assert _run(node, "list") == 0
    first, second = capsys.readouterr().out.splitlines()
    assert first.split()[-3:] == ["KEY_GENERATED", "key_id=m1", "kind=MEK"]
    assert "user:bob" in second


def test_list_chooses_by_id_and_time(node: Node, capsys: pytest.CaptureFixture[str]) -> None:
    assert _run(node, "list", "--json", "--id", "SECRET_REVEALED") == 0
    (record,) = json.loads(capsys.readouterr().out)
    assert (record["seq"], record["actor"]) == (2, "user:bob")
    assert _run(node, "list", "--json", "--since", "2999-01-01T00:00:00Z") == 0
    assert json.loads(capsys.readouterr().out) == []
    assert _run(node, "list", "--json", "--since", record["time"]) == 0
    assert json.loads(capsys.readouterr().out)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["list", "--since", "yesterday"], "--since: not a UTC time"),
        (["list", "--id", "KEY_EATEN"], "unknown event id 'KEY_EATEN'"),
        (["list", "--id", "SYSTEM"], "unknown event id 'SYSTEM'"),
    ],
)
def test_options_that_mean_nothing_are_refused(
    node: Node, capsys: pytest.CaptureFixture[str], words: list[str], says: str
) -> None:
    assert _run(node, *words) == 2
    assert says in capsys.readouterr().err


def test_verify_names_the_damaged_line_and_fails(
    node: Node, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _run(node, "verify") == 0
    assert capsys.readouterr().out.startswith("verified 2 events, last digest ")
    path = node.paths.events
    path.write_bytes(path.read_bytes().replace(b"os:ada", b"os:eve"))
    assert _run(node, "verify") == 20
    said = capsys.readouterr().err
    assert "line 2: it does not follow from the line before" in said
    assert "1 line does not fit" in said


@pytest.fixture
def signed(tmp_path: Path) -> Iterator[Node]:
    """A node whose log is signed, with three events."""
    made = create_small_node(tmp_path)
    seal = made.configuration.seal_secret(event_signing.PARAMETER, bytes(range(32)))
    made.configuration.compare_and_put(lambda old: old.with_values({event_signing.PARAMETER: seal}))
    made.events.append([events.key_generated("os:ada", "MEK", f"m{n}") for n in range(3)])
    yield made
    made.close()


def test_a_kept_checkpoint_is_compared(
    signed: Node, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """M9: also for a copy of the log on a machine without a node."""
    assert _run(signed, "checkpoint") == 0
    kept = tmp_path / "kept"
    kept.write_text(capsys.readouterr().out)
    key = kept.read_text().splitlines()[0]
    signed.events.append([events.key_generated("os:ada", "MEK", "m4")])
    assert _run(signed, "verify", "--checkpoint", str(kept)) == 0
    assert capsys.readouterr().out.startswith("verified 5 events, 5 of them signed, last digest ")
    copy = tmp_path / "copy.jsonl"
    copy.write_bytes(signed.paths.events.read_bytes())
    words = ("verify", "--log", str(copy), "--checkpoint", str(kept), "--key", key)
    assert dispatch.main("strongroom", ["events", *words]) == 0
    copy.write_bytes(b"".join(copy.read_bytes().splitlines(keepends=True)[:3]))
    capsys.readouterr()
    assert dispatch.main("strongroom", ["events", *words]) == 20
    assert "1 of the 4 lines that were signed are missing" in capsys.readouterr().err


def test_the_checkpoint_as_json_is_a_note(
    signed: Node, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _run(signed, "checkpoint", "--json") == 0
    shown = json.loads(capsys.readouterr().out)
    assert (shown["size"], shown["note"].count("\n")) == (4, 5)
    note = tmp_path / "note"
    note.write_text(shown["note"])
    assert _run(signed, "verify", "--checkpoint", str(note), "--json") == 0
    assert json.loads(capsys.readouterr().out) == {
        "whole": True,
        "events": 4,
        "digest": shown_digest(signed),
        "signed": 4,
        "unsigned": 0,
        "breaks": [],
        "faults": [],
        "late": [],
    }


def shown_digest(node: Node) -> str:
    return node.events.verify().head.digest


def test_verify_tells_of_a_cut_and_of_unsigned_lines(
    signed: Node, capsys: pytest.CaptureFixture[str]
) -> None:
    unsigned = JsonlEventLog(signed.paths.events, "node1", SystemClock())
    unsigned.append([events.key_generated("os:eve", "MEK", "m5")])
    assert _run(signed, "verify") == 20
    said = capsys.readouterr().err
    assert "lines 5 to 5 are not signed" in said
    assert "ends with lines that nobody signed" in said
    lines = signed.paths.events.read_bytes().splitlines(keepends=True)
    signed.paths.events.write_bytes(b"".join(lines[:2]))
    assert _run(signed, "verify", "--json") == 20
    shown = capsys.readouterr()
    assert json.loads(shown.out)["faults"] == [
        "2 of the 4 lines that were signed are missing at the end"
    ]
    assert "events archive" in shown.err


def test_a_log_is_archived_with_a_reason(signed: Node, capsys: pytest.CaptureFixture[str]) -> None:
    assert _run(signed, "archive", "--reason", "it was cut") == 0
    assert "a new one has begun" in capsys.readouterr().out
    assert [record["id"] for record in signed.events.read()] == [
        "EVENT_LOG_SIGNED",
        "EVENT_LOG_ARCHIVED",
    ]


def test_a_log_without_a_key_has_no_checkpoint(
    node: Node, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _run(node, "checkpoint") == 5
    assert "is not signed as yet" in capsys.readouterr().err
    assert _run(node, "verify", "--checkpoint", str(tmp_path / "none")) == 2
    assert "nothing verifies the checkpoint" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["--key", "k"], 2, "--key goes with --log"),
        (["--log", "/nowhere"], 5, "there is no file /nowhere"),
        (["--log", "/dev/../etc/hostname", "--key", "k"], 2, "no key that verifies"),
        (["--checkpoint", "/nowhere"], 5, "cannot read /nowhere"),
    ],
)
def test_options_of_verify_that_cannot_be_met(
    signed: Node, capsys: pytest.CaptureFixture[str], words: list[str], code: int, says: str
) -> None:
    assert _run(signed, "verify", *words) == code
    assert says in capsys.readouterr().err


def test_a_copy_is_verified_by_the_checkpoint_beside_it(
    signed: Node, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A key alone proves nothing: without any checkpoint it is refused."""
    assert _run(signed, "checkpoint") == 0
    key = capsys.readouterr().out.splitlines()[0]
    copy = tmp_path / "copy" / "node1.jsonl"
    copy.parent.mkdir()
    copy.write_bytes(signed.paths.events.read_bytes())
    words = ("events", "verify", "--log", str(copy), "--key", key)
    assert dispatch.main("strongroom", list(words)) == 2
    assert "there is no checkpoint beside" in capsys.readouterr().err
    beside = signed.events.checkpoints.path.read_bytes()
    copy.with_suffix(".checkpoint").write_bytes(beside)
    assert dispatch.main("strongroom", list(words)) == 0
    copy.write_bytes(b"".join(copy.read_bytes().splitlines(keepends=True)[:2]))
    assert dispatch.main("strongroom", list(words)) == 20
    archived = tmp_path / "copy" / "node1.jsonl.20260101T000000Z"
    archived.write_bytes(signed.paths.events.read_bytes())
    archived.with_name(f"{archived.name}.checkpoint").write_bytes(beside)
    words = ("events", "verify", "--log", str(archived), "--key", key)
    assert dispatch.main("strongroom", list(words)) == 0


def test_a_signing_key_that_does_not_open_is_no_proof(
    signed: Node, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without the key nobody can say that the log was not cut."""
    lines = signed.paths.events.read_bytes().splitlines(keepends=True)
    signed.paths.events.write_bytes(b"".join(lines[:2]))
    password = signed.paths.keystore_password
    password.chmod(0o644)
    assert _run(signed, "verify") == 20
    assert "password" in capsys.readouterr().err
