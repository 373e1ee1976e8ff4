"""A MEK on its way out: docs/format/kms-store.md 5.5; issue 10, part G; findings D5."""

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from strongroom.cli import dispatch
from strongroom.clock import FixedClock
from strongroom.errors import KeyNotFoundError, StateError
from strongroom.eventlog.events import key_events
from strongroom.kms import status as kms_status
from strongroom.node.opening import Node

ACTOR = "os:tester"
Run = Callable[..., int]


@pytest.fixture
def run(node_dir: Path) -> Run:
    def command(tool: str, *words: str) -> int:
        return dispatch.main(tool, [*words, f"--data-dir={node_dir}"])

    return command


@pytest.fixture
def sealed(tmp_path: Path, node: Node, run: Run) -> Path:
    """A file that only a MEK opens which does not encrypt any more."""
    (tmp_path / "plain").write_bytes(b"what nobody thought of")
    assert run("strongroom", "encrypt", str(tmp_path / "plain"), str(tmp_path / "sealed")) == 0
    node.meks.rotate(ACTOR)
    return tmp_path / "sealed"


def old_mek(node: Node) -> str:
    return node.kms_store.current()[0].meks[0].id


def test_what_still_needs_it_shows_before_it_is_gone(
    node: Node, run: Run, sealed: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """findings D5: a time in which everything still works shows nothing, and then the file is lost."""
    mek_id, out = old_mek(node), sealed.with_name("out")
    assert run("tsm", "security", "kms", "retire", mek_id[:8], "--after", "30") == 0
    assert f"MEK {mek_id} opens nothing from now on" in capsys.readouterr().out
    assert run("strongroom", "decrypt", str(sealed), str(out)) == KeyNotFoundError.exit_code
    told = capsys.readouterr().err
    assert f"MEK {mek_id} is to be retired" in told
    assert f"tsm security kms retire {mek_id} --take-back" in told
    assert not out.exists()
    assert run("tsm", "security", "kms", "status") == 0
    assert "To be retired from: " in capsys.readouterr().out
    assert run("tsm", "security", "kms", "retire", mek_id, "--yes") == 7
    assert "and not before" in capsys.readouterr().err
    assert run("tsm", "security", "kms", "retire", mek_id, "--take-back") == 0
    assert run("strongroom", "decrypt", str(sealed), str(out)) == 0
    assert out.read_bytes() == b"what nobody thought of"
    states = [
        str(record["details"])
        for record in node.events.read()
        if record["id"] == key_events.KEY_CHANGED and mek_id in str(record["details"])
    ][-2:]
    assert "to be retired from" in states[0]
    assert "decrypt-only" in states[1]
    assert run("tsm", "security", "kms", "retire", mek_id, "--take-back") == 7


def test_it_goes_once_its_time_has_come_and_not_by_itself(node: Node, sealed: Path) -> None:
    """By the time of the change that takes it out; until somebody does, the status warns."""
    assert sealed.exists()
    mek_id = old_mek(node)
    at = node.meks.schedule(mek_id, 30, ACTOR)
    assert node.kms_store.status().warnings == ()
    node.meks.rotate(ACTOR)
    assert {mek.id: mek.retire_at for mek in node.kms_store.status().meks}[mek_id] == at
    node.kms_store.clock = FixedClock(node.clock.now() + timedelta(days=31))
    [warning] = node.kms_store.status().warnings
    assert f"MEK {mek_id} was to be retired from {at} on" in warning
    assert f"To be retired from: {at}" in kms_status.as_text(node.kms_store.status())
    found = node.meks.usage().outside[mek_id]
    with pytest.raises(StateError, match="outside the store"):
        node.meks.retire(mek_id, ACTOR)
    node.meks.retire(mek_id, ACTOR, gives_up=found)
    assert mek_id not in {mek.id for mek in node.kms_store.status().meks}


def test_a_mek_that_a_file_of_the_store_needs_is_not_put_on_its_way(node: Node) -> None:
    with pytest.raises(StateError, match="encrypts new data"):
        node.meks.schedule(old_mek(node), 1, ACTOR)
    with pytest.raises(KeyNotFoundError):
        node.meks.schedule("0" * 8, 1, ACTOR)
