"""One node of a cluster does what belongs to all, and another goes on when it is gone (ADR 48; b9; E8; real services)."""

import json
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from strongroom.coordination.base import Change
from strongroom.errors import ConflictError, CoordinationError
from strongroom.node.opening import Node
from strongroom.runtime import running
from strongroom.runtime.paths import DataPaths
from strongroom.services.nodes.controller import LOCK
from tests.contract.cluster.commands import Run, at_work, nodes, opened
from tests.contract.cluster.takeover_lab import wait_for
from tests.contract.joining.commands import Said, told
from tests.support import servers


@contextmanager
def served(home: Path, folder: Path) -> Iterator[servers.Process]:
    """A server as people run it."""
    own = servers.TestNode(folder, environment={"STRONGROOM_HOME": str(home)}).variables()
    command = [str(servers.BIN / "strongroom"), "serve", "--port", "0", "--no-backgrounder"]
    with servers.ready(command, folder / f"{home.name}.err", folder, own, forks=True) as (
        process,
        _,
    ):
        try:
            yield process
        finally:
            process.send_signal(signal.SIGCONT)


def passed_on(node: Node, before: str) -> float:
    """Seconds until another node is the controller."""
    begun = time.monotonic()
    wait_for(lambda: node.present_controller() not in {"", before}, f"nobody comes after {before}")
    return time.monotonic() - begun


def epochs(*nodes: Node) -> list[tuple[int, str]]:
    """The controllers that there were, in their order, by the events of all nodes."""
    found = (event for node in nodes for event in told(node, "CONTROLLER_TAKEN"))
    return sorted((int(str(event["epoch"])), str(event["node_id"])) for event in found)


def test_another_node_becomes_the_controller_without_a_hand(
    cluster_home: Path,
    second_home: Path,
    run: Run,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """E8: killed, and paused; the one that wakes is a candidate like any other."""
    homes = {"node1": cluster_home, "node2": second_home}
    taken = {}
    with ExitStack() as stack:
        processes = {
            name: stack.enter_context(served(home, tmp_path)) for name, home in homes.items()
        }
        one, two = (stack.enter_context(opened(home)) for home in homes.values())
        wait_for(one.present_controller, "there is no controller")
        paused = two.present_controller()
        processes[paused].send_signal(signal.SIGSTOP)
        taken["paused"] = passed_on(one, paused)
        other = one.present_controller()
        processes[paused].send_signal(signal.SIGCONT)
        assert {paused, other} == set(homes)
        # what people see, on either node
        for home in homes.values():
            found = nodes(run, home)
            assert {name for name, node in found.items() if node["controller"]} == {other}
            shown = run("tsm", home, "status", "-v").out.split("node2: ")
            lines = [("'Strongroom Controller 0' is running." in block) for block in shown]
            assert lines == [other == "node1", other == "node2"]
            assert json.loads(run("tsm", home, "status", "--json").out)["controller"] == other
        processes[other].kill()
        processes[other].wait()
        taken["killed"] = passed_on(one, other)
        assert one.present_controller() == paused
        wait_for(lambda: len(epochs(one, two)) == 3, "an event is missing")
        assert [name for _, name in epochs(one, two)] == [paused, other, paused]
        assert len({epoch for epoch, _ in epochs(one, two)}) == 3
    figures = ", ".join(f"{name}: {seconds:.1f} s" for name, seconds in taken.items())
    with capsys.disabled():
        sys.stdout.write(f"\nthe next controller, after the one before was {figures}\n")


def test_a_controller_that_was_cut_off_changes_nothing_in_either_store(
    cluster_home: Path, second_home: Path
) -> None:
    """E4, matrix 6: its lock goes to another node, and what it still does is refused by ZooKeeper and by PostgreSQL."""
    with (
        opened(cluster_home) as one,
        one.coordinator.lock(LOCK, wait_s=0) as lease,
        one.coordinator.under(lease),
        one.repository.fenced(LOCK, lease.token),
    ):
        one.configuration.set("gateway.https.port", "9443", actor="os:tests")
        # the session ends, as when nobody hears of a paused process
        one.entry_store.close()
        with at_work(second_home) as two:
            wait_for(lambda: told(two, "CONTROLLER_TAKEN"), "node2 does not take over")
            before = dict(two.coordinator.list(""))
            with pytest.raises(ConflictError, match="'controller' is no longer held"):
                one.coordinator.put({"late": Change(b"x", 0)})
            with pytest.raises(ConflictError, match="'controller' is no longer held"):
                one.configuration.set("gateway.https.port", "1", actor="os:tests")
            with pytest.raises(CoordinationError, match="'controller' was lost"):
                one.auth.prune()
            with (
                pytest.raises(CoordinationError, match="'controller' was lost"),
                one.repository.transaction() as tx,
            ):
                tx.tokens.delete("none")
            assert dict(two.coordinator.list("")) == before
            assert two.state_faults() == ()


def test_a_node_follows_what_is_said_of_it_on_another(
    cluster_home: Path, second_home: Path, run: Run, tmp_path: Path
) -> None:
    """`set-process` on node1 ends and begins the web service of node2, which goes on to stand for controller."""

    def say(process: str, count: int, *more: str) -> Said:
        words = ("-n", "node2", "-pr", process, "-c", str(count), *more)
        return run("tsm", cluster_home, "topology", "set-process", *words)

    def has_web() -> bool:
        found = running.find(DataPaths(second_home))
        return found is not None and bool(found.url)

    with served(second_home, tmp_path), opened(cluster_home) as one:
        wait_for(has_web, "node2 has no web service")
        # node1 has one, too, by the topology: nobody is asked
        assert say("web", 0).out == "node2: web 0\n"
        wait_for(lambda: not has_web(), "node2 goes on serving clients")
        wait_for(lambda: one.present_controller() == "node2", "node2 is not the controller")
        wait_for(lambda: _web_of(run, cluster_home) == "stopped", "its report says otherwise")
        assert nodes(run, cluster_home)["node2"]["processes"] == {"web": 0, "backgrounder": 1}
        assert say("web", 1).out == "node2: web 1\n"
        wait_for(has_web, "node2 does not serve clients again")
    assert [(event["node_id"], event["count"]) for event in _said(cluster_home)] == [
        ("node2", 0),
        ("node2", 1),
    ]


def _web_of(run: Run, home: Path) -> str:
    found = json.loads(run("tsm", home, "status", "--json").out)["nodes"]
    return str(next(one["processes"].get("web service") for one in found if one["id"] == "node2"))


def _said(home: Path) -> list[dict[str, object]]:
    with opened(home) as node:
        return list(told(node, "NODE_PROCESSES_SET"))


def test_a_single_node_is_its_own_controller(node_dir: Path, run: Run, tmp_path: Path) -> None:
    """Without any service: the duties are done, and status says so."""
    with served(node_dir, tmp_path):
        with opened(node_dir) as own:
            wait_for(lambda: own.present_controller() == "node1", "it does not stand")
            assert told(own, "CONTROLLER_TAKEN") == []
        found = json.loads(run("tsm", node_dir, "status", "--json").out)
        assert found["controller"] == "node1"
        listed = json.loads(run("tsm", node_dir, "topology", "list-nodes", "--json").out)
        assert [one["controller"] for one in listed] == [True]
    assert nodes(run, node_dir)["node1"]["controller"] is False
