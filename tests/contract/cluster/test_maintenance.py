"""A cluster in maintenance: every node drains and says so, a dark one is named (maintenance.md 1.3, 2.2, 3.2; b14)."""

import json
import os
import signal
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from strongroom.errors import StateError
from strongroom.jobs.model import JobKind
from strongroom.joining import maintenance as form
from strongroom.node.opening import Node
from strongroom.repository.rows import JobRow, SiteMode
from strongroom.services.jobs.processes import Process
from tests.contract.cluster.commands import Run, joined, nodes, opened
from tests.contract.cluster.takeover_lab import ACTOR, filled, wait_for, working
from tests.contract.joining.commands import Said, told
from tests.support import object_stores, servers, web_client
from tests.support.emulators import Aws

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(3600)]
EXTRACTS = 12


@dataclass
class Server:
    """A node that is served, as people run it."""

    home: Path
    process: servers.Process
    url: str

    def asked(self, path: str) -> tuple[int, str]:
        try:
            with urllib.request.urlopen(f"{self.url}{path}", timeout=30) as answer:
                return answer.status, answer.headers.get("retry-after", "")
        except urllib.error.HTTPError as error:
            return error.code, error.headers.get("retry-after", "")


@contextmanager
def served(home: Path, folder: Path) -> Iterator[Server]:
    own = servers.TestNode(folder, environment={"STRONGROOM_HOME": str(home)}).variables()
    credentials = {name: text for name, text in os.environ.items() if name.startswith("AWS_")}
    command = [str(servers.BIN / "strongroom"), "serve", "--port", "0"]
    errors = folder / f"{home.name}.err"
    with servers.ready(command, errors, folder, {**own, **credentials}) as (process, url):
        yield Server(home, process, url)


def maintenance(run: Run, home: Path, *words: str) -> Said:
    return run("tsm", home, "maintenance", *words)


def states(said: Said) -> dict[str, Any]:
    return {one["node_id"]: one["state"] for one in json.loads(said.out)["nodes"]}


@dataclass
class Scene:
    """Two nodes as processes, with a job that is in its middle.

    Attributes:
        run: Runs commands.
        homes: The data directories.
        folder: Where the servers run.
        node: node2, opened by this process.
        site: A site whose extracts are being encrypted.
        job: The job.
    """

    run: Run
    homes: tuple[Path, Path]
    folder: Path
    node: Node
    site: str
    job: JobRow

    def all_drain(self, servers: Sequence[Server]) -> None:
        said = maintenance(self.run, self.homes[0], "enter", "--reason", "new disks", "--json")
        assert (said.code, states(said)) == (0, {"node1": "drained", "node2": "drained"}), said.err
        for each in servers:
            assert each.asked("/readyz") == (503, "30")
            assert each.asked("/api/3.26/serverInfo") == (503, "30")
            assert each.asked("/healthz")[0] == 200
        shown = self.node.jobs.show(self.job.id)
        assert (shown.state, shown.owner_node) == ("queued", "")
        assert 0 < self.encrypted() < EXTRACTS, "the job has ended before it was interrupted"
        waits = {self.job.id: "the end of the maintenance"}
        assert self.node.job_waits.of([shown]) == waits
        with self.node.repository.reading() as tx:
            assert tx.intents.list() == [], "an extract was cut off"
        found = json.loads(self.run("tsm", self.homes[1], "status", "--json").out)
        assert found["maintenance"]["reason"] == "new disks"
        shown_as = {each["id"]: each["processes"]["web service"] for each in found["nodes"]}
        assert shown_as == {"node1": "in maintenance", "node2": "in maintenance"}

    def a_dark_node_is_named(self, two: Server) -> None:
        """One that is not there is not waited for."""
        two.process.send_signal(signal.SIGKILL)
        two.process.wait()
        wait_for(lambda: self.node.coordinator.members() == ["node1"], "its session goes on")
        enter = ("enter", "--reason", "still")
        said = maintenance(self.run, self.homes[0], *enter, "--wait", "600")
        assert said.code == 1
        assert "node2 is dark" in said.err, said.err
        assert "new disks" in said.out, "the reason is that of who came first"
        assert maintenance(self.run, self.homes[0], *enter, "--without-node", "node2").code == 0
        assert maintenance(self.run, self.homes[0], "status").code == 0

    def one_that_is_started_serves_nobody(self, two: Server) -> None:
        assert two.asked("/api/3.26/serverInfo") == (503, "30")
        wait_for(lambda: states_of(self.node)["node2"] == "drained", "it does not say so")
        with pytest.raises(StateError, match="node2 is alive"):
            self.node.maintenance.enter(ACTOR, "x", within_s=1, without=["node2"])

    def all_come_back(self, servers: Sequence[Server]) -> None:
        assert maintenance(self.run, self.homes[1], "leave").code == 0
        ready = [(200, "")] * len(servers)
        wait_for(lambda: [one.asked("/readyz") for one in servers] == ready, "one stays away")
        wait_for(lambda: self.node.jobs.show(self.job.id).finished_at, "the job does not go on")
        assert self.node.jobs.show(self.job.id).state == "succeeded"
        assert self.encrypted() == EXTRACTS
        events = [each for home in self.homes for each in of_log(home)]
        assert events.count("EXTRACT_ENCRYPTED") == EXTRACTS + 1, "an extract was done twice"
        # once anew, for the node that is not waited for
        assert events.count("MAINTENANCE_ENTERED") == 2
        assert events.count("MAINTENANCE_LEFT") == 1
        assert self.node.coordinator.list(form.PREFIX) == {}
        assert self.node.state_faults() == ()

    def one_is_drained_alone(self, one: Server, two: Server) -> None:
        """The other one goes on; a drain ends when somebody says so."""
        drain = ("topology", "drain", "-n", "node2", "--reason", "new memory")
        said = self.run("tsm", self.homes[0], *drain)
        assert (said.code, said.out[:14]) == (0, "node2: drained"), said.err
        assert [each.asked("/readyz")[0] for each in (one, two)] == [200, 503]
        listed = nodes(self.run, self.homes[0])
        assert listed["node1"]["drained"] is None
        assert listed["node2"]["drained"]["reason"] == "new memory"
        assert json.loads(self.run("tsm", self.homes[1], "status", "--json").out)["maintenance"]
        undrain = ("topology", "undrain", "-n", "node2")
        assert self.run("tsm", self.homes[1], *undrain).out == "node2 serves again\n"
        wait_for(lambda: two.asked("/readyz")[0] == 200, "it does not serve again")

    def one_is_taken_out(self, two: Server) -> None:
        """Without --force: it drains first, and ends."""
        words = ("topology", "remove-nodes", "-n", "node2", "--keep-keys", "--yes")
        said = self.run("tsm", self.homes[0], *words)
        assert said.code == 0, said.err
        drains, drained = (said.err.index(f"node2 {word}") for word in ("drains,", "has drained"))
        assert drains < drained < said.err.index("node2 is none of the nodes any more")
        two.process.wait()
        with opened(self.homes[0]) as left:
            assert left.coordinator.list(form.DRAINS) == {}
            assert told(left, "NODE_DRAINING")[-1]["what"] == "the node is taken out"

    def encrypted(self) -> int:
        with self.node.repository.reading() as tx:
            return sum(bool(row.file_id) for row in tx.contents.list_for_site(self.site))


