"""The state of every node, proved now and judged by who asks (issue 11 F, b10; A-05, A-18, A-19; E2, E3, E13)."""

import json
import re
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from strongroom.coordination.board import Posted
from strongroom.joining import node_keys, own_keys, probes
from strongroom.joining.node_reports import KeysSeen, NodeReport, StoreSeen
from strongroom.node import agent, cluster_nodes, opening, reporting
from strongroom.node.opening import Node
from strongroom.services.nodes import inquiry, judging
from strongroom.services.nodes.judging import Judged, State
from tests.contract.cluster.commands import Run, joined, nodes
from tests.contract.roots.provider_aws import MinistackLab, start_ministack
from tests.support import servers, web_client
from tests.support.cluster_services import ClusterServices

LIMIT_S = 60.0


@pytest.fixture
def homes(cluster_home: Path, second_home: Path) -> tuple[Path, Path]:
    """The directories of two active nodes, which nobody serves."""
    return cluster_home, second_home


@contextmanager
def at_work(home: Path) -> Iterator[Node]:
    """A node that does its duties in this process, as `serve` has it do."""
    with closing(opening.open_node(str(home))) as node, node.announced(), agent.at_work(node):
        yield node


@contextmanager
def alive(home: Path) -> Iterator[Node]:
    """A node that is alive and says nothing by itself."""
    with closing(opening.open_node(str(home))) as node, node.announced():
        yield node


def kms(run: Run, home: Path, *words: str) -> tuple[int, dict[str, Any]]:
    said = run("tsm", home, "security", "kms", "status", "--json", *words)
    found = json.loads(said.out)
    assert (said.code == 0) == (found["status"] == "OK")
    return said.code, found


def of(found: dict[str, Any], node_id: str) -> dict[str, Any]:
    [one] = [one for one in found["nodes"] if one["id"] == node_id]
    assert isinstance(one, dict)
    return one


def judged(node: Node, node_id: str, wait_s: float = 1.0) -> Judged:
    """A node in the eyes of another, which waits no longer than a test has to."""
    [one] = [one for one in cluster_nodes.ask(node, wait_s) if one.node_id == node_id]
    return one


def a_report(node: Node, **changed: Any) -> tuple[NodeReport, Posted]:
    """A report as the node would make it now, and where it belongs."""
    board = node.board
    assert board is not None
    place = board.take_place(node.paths.node_id)
    made = reporting.Reporter(node, board)._made(place)
    return made._replace(**changed), place


def post(node: Node, note: bytes, place: Posted) -> None:
    assert node.board is not None
    node.board.post(node.paths.node_id, note, place.version)


def signed(node: Node, report: NodeReport) -> bytes:
    keys = own_keys.read(node.paths)
    return report.signed(keys.installation_id, keys.signing)


def test_every_node_proves_its_keys_for_who_asks(homes: tuple[Path, Path], run: Run) -> None:
    """A-18, E2 the green round; the one that asks is told by all, and each by its own process."""
    one, two = homes
    with at_work(one) as first, at_work(two):
        for home in homes:
            code, found = kms(run, home)
            assert (code, found["problems"]) == (0, [])
            assert [each["state"] for each in found["nodes"]] == ["OK", "OK"]
            for each in found["nodes"]:
                assert each.keys() == {"id", "state", "checked_at", "identity", "epoch", "cause"}
                assert each["epoch"] == found["epoch"]
                assert each["checked_at"]
        told = json.loads(run("tsm", one, "status", "--json").out)
        assert [each["state"] for each in told["nodes"]] == ["OK", "OK"]
        assert all(each["report_age_s"] < 15 for each in nodes(run, one).values())
        first.meks.rotate("os:tests")
        before = first.entry_store.list("")
        _, found = kms(run, two)
        assert [(each["state"], each["epoch"]) for each in found["nodes"]] == [
            ("OK", found["epoch"])
        ] * 2
        # beats are no entries: neither the anchor nor any other entry changed by them
        assert {*first.entry_store.list("")} == {*before}
        assert first.state_faults() == ()
        # of this node alone, as Tableau has it
        _, found = kms(run, one, "--local-only")
        assert [each["id"] for each in found["nodes"]] == ["node1"]


