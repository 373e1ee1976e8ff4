"""`tsm security secrets list|inventory` (P15, P16)."""

import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from strongroom.cli import dispatch
from strongroom.clock import FixedClock, parse_utc
from strongroom.crypto import certificates
from strongroom.eventlog.events import secret_events
from strongroom.node.opening import Node
from tests.support.small_node import copy_small_node


@pytest.fixture
def node(pristine: Path, tmp_path: Path) -> Iterator[Node]:
    made = copy_small_node(pristine, tmp_path)
    made.events.append([secret_events.secret_encrypted("os:ada", "redis.password", "k")])
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
    node.events.append([secret_events.secret_encrypted("os:ada", "redis.password", "k")])
    assert run(node, "list", "--due") == 0
    shown = capsys.readouterr()
    assert "2026-01-02T00:00:00Z !" in shown.out
    assert "1 due; renew them" in shown.err


def test_the_end_of_a_certificate_is_told(
    node: Node, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """P12: in the list and in the status, 30 days ahead; exit codes as with policies."""
    assert run(node, "list", "--json") == 0
    shown = {one["name"]: one for one in json.loads(capsys.readouterr().out)}
    one = shown["indexandsearchserver.ssl.node.cert.bytes"]
    assert (one["due_at"], one["due"]) == (one["ends_at"], False)
    status = ["status", "--data-dir", str(node.paths.root)]
    dispatch.main("tsm", status)
    assert "ends" not in capsys.readouterr().err
    soon = parse_utc(one["ends_at"]) - timedelta(days=20)
    monkeypatch.setattr("strongroom.clock.SystemClock.now", lambda _: soon)
    assert run(node, "list", "--due") == 0
    told = capsys.readouterr()
    assert f"{one['ends_at']} !" in told.out
    assert "2 due; renew them" in told.err
    for tool in ("tsm", "strongroom"):
        dispatch.main(tool, status)
        told = capsys.readouterr()
        assert f"{one['name']} ends on {one['ends_at']}" in told.err
        assert "tsm security secrets rotate --only certs" in told.err
    dispatch.main("tsm", [*status, "--json"])
    ending = json.loads(capsys.readouterr().out)["ending"]
    assert ending[1] == {"name": one["name"], "ends_at": one["ends_at"]}


def test_of_an_administrator_s_certificate_another_way_out_is_told(
    node: Node, capsys: pytest.CaptureFixture[str]
) -> None:
    name = "ssl.cert.file_bytes"
    ended = node.clock.now() - timedelta(days=certificates.LEAF_DAYS + 1)
    pem = certificates.new_internal_certificates(ended).node.certificate
    values = {name: node.configuration.seal_secret(name, pem)}
    node.configuration.compare_and_put(lambda old: old.with_values(values))
    assert run(node, "list", "--due") == 0
    assert "1 of them from an administrator: 'tsm configuration set'" in capsys.readouterr().err
    dispatch.main("tsm", ["status", "--data-dir", str(node.paths.root)])
    assert f"set a new one: tsm configuration set -k {name}" in capsys.readouterr().err


def test_a_status_without_a_configuration_says_what_is_wrong(
    node: Node, capsys: pytest.CaptureFixture[str]
) -> None:
    node.paths.coordination.write_bytes(b"damaged" * 100)
    assert dispatch.main("tsm", ["status", "--data-dir", str(node.paths.root)]) == 1
    assert "keys: " in capsys.readouterr().err


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
