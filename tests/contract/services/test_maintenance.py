"""The entry of the maintenance on a single node: entered, left, killed in between; its words (maintenance.md 1, 2; b14)."""

import json
import time
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from strongroom.backgrounder.settings import Settings
from strongroom.cli import dispatch
from strongroom.coordination.base import Change
from strongroom.errors import (
    CoordinationError,
    FormatError,
    IntegrityError,
    NotFoundError,
    StateError,
)
from strongroom.joining import maintenance as form
from strongroom.joining.maintenance import Drained, Maintenance, Standing
from strongroom.node.opening import Node
from strongroom.runtime import running
from strongroom.services.nodes.maintenance import MaintenanceService
from tests.contract.joining.commands import told


def enter(node: Node, why: str = "new disks", within_s: int = 60) -> Maintenance:
    return node.maintenance.enter("os:tests", why, within_s=within_s)


def test_it_is_entered_once_and_counted(node: Node) -> None:
    service = node.maintenance
    assert service.present() is None
    assert service.leave("os:tests") is None
    first = enter(node)
    assert (first.epoch, first.is_on, service.present()) == (1, True, first)
    assert enter(node, "another reason") == first, "one that goes on is not entered again"
    service.say_drained(first, 2)
    service.say_drained(first, 0)
    assert service.leave("os:tests") == first
    assert (service.present(), service.seen()) == (None, None)
    assert node.coordinator.list(form.PREFIX) == {}
    assert enter(node).epoch == 2
    assert service.seen() is not None
    names = ("MAINTENANCE_ENTERED", "NODE_DRAINED", "MAINTENANCE_LEFT")
    assert [len(told(node, name)) for name in names] == [2, 1, 1]
    assert told(node, "NODE_DRAINED") == [{"node_id": "node1", "epoch": 1, "cut": 2}]
    assert node.state_faults() == ()