def test_a_node_whose_keystore_is_lost_is_red_and_no_other(
    homes: tuple[Path, Path], run: Run
) -> None:
    """A-05, A-19, E2: what the serving process still has in memory is no proof."""
    one, two = homes
    with at_work(one), at_work(two) as second:
        assert kms(run, one)[0] == 0
        kept = [*second.keystore.folders]
        for folder in kept:
            shutil.move(folder, folder.with_name("away"))
        code, found = kms(run, one)
        assert code == 1
        assert [each["state"] for each in found["nodes"]] == ["OK", "ERROR"]
        assert "keystore" in of(found, "node2")["cause"]
        assert found["problems"] == [f"node2 is ERROR: {of(found, 'node2')['cause']}"]
        said = run("tsm", one, "security", "kms", "status")
        assert said.out.startswith("Status: ERROR\nProblem: node2 is ERROR: ")
        blocks = run("tsm", one, "status", "-v")
        assert blocks.code == 1
        assert blocks.out.count("is in an error state") == 1
        first, _, other = blocks.out.partition("node2: ")
        assert first.startswith("node1: localhost\n\tStatus: ")
        assert "'Strongroom Key Management 0' is running." in first
        assert "\tStatus: DEGRADED\n" in other
        assert "'Strongroom Key Management 0' is in an error state." in other
        # who asks there knows of no node, and says so
        own = run("tsm", two, "status")
        assert (own.code, "the nodes are not known: " in own.err) == (1, True), own.err
        assert run("tsm", two, "security", "kms", "status").code == 33
        for folder in kept:
            shutil.move(folder.with_name("away"), folder)
        assert kms(run, one)[0] == 0


