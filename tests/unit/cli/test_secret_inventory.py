"""`tsm security secrets list|inventory` (P15, P16)."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from strongroom.bootstrap import Node
from strongroom.cli import dispatch
from strongroom.clock import FixedClock, parse_utc
from strongroom.eventlog import events
from tests.small_node import create_small_node


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    made = create_small_node(tmp_path)
    made.events.append([events.secret_encrypted("os:ada", "redis.password", "k")])
    yield made
    made.close()


def run(node: Node, *words: str) -> int:
    line = ["--data-dir", str(node.paths.root), "security", "secrets", *words]
    return dispatch.main("tsm", line)


def test_list_shows_every_parameter(node: Node, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(node, "list") == 0
    rows = capsys.readouterr().out.splitlines()
    assert len(rows) >= 38
    redis = next(row.split() for row in rows if row.startswith("redis.password"))
    assert redis == ["redis.password", "generated", "0", "d", "-", "-", "-", "Redis"]
    unset = next(row for row in rows if row.startswith("ssl.key.passphrase"))
    assert unset.split()[2:4] == ["not", "set"]
    assert run(node, "list", "--json") == 0
    shown = {one["name"]: one for one in json.loads(capsys.readouterr().out)}
    assert (shown["jdbc.password"]["is_set"], shown["jdbc.password"]["age_days"]) == (True, None)


def test_what_is_due_is_told(node: Node, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(node, "list", "--due") == 0
    assert "none is due" in capsys.readouterr().err
    changes = {"secrets.policy": "redis.password=1"}
    node.configuration.compare_and_put(lambda old: old.with_values(changes))
    old_log = node.paths.events
    old_log.unlink()
    past = FixedClock(parse_utc("2026-01-01T00:00:00Z"))
    node.events._clock = past
    node.events.append([events.secret_encrypted("os:ada", "redis.password", "k")])
    assert run(node, "list", "--due") == 0
    shown = capsys.readouterr()
    assert "2026-01-02T00:00:00Z !" in shown.out
    assert "1 due; renew them" in shown.err


def test_inventory_shows_where_forms_lie(node: Node, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(node, "inventory") == 0
    rows = capsys.readouterr().out.splitlines()
    assert any("tabsvc.yml" in row and "encrypted" in row for row in rows)
    assert run(node, "inventory", "--json") == 0
    shown = json.loads(capsys.readouterr().out)
    password = next(one for one in shown if one["form"] == "password of the keystore")
    assert (password["mode"], password["warning"]) == ("0600", "")
    assert {one["form"] for one in shown} == {
        "encrypted",
        "wrapped keys",
        "password of the keystore",
    }
