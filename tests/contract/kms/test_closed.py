"""Closed KMS stores on a node: docs/format/kms-store.md 7; issue 10, part D; findings B1, B2."""

import io
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from strongroom.cli import dispatch
from strongroom.coordination.base import Change
from strongroom.envelope.header import Placement
from strongroom.errors import IntegrityError, NotFoundError, RootRefusedError
from strongroom.eventlog.events import key_events
from strongroom.kms import any_store
from strongroom.kms.closed_stores import PREFIX
from strongroom.kms.states import MekState
from strongroom.node.opening import Node
from strongroom.roots.settings import RootSettings
from tests.support import backups
from tests.support.memory_root import Outside

ACTOR = "os:tester"
HERE = Placement.standalone()
BAO = RootSettings("openbao", "https://bao.example/transit/keys/one")


@pytest.fixture
def outside(monkeypatch: pytest.MonkeyPatch) -> Outside:
    found = Outside()
    found.stand_in(monkeypatch)
    return found


def close(node: Node, outside: Outside) -> tuple[str, ...]:
    """The keys move to a root outside, which is gone for good, and are left behind; returns the MEKs."""
    outside.failure = None
    node.modes.set_mode(BAO, ACTOR)
    node.kms_cache.forget()
    outside.failure = RootRefusedError("the key was deleted")
    return node.modes.set_mode(None, ACTOR, abandon=True).abandoned


def entries(node: Node) -> list[str]:
    return sorted(node.coordinator.list(PREFIX))


def named(node: Node) -> list[str]:
    return sorted(one.entry for one in node.kms_store.current()[0].former)


@pytest.fixture
def run(node_dir: Path) -> Callable[..., int]:
    def command(*words: str) -> int:
        return dispatch.main("tsm", ["security", "kms", *words, "--data-dir", str(node_dir)])

    return command


def test_the_store_grows_by_a_reference_and_not_by_what_it_closes(
    node: Node, outside: Outside
) -> None:
    """findings B1: each closed store was in the next one, times 2.33, and in the document four times."""
    sizes = []
    for number in range(1, 4):
        close(node, outside)
        sizes.append(len(node.kms_store.current()[1]))
        assert entries(node) == named(node)
        assert len(named(node)) == number
    assert sizes[2] - sizes[1] < 1500
    assert node.kms_store.status().is_ok


def test_a_missing_or_exchanged_one_is_a_fault(
    node: Node, outside: Outside, run: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    """7.2: and not 'unavailable'; it can be given up, and nothing else of it is left then."""
    lost = close(node, outside)
    close(node, outside)
    first, second = (one.entry for one in node.kms_store.current()[0].former)
    found = node.coordinator.get(second)
    assert found is not None
    for value, words in ((None, "is missing"), (found.value, "another place")):
        there = node.coordinator.get(first)
        node.coordinator.put({first: Change(value, there.version if there else 0)})
        assert any(words in problem for problem in node.kms_store.status().problems), words
        with pytest.raises(IntegrityError, match=words):
            node.roots.adopt(ACTOR)
    capsys.readouterr()
    assert run("former", "list") == 20
    assert f"former forget {first.removeprefix(PREFIX)}" in capsys.readouterr().err
    digest = first.removeprefix(PREFIX)
    assert run("former", "forget", digest, "--ignore-prompt") == 0
    assert f"{digest} was given up" in capsys.readouterr().out
    assert node.kms_store.status().is_ok
    assert entries(node) == named(node) == [second]
    assert not set(lost) & {mek.id for mek in node.kms_store.status().meks}


def test_the_commands_show_them_and_give_one_up(
    node: Node,
    outside: Outside,
    run: Callable[..., int],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lost = close(node, outside)
    (one,) = node.kms_store.current()[0].former
    capsys.readouterr()
    assert run("former", "list", "--json") == 0
    (told,) = json.loads(capsys.readouterr().out)
    assert (told["digest"], told["epoch"]) == (one.digest, one.epoch)
    assert set(lost) <= set(told["meks"])
    assert told["roots"] == [f"openbao {BAO.root_key_id}"]
    assert run("former", "list") == 0
    assert one.digest[:16] in capsys.readouterr().out
    assert run("former", "forget", "0" * 64, "--ignore-prompt") == NotFoundError.exit_code
    monkeypatch.setattr("sys.stdin", io.StringIO("n\n"))
    assert run("former", "forget", one.digest[:8]) == 7
    assert run("former", "forget", one.digest[:8], "--ignore-prompt") == 0
    assert entries(node) == []
    last = [r for r in node.events.read() if r["id"] == key_events.KEY_REMOVED][-1]
    assert last["details"] == {"kind": "closed store", "key_id": one.digest}


def test_digits_of_two_are_refused(
    node: Node, outside: Outside, run: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    close(node, outside)
    close(node, outside)
    assert run("former", "forget", "", "--ignore-prompt") == 2
    assert "the beginning of 2 digests" in capsys.readouterr().err


def test_a_regeneration_seals_them_anew_and_they_come_back(node: Node, outside: Outside) -> None:
    """7.1: their configuration key goes, and they stay."""
    node.modes.set_mode(BAO, ACTOR)
    header, dek = node.envelope_keys.new_envelope(HERE)
    node.kms_cache.forget()
    outside.failure = RootRefusedError("the key was deleted")
    lost = node.modes.set_mode(None, ACTOR, abandon=True).abandoned
    before = node.coordinator.list(PREFIX)
    node.regenerate.run(ACTOR, lambda _: None, ["keys"])
    after = node.coordinator.list(PREFIX)
    assert before.keys() == after.keys()
    active = node.configuration.document().configuration_key_id
    keys = {entry.value[:16].hex() for entry in after.values()}
    assert keys == {active.replace("-", "")}
    assert node.present_keys().present.ids == (active,)
    outside.failure = None
    assert set(node.roots.adopt(ACTOR)) >= set(lost)
    assert node.envelope_keys.open_envelope(header, HERE).dek == dek
    assert entries(node) == named(node) == []


def test_a_backup_brings_them_along(node: Node, outside: Outside, tmp_path: Path) -> None:
    """findings B1: "not in a backup by accident left out"."""
    lost = close(node, outside)
    made = backups.make(node, tmp_path / "b.tsbak")
    (one,) = node.kms_store.current()[0].former
    assert f"keys/former/{one.digest}" in {entry.name for entry in made.manifest.entries}
    node.roots.forget(one.digest, ACTOR)
    assert entries(node) == []
    backups.restore(node, made.path)
    assert entries(node) == named(node) == [one.entry]
    (raw,) = node.kms_store.closed_stores().values()
    assert {mek.id for mek in any_store.parse(raw).meks} >= set(lost)
    states = {mek.id: mek.state for mek in node.kms_store.status().meks}
    assert {states[mek_id] for mek_id in lost} == {MekState.UNAVAILABLE}
