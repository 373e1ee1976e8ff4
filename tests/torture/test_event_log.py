"""`events archive`, and the signing of an event, killed and broken at every mutating system call (findings R3, R10)."""

import os
from pathlib import Path

import pytest

from strongroom.doors.http import upkeep
from strongroom.eventlog import copies, notes
from strongroom.eventlog.checkpoint_form import parse
from strongroom.node.opening import Node
from strongroom.system import durable
from tests.conftest import Torture
from tests.torture import harness, nodes
from tests.torture.harness import FAULTS, Lab, Outcome
from tests.torture.nodes import run

pytestmark = pytest.mark.torture


def _lab(start: Path, tool: str, *words: str) -> Lab:
    variables = {"STRONGROOM_HOME": "{place}/node"}
    return Lab(start, start.with_name("place"), (tool, *words), variables)


def _archived(node: Node) -> list[Path]:
    return sorted(node.paths.events.parent.glob("node1.jsonl.*Z"))


def _lines(path: Path) -> list[bytes]:
    return path.read_bytes().splitlines()


def _check_both(node: Node) -> None:
    """`events verify` says verified of the log and of each archived one, and of no line that it was signed late."""
    report = node.events.verify()
    assert (report.is_whole, report.late) == (True, ()), report
    newest = node.events.newest_checkpoint()
    assert newest is not None
    for path in _archived(node):
        kept = parse(path.with_name(f"{path.name}.checkpoint").read_bytes()).note
        checkpoint = notes.open_note(kept, newest.signer.verifier)
        copy = copies.verify(path, checkpoint)
        assert (copy.is_whole, copy.head.seq) == (True, checkpoint.size), path


def _check_links(node: Node) -> None:
    assert {path.stat().st_nlink for path in (node.paths.events, *_archived(node))} == {1}


@FAULTS
def test_archiving(start: Path, torture: Torture, faults: tuple[str, ...]) -> None:
    """R3: old or new at every moment; both verify, nothing is lost or there twice, and no second name stays."""
    run(start / "node", "tsm", "configuration", "get", "-k", "pgsql.readonly_password")
    with nodes.opened(start / "node") as node:
        before, times = _lines(node.paths.events), node.events.secret_times()
    lab = _lab(start, "strongroom", "events", "archive", "--reason", "torture")

    def check(outcome: Outcome) -> None:
        home = lab.place / "node"
        assert run(home, "strongroom", "events", "verify").startswith("verified ")
        with nodes.opened(home) as node:
            _check_both(node)
            _check_links(node)
            living, archived = _lines(node.paths.events), _archived(node)
            assert [line for path in archived for line in _lines(path)] == before * len(archived)
            if archived:
                assert len(living) == 2, "the new log names the old one, and nothing else is in it"
            else:
                assert living == before
                assert not outcome.succeeded
            assert node.events.secret_times() == times
            if not archived:
                node.events.archive("os:ada", "again")
                _check_both(node)
                _check_links(node)
        nodes.check_whole(home)
        assert not list((home / "tabsvc" / "events").glob(".*"))

    harness.torture(lab, torture.choose(lab.points(*faults)), check)


@FAULTS
def test_an_append(start: Path, torture: Torture, faults: tuple[str, ...]) -> None:
    """R10: lines that nobody signed are no change, and a start signs them."""
    lab = _lab(start, "tsm", "configuration", "get", "-k", "pgsql.readonly_password")

    def check(outcome: Outcome) -> None:
        del outcome
        with nodes.opened(lab.place / "node") as node:
            report = node.events.verify()
            assert not report.is_changed, report
            assert report.unsigned in {0, 1}
            assert bool(report.since) == bool(report.unsigned)
            upkeep.at_start(node)
            after = node.events.verify()
            assert after.is_whole
            assert after.head.seq - report.head.seq == (1 if report.unsigned else 0)
        nodes.check_whole(lab.place / "node")

    harness.torture(lab, torture.choose(lab.points(*faults)), check)


def test_a_log_that_the_version_before_left_half_archived_is_mended(start: Path) -> None:
    """R3: its rename of the checkpoint had happened, that of the log had not."""
    with nodes.opened(start / "node") as node:
        log, checkpoint = node.paths.events, node.events.checkpoints.path
        before = _lines(log)
        aside = log.with_name(f"{log.name}.20260101T000000Z")
        os.link(log, aside)
        checkpoint.rename(aside.with_name(f"{aside.name}.checkpoint"))
        durable.temp_path(log).write_bytes(b"half of a new log")
        report = node.events.verify()
        assert (report.is_whole, report.late) == (True, ())
        assert _lines(log) == before
        _check_links(node)
        upkeep.at_start(node)
    nodes.check_whole(start / "node")
    assert sorted(path.name for path in log.parent.iterdir()) == ["node1.checkpoint", "node1.jsonl"]
