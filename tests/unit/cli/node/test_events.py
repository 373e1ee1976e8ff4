"""`strongroom events`."""

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from strongroom.cli import dispatch
from strongroom.clock import FixedClock, SystemClock
from strongroom.eventlog.events import key_events, secret_events
from strongroom.eventlog.jsonl import JsonlEventLog
from strongroom.node.opening import Node
from strongroom.runtime.paths import DataPaths
from strongroom.services.keys import log_signing
from tests.support.small_node import copy_small_node


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    node = Node(DataPaths(tmp_path), SystemClock())
    node.create_coordinator()  # and no configuration, as while a node is made
    node.events.append([key_events.key_generated("os:ada", "MEK", "m1")])
    node.events.append([secret_events.secret_revealed("user:bob", "pgsql.readonly_password")])
    yield node
    node.close()


def _run(node: Node, *words: str) -> int:
    return dispatch.main("strongroom", ["--data-dir", str(node.paths.root), "events", *words])


def test_list_prints_one_line_each(node: Node, capsys: pytest.CaptureFixture[str]) -> None:
    assert _run(node, "list") == 0
    heading, first, second = capsys.readouterr().out.splitlines()
    assert heading.split() == ["NUMBER", "TIME", "ACTOR", "EVENT", "DETAILS"]
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


def test_list_chooses_by_actor_and_gives_the_newest(
    node: Node, capsys: pytest.CaptureFixture[str]
) -> None:
    """F6."""
    assert _run(node, "list", "--json", "--actor", "user:bob") == 0
    assert [record["seq"] for record in json.loads(capsys.readouterr().out)] == [2]
    assert _run(node, "list", "--limit", "1", "--no-header") == 0
    (line,) = capsys.readouterr().out.splitlines()
    assert "SECRET_REVEALED" in line
    assert _run(node, "list", "--limit", "1", "--id", "KEY_GENERATED") == 0
    assert "KEY_GENERATED" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "seen"),
    [
        (["--since", "2h"], ["b", "c"]),
        (["--since", "7200s"], ["b", "c"]),
        (["--since", "119m"], ["c"]),
        (["--until", "1d"], ["a"]),
        (["--since", "4w", "--until", "1h"], ["a", "b"]),
        (["--since", "2026-11-27T10:00:01Z"], ["c"]),
        (["--until", "2026-11-27T10:00:00Z"], ["a", "b"]),
    ],
)
def test_a_time_may_be_how_long_ago(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    words: list[str],
    seen: list[str],
) -> None:
    """F6: `--since 2h`."""
    clock = FixedClock(datetime(2026, 11, 26, 12, 0, 0, tzinfo=UTC))
    monkeypatch.setattr("strongroom.node.opening.SystemClock", lambda: clock)
    node = Node(DataPaths(tmp_path), clock)
    node.create_coordinator()
    for name, hours in (("a", 0), ("b", 22), ("c", 2)):
        clock.moment += timedelta(hours=hours)
        node.events.append([key_events.key_generated("os:ada", "MEK", name)])
    assert _run(node, "list", "--json", *words) == 0
    found = [record["details"]["key_id"] for record in json.loads(capsys.readouterr().out)]
    assert found == seen


def test_a_list_of_any_length_is_one_json_list(
    node: Node, capsys: pytest.CaptureFixture[str]
) -> None:
    """R16: it is printed record by record, in the form of all our JSON."""
    for words in ((), ("--limit", "1"), ("--actor", "os:nobody")):
        assert _run(node, "list", "--json", *words) == 0
        printed = capsys.readouterr().out
        assert printed == json.dumps(json.loads(printed), indent=2, ensure_ascii=False) + "\n"


@pytest.mark.parametrize("form", [(), ("--json",)])
def test_following_prints_what_comes_until_it_is_interrupted(
    node: Node,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    form: tuple[str, ...],
) -> None:
    waits: list[float] = []

    def sleep(seconds: float) -> None:
        waits.append(seconds)
        if len(waits) == 3:
            raise KeyboardInterrupt
        node.events.append([key_events.mek_retired("os:ada", f"m{len(waits)}")])

    monkeypatch.setattr("strongroom.cli.node.events.time.sleep", sleep)
    assert _run(node, "list", "--follow", "--limit", "1", *form) == 130
    lines = capsys.readouterr().out.splitlines()
    ids = (
        [json.loads(line)["id"] for line in lines] if form else [line.split()[3] for line in lines]
    )
    heading = [] if form else ["EVENT"]
    assert ids == [*heading, "SECRET_REVEALED", "MEK_RETIRED", "MEK_RETIRED"]


def test_a_long_verification_shows_progress(
    node: Node, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """R4: on a terminal, in bytes of all there are."""
    node.events.append([key_events.key_generated("os:ada", "MEK", f"m{n}") for n in range(1000)])
    told: list[tuple[object, int]] = []

    def begin(self: object, total: int | None) -> Callable[[int], None]:
        return lambda count: told.append((total, count))

    monkeypatch.setattr("strongroom.cli.terminal.bar.Bar.begin", begin)
    assert _run(node, "verify") == 0
    size = node.paths.events.stat().st_size
    assert {total for total, _ in told} == {size}
    assert size - 65_536 < sum(count for _, count in told) <= size
    assert _run(node, "verify", "--log", str(node.paths.events)) == 0


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["list", "--since", "yesterday"], "--since: not a UTC time"),
        (["list", "--until", "2y"], "--until: not a UTC time"),
        (["list", "--since", "999999w"], "ago there was no calendar"),
        (["list", "--limit", "0"], "0 is not between 1 and"),
        (["list", "--follow", "--until", "2h"], "give one of the two"),
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
def signed(pristine: Path, tmp_path: Path) -> Iterator[Node]:
    """A node whose log is signed, with three events."""
    made = copy_small_node(pristine, tmp_path)
    seal = made.configuration.seal_secret(log_signing.PARAMETER, bytes(range(32)))
    made.configuration.compare_and_put(lambda old: old.with_values({log_signing.PARAMETER: seal}))
    made.events.append([key_events.key_generated("os:ada", "MEK", f"m{n}") for n in range(3)])
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
    signed.events.append([key_events.key_generated("os:ada", "MEK", "m4")])
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
        "since": "",
        "changed": False,
        "breaks": [],
        "faults": [],
        "late": [],
        "archives": [],
        "unacknowledged": [],
        "state": [],
    }