def test_a_silent_node_is_not_taken_at_its_last_word(
    homes: tuple[Path, Path], run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """E3: what it said before counts for nothing, whether its process lives or not."""
    one, two = homes
    with at_work(one) as first:
        with at_work(two):
            assert kms(run, one)[0] == 0
            # its agent goes on, and its proofs hang
            monkeypatch.setattr(reporting.Reporter, "prove", lambda _: None)
        with at_work(two):
            assert judged(first, "node2", 3.0).state is State.STALE
            assert "it has not proved its keys in" in judged(first, "node2").cause
        monkeypatch.undo()
        stopped = judged(first, "node2")
        assert (stopped.state, stopped.is_bad) == (State.STOPPED, True)
        assert "it is stopped: not reporting since " in stopped.cause
        monkeypatch.setattr(judging, "SILENT_MS", 2_000)
        with alive(two):
            # the note of the process before, under the process of now
            old = judged(first, "node2")
            assert old.state in {State.ERROR, State.STOPPED}
            _until(lambda: judged(first, "node2").state is State.STOPPED)
            assert "it is there, and says nothing" in judged(first, "node2").cause
    said = run("tsm", one, "security", "kms", "status")
    assert said.code == 1
    assert said.out.startswith("Status: ERROR\nProblem: node1 is STOPPED: ")
    assert run("tsm", one, "status").code == 1


def test_forged_reports_are_not_believed(homes: tuple[Path, Path]) -> None:
    """E3, matrix: replayed, by another key, of another process, of another place, of another node; all of them fresh."""
    one, two = homes
    with at_work(one) as first, alive(two) as second:
        good, place = a_report(second)
        note = signed(second, good)
        post(second, note, place)
        assert judged(first, "node2").state is State.STALE, "believed, and without a proof"

        def cause_of(forged: bytes) -> str:
            assert second.board is not None
            now = second.board.take_place("node2")
            post(second, forged, now)
            found = judged(first, "node2")
            assert (found.state, found.report) == (State.ERROR, None), found
            return found.cause

        assert "it was written to be version" in cause_of(note), "an older one again"
        later, now = a_report(second)
        assert "it was written to be version" in cause_of(
            signed(second, later._replace(version=now.version + 7))
        )
        strange = node_keys.make(second.configuration.document().installation_id, "node2")
        later, _ = a_report(second)
        for keys in (own_keys.read(first.paths), strange):
            later, _ = a_report(second)
            cause_of(later.signed(keys.installation_id, keys.signing))
        later, _ = a_report(second)
        assert "another process" in cause_of(signed(second, later._replace(boot_id=first.boot_id)))
        later, _ = a_report(second)
        assert "another place" in cause_of(signed(second, later._replace(born=later.born + 1)))
        of_one, _ = a_report(first)
        later, now = a_report(second)
        cause_of(signed(first, of_one._replace(version=now.version + 1, born=now.born)))
        cause_of(b"no report")
        cause_of(signed(second, a_report(second)[0])[:-1])


def test_a_node_with_older_keys_is_red(
    homes: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """b10.4: by the time of the board, after a grace in which news may come."""
    one, two = homes
    with at_work(one) as first, ExitStack() as stack:
        # changed while the other one was not there
        first.peers.set_stale("os:tests", ["node2"])
        first.meks.rotate("os:tests")
        second = stack.enter_context(alive(two))

        def state(**changed: Any) -> Judged:
            report, place = a_report(second, **changed)
            post(second, signed(second, report), place)
            return judged(first, "node2")

        report, _ = a_report(second)
        assert report.store is not None
        assert report.keys is not None
        older = StoreSeen(report.store.epoch - 1, report.store.digest)
        strange = KeysSeen(first.boot_id, report.keys.generation)
        behind = KeysSeen(report.keys.id, report.keys.generation - 1)
        assert state(store=older).state is State.STALE, "just now it may still say so"
        assert first.board is not None
        put_ms, place = first.board.changed_ms("config"), first.board.take_place("node2")
        assert place.at_ms - put_ms < judging.GRACE_MS
        monkeypatch.setattr(judging, "GRACE_MS", 2_000)
        _until(lambda: state(store=older).state is State.ERROR)
        for changed in ({"store": older}, {"keys": strange}, {"keys": behind}, {"keys": None}):
            found = state(**changed)
            assert found.state is State.ERROR
            assert found.cause.startswith("has old keys: ")
        assert state().state is State.STALE, "the present keys, and no proof"


@dataclass
class Role:
    """An AWS identity of one node, with the two actions of A-04, which it may lose."""

    lab: MinistackLab
    node_id: str

    def __post_init__(self) -> None:
        self.lab.admin("iam").create_user(UserName=self.node_id)
        self.grant()
        made = self.lab.admin("iam").create_access_key(UserName=self.node_id)["AccessKey"]
        self.environment = {
            **self.lab.environment,
            "AWS_ACCESS_KEY_ID": made["AccessKeyId"],
            "AWS_SECRET_ACCESS_KEY": made["SecretAccessKey"],
        }

    def grant(self) -> None:
        self.lab.admin("iam").put_user_policy(
            UserName=self.node_id, PolicyName="strongroom", PolicyDocument=self.lab.policy()
        )

    def deny(self) -> None:
        self.lab.admin("iam").delete_user_policy(UserName=self.node_id, PolicyName="strongroom")


def test_a_node_whose_role_is_denied_is_red_and_a_killed_one(
    cluster_home: Path, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A-05, A-18, A-19, E2, E3, E19: two real servers, each with an AWS identity of its own, at an AWS that enforces policies."""
    second = tmp_path / "two"
    with ExitStack() as stack:
        lab = stack.enter_context(start_ministack(_folder(tmp_path / "aws")))
        roles = {name: Role(lab, name) for name in ("node1", "node2")}

        def become(node_id: str) -> None:
            for name, value in roles[node_id].environment.items():
                monkeypatch.setenv(name, value)

        become("node1")
        with web_client.serve(cluster_home) as served:
            served.node.modes.set_mode(lab.settings, "os:tests")
            become("node2")
            joined(served, run, second)
        processes = {}
        for node_id, home in (("node1", cluster_home), ("node2", second)):
            own = {"STRONGROOM_HOME": str(home), **roles[node_id].environment}
            variables = servers.TestNode(tmp_path, environment=own).variables()
            command = [str(servers.BIN / "strongroom"), "serve", "--port", "0"]
            errors = tmp_path / f"{node_id}.err"
            served_ = servers.ready(command, errors, tmp_path, variables)
            processes[node_id] = stack.enter_context(served_)[0]
        # who asks needs no role: each node asks AWS by its own
        for name in roles["node1"].environment:
            monkeypatch.delenv(name)
        # red exactly for the right node, asked at either; the rounds with none are green (E2)
        for denied, home in (("node2", cluster_home), ("", second), ("node1", second)):
            if denied:
                roles[denied].deny()
            code, found = kms(run, home)
            assert code == (1 if denied else 0), found
            states = {one["id"]: one["state"] for one in found["nodes"]}
            assert states == {one: "ERROR" if one == denied else "OK" for one in ("node1", "node2")}
            if denied:
                assert f"user/{denied}" in of(found, denied)["cause"]
            if home == cluster_home:
                _check_blocks(run, home, denied)
            if denied:
                roles[denied].grant()
        _kill(processes["node2"])
        begun = time.monotonic()
        code, found = kms(run, cluster_home)
        assert time.monotonic() - begun < 2 * inquiry.WAIT_S
        assert (code, of(found, "node1")["state"]) == (1, "OK")
        assert of(found, "node2")["state"] in {"STALE", "STOPPED"}


def _check_blocks(run: Run, home: Path, denied: str) -> None:
    """E19: the form that parsers know (H-tsm-status), and the error on the right node."""
    said = run("tsm", home, "status", "-v")
    assert said.code == (1 if denied else 0), said.err
    blocks = re.findall(r"^(node\d+): \S+\n((?:\t.*\n)+)", said.out, re.MULTILINE)
    assert said.out.count("\n") == 11
    assert [node_id for node_id, _ in blocks] == ["node1", "node2"]
    for node_id, lines in blocks:
        keys = "is in an error state" if node_id == denied else "is running"
        assert [one for one in lines.splitlines() if "Controller" not in one] == [
            f"\tStatus: {'DEGRADED' if node_id == denied else 'RUNNING'}",
            "\t'Strongroom Web Service 0' is running.",
            "\t'Strongroom Backgrounder 0' is running.",
            f"\t'Strongroom Key Management 0' {keys}.",
        ]
    told = json.loads(run("tsm", home, "status", "--json").out)
    assert told["status"] == ("DEGRADED" if denied else "RUNNING")
    assert (told["keys"] == "OK") == (not denied)
    assert [one["status"] for one in told["nodes"]] == [
        "DEGRADED" if one == denied else "RUNNING" for one in ("node1", "node2")
    ]


def test_without_a_quorum_nothing_is_said_of_any_node(
    homes: tuple[Path, Path], services: ClusterServices, run: Run
) -> None:
    """E13: exit code 40, and nothing on the screen that could be taken for the present."""
    one, two = homes
    with at_work(one), at_work(two):
        assert kms(run, one)[0] == 0
        for server in services.ensemble.servers[:2]:
            server.component.kill()
        for words in (("status", "-v"), ("security", "kms", "status")):
            begun = time.monotonic()
            said = run("tsm", one, *words)
            assert (said.code, said.out) == (40, "")
            assert time.monotonic() - begun < 20
        services.ensemble.mend()
        _until(lambda: run("tsm", one, "security", "kms", "status").code == 0)


def test_who_has_no_key_cannot_have_a_node_ask_its_roots(homes: tuple[Path, Path]) -> None:
    """f.9: a question has a MAC for its version, and all who ask are answered once in five seconds."""
    one, _ = homes
    with closing(opening.open_node(str(one))) as node:
        board = node.board
        assert board is not None
        reporter = reporting.Reporter(node, board)

        def heard() -> tuple[str, ...]:
            reporter.hear(board.read(probes.NAME))
            return reporter._asked

        cluster_nodes.ask(node, 0.0)
        asked = heard()
        assert len(asked) == 1
        place = board.take_place(probes.NAME)
        board.post(probes.NAME, place.value, place.version)
        assert heard() == asked, "the same bytes as another version"
        board.post(probes.NAME, b"no question", place.version + 1)
        assert heard() == asked
        reporter.prove()
        first = reporter._proof
        assert first is not None
        assert (first.nonces, first.cause) == (asked, "")
        assert first.wraps
        cluster_nodes.ask(node, 0.0)
        cluster_nodes.ask(node, 0.0)
        assert len(heard()) == 2, "beside each other"
        reporter.prove()
        assert reporter._proof is first, "too soon"
        reporter._began_s -= reporting.PROVE_EVERY_S
        reporter.prove()
        assert reporter._proof is not None
        assert reporter._proof.nonces == heard()


def _folder(path: Path) -> Path:
    path.mkdir()
    return path


def _kill(process: servers.Process) -> None:
    process.send_signal(signal.SIGKILL)
    process.wait()


def _until(holds: Callable[[], bool]) -> None:
    end = time.monotonic() + LIMIT_S
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.1)