def test_a_kill_between_event_and_entry_changes_nothing(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every command is simply given again."""

    def killed(*_: object, **__: object) -> None:
        raise CoordinationError("killed")

    for do in (partial(enter, node), partial(node.maintenance.leave, "os:tests")):
        before = node.maintenance.present()
        with monkeypatch.context() as patch:
            patch.setattr(node.coordinator, "put", killed)
            with pytest.raises(CoordinationError, match="killed"):
                do()
        assert node.maintenance.present() == before
        do()
        assert node.maintenance.present() != before


def test_a_single_node_drains_by_its_own_word(node: Node) -> None:
    """It has no key to sign; where nothing serves it, the kernel knows that nobody is served."""
    found = enter(node)
    [one] = node.maintenance.standing(found)
    assert (one.state, one.at, one.is_through) == ("drained", "", True)
    with node.sole_worker.hold():
        [one] = node.maintenance.standing(found)
        assert (one.state, one.is_through) == ("draining", False), "a command works on jobs"
    with running.sole_server(node.paths):
        [one] = node.maintenance.standing(found)
        assert (one.state, one.is_through) == ("draining", False)
        node.maintenance.say_drained(found, 3)
        [one] = node.maintenance.standing(found)
        assert (one.state, one.cut, bool(one.at)) == ("drained", 3, True)
    with pytest.raises(NotFoundError, match="no node 'node7'"):
        node.maintenance.enter("os:tests", "x", within_s=1, without=["node7"])


def test_commands_that_work_on_jobs_are_refused(
    node_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def tsm(*words: str) -> int:
        return dispatch.main("tsm", ["maintenance", *words, "--data-dir", str(node_dir)])

    assert tsm("status") == 0
    assert tsm("leave") == 0
    assert capsys.readouterr().out == "There is no maintenance.\n" * 2
    assert tsm("status", "--json") == 0
    assert json.loads(capsys.readouterr().out) == {"maintenance": None, "nodes": []}
    assert tsm("enter", "--reason", " ") == 2
    assert tsm("enter", "--reason", "new disks", "--yes") == 0
    said = capsys.readouterr()
    assert "new disks\n  node1: drained\n" in said.out
    mode = ["sites", "set-mode", "Default", "enabled", "--yes", "--data-dir", str(node_dir)]
    assert dispatch.main("strongroom", mode) == 0
    words = ["extracts", "encrypt", "--site", "Default", "--wait", "--data-dir", str(node_dir)]
    assert dispatch.main("strongroom", words) != 0
    said = capsys.readouterr()
    assert "the installation is in maintenance since" in said.err
    assert "'tsm maintenance leave' ends it" in said.err
    assert dispatch.main("tsm", ["status", "--data-dir", str(node_dir)]) == 1
    assert "maintenance: since" in capsys.readouterr().err
    assert tsm("leave") == 0
    assert dispatch.main("strongroom", words) == 0


@pytest.mark.parametrize("node_id", ["", "nodee1", "node9", "node1/node1"])
def test_a_drain_is_of_one_node_that_is_there(
    node_dir: Path, node_id: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """An empty id would stand for the whole installation, and a typing error would be told as a success."""

    def tsm(*words: str) -> int:
        return dispatch.main("tsm", [*words, "--data-dir", str(node_dir)])

    assert tsm("maintenance", "enter", "--reason", "new disks", "--yes") == 0
    for verb in (("drain", "--yes"), ("undrain",)):
        assert tsm("topology", *verb, "-n", node_id) == NotFoundError.exit_code
        assert f"there is no node {node_id!r}" in capsys.readouterr().err
    assert tsm("maintenance", "status") == 0, "the maintenance goes on"
    assert tsm("maintenance", "enter", "--reason", "x", "--without-node", node_id) != 0
    for words in (("set-process", "-pr", "web", "-c", "1"), ("set-node-role", "-r", "all-jobs")):
        assert tsm("topology", *words, "-n", node_id) == NotFoundError.exit_code


def test_a_node_that_was_taken_out_meanwhile_is_told(
    node_dir: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(MaintenanceService, "standing", lambda *_: ())
    words = ("topology", "drain", "-n", "node1", "--yes", "--data-dir", str(node_dir))
    assert dispatch.main("tsm", words) == NotFoundError.exit_code
    assert "node1 was taken out of the installation meanwhile" in capsys.readouterr().err


@pytest.mark.parametrize(
    "change", [{"epoch": 0}, {"state": "perhaps"}, {"within_s": 86_401}, {"what": "x" * 401}]
)
def test_an_entry_that_cannot_be_is_refused(change: dict[str, object]) -> None:
    since = "2026-11-30T12:00:00Z"
    right = Maintenance(1, Standing.ENTERED, "why", "os:tests", "node1", since, 60, ("node2",))
    assert form.parse(right.serialize()) == right
    wrong = json.dumps(
        {**json.loads(right.serialize()), **change}, sort_keys=True, separators=(",", ":")
    )
    with pytest.raises(FormatError):
        form.parse(wrong.encode() + (b"\n" if right.serialize().endswith(b"\n") else b""))


def test_a_word_counts_for_its_own_node_alone() -> None:
    installation = "00000000-0000-4000-8000-000000000001"
    word = Drained(1, installation, 0, "2026-11-30T12:00:00Z")
    plain = word.signed(installation, "node1", None)
    assert form.parse_drained(plain, installation, "node1", None) == word
    with pytest.raises(FormatError, match="in the name of another"):
        form.parse_drained(plain, installation, "node2", None)
    with pytest.raises(IntegrityError):
        form.parse_drained(plain, installation, "node1", bytes(32))


@pytest.mark.parametrize("entry", [form.ENTRY, f"{form.DRAINS}node1"])
def test_an_entry_that_cannot_be_read_leaves_a_node_as_it_was(
    node: Node, entry: str, caplog: pytest.LogCaptureFixture
) -> None:
    """maintenance.md 3.1, for a node in service and for one that is out of it: its processes and its reports go on."""

    def spoil() -> None:
        found = node.coordinator.get(entry)
        node.coordinator.put({entry: Change(b"{}", found.version if found else 0)})

    spoil()
    with pytest.raises(FormatError):
        (node.maintenance if entry == form.ENTRY else node.drain_of("node1")).present()
    settings = Settings(node)
    assert [node.out_of_service.seen() for _ in range(3)] == [None] * 3
    assert not settings.is_maintained()
    said = [one for one in caplog.records if "out of service cannot be read" in one.getMessage()]
    assert len(said) == 1
    found = node.coordinator.get(entry)
    assert found is not None
    node.coordinator.put({entry: Change(None, found.version)})
    wanted = (
        enter(node) if entry == form.ENTRY else node.drain_of("node1").enter("x", "y", within_s=1)
    )
    assert node.out_of_service.seen() == wanted
    spoil()
    assert node.out_of_service.seen() == wanted
    assert settings.is_maintained()


def test_a_word_is_said_although_a_node_was_excused_meanwhile(node: Node) -> None:
    """Whoever enters it again adds nodes that are not waited for; a word that is not put would never be tried again."""
    found = enter(node)
    node.out_of_service.say_drained(found._replace(without=("node2",)), 0)
    assert len(told(node, "NODE_DRAINED")) == 1
    node.maintenance.leave("os:tests")
    with pytest.raises(StateError, match="is over"):
        node.out_of_service.say_drained(found, 0)


def test_a_word_that_is_said_while_it_ends_is_taken_away_too(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The event that it has ended is there already; so it ends, and once."""
    found, put = enter(node), node.coordinator.put
    node.maintenance.say_drained(found, 0)
    said = [f"{form.PREFIX}node2", f"{form.PREFIX}node3"]

    def meanwhile(changes: Mapping[str, Change], **more: Any) -> None:
        if form.ENTRY in changes and said:
            put({said.pop(): Change(b"{}", 0), f"{form.PREFIX}node1": Change(b"{}", 2 - len(said))})
        put(changes, **more)

    monkeypatch.setattr(node.coordinator, "put", meanwhile)
    assert node.maintenance.leave("os:tests") == found
    assert said == []
    assert node.coordinator.list(form.PREFIX) == {}
    assert len(told(node, "MAINTENANCE_LEFT")) == 1


@pytest.mark.parametrize(
    ("words", "told_words"),
    [
        (("maintenance", "enter", "--reason", "x", "-y"), "stays in maintenance until 'tsm maint"),
        (("topology", "drain", "-n", "node1", "-y"), "node1 stays drained until 'tsm topology und"),
    ],
    ids=["all", "one"],
)
@pytest.mark.parametrize("cause", [KeyboardInterrupt(), CoordinationError("it is away")])
def test_whoever_stops_waiting_is_told_what_goes_on(
    node: Node,
    words: tuple[str, ...],
    told_words: str,
    cause: BaseException,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """D11: `interrupted` alone reads as if nothing had happened, and no client was served any more."""

    def stopped(_: float) -> None:
        raise cause

    home = str(node.paths.root)
    with node.sole_worker.hold(), monkeypatch.context() as patch:
        patch.setattr(time, "sleep", stopped)
        assert dispatch.main("tsm", [*words, "--data-dir", home]) != 0
    assert told_words in capsys.readouterr().err