def shown_digest(node: Node) -> str:
    return node.events.verify().head.digest


def test_verify_tells_of_a_cut_and_of_unsigned_lines(
    signed: Node, capsys: pytest.CaptureFixture[str]
) -> None:
    unsigned = JsonlEventLog(signed.paths.events, "node1", SystemClock())
    unsigned.append([key_events.key_generated("os:eve", "MEK", "m5")])
    assert _run(signed, "verify") == 23
    said = capsys.readouterr().err
    assert "lines 5 to 5 are not signed" in said
    assert "the event log is whole, and its last 1 line, from 20" in said
    lines = signed.paths.events.read_bytes().splitlines(keepends=True)
    signed.paths.events.write_bytes(b"".join(lines[:2]))
    assert _run(signed, "verify", "--json") == 20
    shown = capsys.readouterr()
    assert json.loads(shown.out)["faults"] == [
        "2 of the 4 lines that were signed are missing at the end"
    ]
    assert "events archive" in shown.err


def test_lines_that_were_signed_late_are_acknowledged(
    signed: Node, capsys: pytest.CaptureFixture[str]
) -> None:
    """X1: `events verify` ended with 0 after the node had signed what somebody had added."""
    forger = JsonlEventLog(signed.paths.events, "node1", SystemClock())
    forger.append([key_events.key_generated("os:eve", "MEK", "m5")])
    signed.events.append([key_events.key_generated("os:ada", "MEK", "m6")])
    assert _run(signed, "verify") == 24
    said = capsys.readouterr().err
    assert "lines 5 to 5 were signed only with line 6: " in said
    assert "nobody has acknowledged what it cannot prove: 5-5" in said
    assert "strongroom events acknowledge --reason TEXT" in said
    assert _run(signed, "verify", "--json") == 24
    late = {"first": 5, "last": 5, "told": 6, "acknowledged": None}
    shown = json.loads(capsys.readouterr().out)
    assert (shown["late"], [one["name"] for one in shown["unacknowledged"]]) == ([late], ["5-5"])
    assert _run(signed, "acknowledge") == 2
    assert "the following arguments are required: --reason" in capsys.readouterr().err
    assert _run(signed, "acknowledge", "--reason", "a power cut") == 0
    said = "acknowledged 5-5: lines 5 to 5 were signed only with line 6: "
    assert capsys.readouterr().out.startswith(said)
    assert _run(signed, "verify") == 0
    printed = capsys.readouterr()
    assert printed.out.startswith("verified 8 events, 8 of them signed")
    assert "(acknowledged in line 8)" in printed.err
    assert _run(signed, "acknowledge", "--reason", "again") == 0
    assert "nothing is to be acknowledged" in capsys.readouterr().err
    signed.paths.events.write_bytes(signed.paths.events.read_bytes()[:-500])
    assert _run(signed, "acknowledge", "--reason", "again") == 20
    assert "the event log was changed" in capsys.readouterr().err


def test_a_log_is_archived_with_a_reason(signed: Node, capsys: pytest.CaptureFixture[str]) -> None:
    assert _run(signed, "archive", "--reason", "it was cut") == 0
    assert "a new one has begun" in capsys.readouterr().out
    assert [record["id"] for record in signed.events.read()] == [
        "EVENT_LOG_SIGNED",
        "EVENT_LOG_ARCHIVED",
    ]


def test_archived_logs_are_verified_by_the_present_one(
    signed: Node, capsys: pytest.CaptureFixture[str]
) -> None:
    """S4: each archived log was verified alone, and only if somebody named it."""
    assert _run(signed, "archive", "--reason", "long") == 0
    assert _run(signed, "verify") == 0
    assert ", and 1 archived log before them, last digest" in capsys.readouterr().out
    [aside] = signed.paths.events.parent.glob("node1.jsonl.*Z")
    kept = aside.read_bytes()
    aside.write_bytes(kept.replace(b"m1", b"m7"))
    assert _run(signed, "verify", "--json") == 20
    shown = json.loads(capsys.readouterr().out)
    says = f"the archived log {aside.name} is not the one that the next log names"
    assert (shown["faults"], shown["archives"]) == ([says], [aside.name])
    aside.unlink()
    assert _run(signed, "verify") == 24
    assert f"the archived log {aside.name} is not here" in capsys.readouterr().err
    assert _run(signed, "acknowledge", "--reason", "moved to the vault") == 0
    assert _run(signed, "verify") == 0
    aside.write_bytes(kept)
    assert _run(signed, "verify") == 0
    aside.write_bytes(kept.replace(b"m1", b"m7"))
    assert _run(signed, "verify") == 20, "no acknowledgement is for what comes in its place"


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
        (["--node", "node2"], 2, "--node goes with --log"),
        (["--log", "/etc/hostname", "--node", "node2"], 5, "there is no node 'node2'"),
        (["--log", "/nowhere"], 5, "there is no file /nowhere"),
        (["--log", "/dev/../etc/hostname", "--key", "k"], 2, "no key that verifies"),
        (["--checkpoint", "/nowhere"], 41, "cannot read the checkpoint from /nowhere"),
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