def test_every_node_drains_and_says_so_and_all_come_back(
    home: Path, run: Run, tmp_path: Path, server: Aws
) -> None:
    """Entered on one node, left on the other; ZooKeeper, PostgreSQL and an object store are real."""
    address = object_stores.bucket(server.url, tmp_path.name.replace("_", "-")).address.text
    assert run("strongroom", home, "extracts", "move", "--to", address).code == 0
    second = tmp_path / "two"
    with web_client.serve(home) as first:
        joined(first, run, second)
        site = filled(first, first.site("Sales", SiteMode.ENABLED), "Sales", EXTRACTS).site_id
        a_second_place_works(first)
    with ExitStack() as stack:
        one = stack.enter_context(served(home, tmp_path))
        two = stack.enter_context(served(second, tmp_path))
        node = stack.enter_context(opened(second))
        job = node.jobs.enqueue(JobKind.ENCRYPT, site, ACTOR)
        scene = Scene(run, (home, second), tmp_path, node, site, job)
        wait_for(lambda: scene.encrypted() > 0, "nobody works on the job")
        scene.all_drain([one, two])
        scene.a_dark_node_is_named(two)
        two = stack.enter_context(served(second, tmp_path))
        scene.one_that_is_started_serves_nobody(two)
        scene.all_come_back([one, two])
        scene.one_is_drained_alone(one, two)
        node.close()
        scene.one_is_taken_out(two)


def a_second_place_works(served: web_client.Served) -> None:
    """ADR 61: a backgrounder beside the first one, which is not there, is an owner of its own to PostgreSQL and the engine."""
    node = served.node
    assert served.site("Other", SiteMode.ENABLED).publish("one").status == 201
    # nobody is the controller here, who switches on what all nodes know
    node.software.say()
    assert node.software.raise_to_all("system")
    node.node_processes.set(ACTOR, "node1", Process.BACKGROUNDER, 2)
    with working(node.paths.root, place=1):
        job = node.jobs.enqueue(JobKind.ENCRYPT, node.sites.find("Other").id, ACTOR)
        wait_for(lambda: node.jobs.show(job.id).finished_at, "the second place does nothing")
    found = node.jobs.show(job.id)
    assert (found.state, found.owner_node, found.owner.place) == ("succeeded", "node1", 1)
    node.node_processes.set(ACTOR, "node1", Process.BACKGROUNDER, 1)


def states_of(node: Node) -> dict[str, str]:
    found = node.maintenance.present()
    assert found is not None
    return {one.node_id: one.state.value for one in node.maintenance.standing(found)}


def of_log(home: Path) -> list[str]:
    with opened(home) as node:
        return [str(one["id"]) for one in node.events.read()]
