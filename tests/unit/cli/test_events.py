"""`strongroom events`."""

import json
from pathlib import Path

import pytest

from strongroom.bootstrap import Node
from strongroom.cli import dispatch
from strongroom.clock import SystemClock
from strongroom.eventlog import events
from strongroom.topology.paths import DataPaths


@pytest.fixture
def node(tmp_path: Path) -> Node:
    node = Node(DataPaths(tmp_path), SystemClock())
    node.paths.coordination.parent.mkdir(parents=True)
    node.paths.coordination.touch()
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
