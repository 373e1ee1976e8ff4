"""The jobs of a node that is gone are taken over by a living one (issue 12 B; matrix 32, 33; E9; real services, moto)."""

import json
import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from strongroom.coordination.base import Group
from strongroom.jobs.model import JobKind, JobState, Receipt
from strongroom.node.opening import Node
from strongroom.repository.rows import JobRow, SiteMode
from tests.conftest import Torture
from tests.contract.cluster.commands import Run, at_work, joined, nodes
from tests.contract.cluster.takeover_lab import (
    ACTOR,
    EXTRACTS,
    Site,
    WorkerProcess,
    filled,
    times_done,
    wait_for,
    working,
)
from tests.contract.joining.commands import Said, told
from tests.support import object_stores, web_client
from tests.support.emulators import Aws
from tests.support.web_client import ADMIN, PASSWORD, Client, Served


@dataclass
class Pair:
    """Two served nodes with their extracts in one store."""

    one: Served
    two: Served
    site: Site
    client: Client

    @property
    def nodes(self) -> tuple[Node, Node]:
        return self.one.node, self.two.node

    def workers(self) -> list[str]:
        return self.two.node.coordinator.members(Group.WORKERS)

    def ended(self, job: JobRow) -> JobRow:
        wait_for(lambda: self.two.node.jobs.show(job.id).finished_at, "nobody ends the job")
        return self.two.node.jobs.show(job.id)


@pytest.fixture
def pair(cluster_home: Path, run: Run, tmp_path: Path, server: Aws) -> Iterator[Pair]:
    address = object_stores.bucket(server.url, tmp_path.name.replace("_", "-")).address.text
    assert run("strongroom", cluster_home, "extracts", "move", "--to", address).code == 0
    second = tmp_path / "two"
    with web_client.serve(cluster_home, upkeep_s=5) as one:
        joined(one, run, second)
        # its agent stands for controller, which sees to the jobs
        with web_client.serve(second, upkeep_s=5) as two, at_work(second):
            site = filled(one, one.site("Sales", SiteMode.ENABLED), "Sales")
            yield Pair(one, two, site, two.client("Sales", ADMIN, PASSWORD))


def rounds(torture: Torture) -> Iterator[int]:
    """The extracts in whose midst a worker is met: one of the seed's choice, or twenty."""
    chance = random.Random(torture.seed)
    for _ in range(20 if torture.whole else 1):
        yield chance.randrange(3, EXTRACTS - 8)


@contextmanager
def in_its_middle(pair: Pair, at: int) -> Iterator[tuple[WorkerProcess, JobRow]]:
    """A worker of node1 that has done so many extracts of a job, while node2 has a worker, too."""
    with working(pair.one.node.paths.root) as first:
        job = pair.site.encrypt()
        node = pair.one.node
        wait_for(lambda: node.jobs.show(job.id).owner_node == "node1", "node1 takes no job")
        with working(pair.two.node.paths.root):
            wait_for(lambda: pair.workers() == ["node1", "node2"], "a worker is not announced")
            wait_for(lambda: pair.site.encrypted() >= at, "node1 does nothing")
            now = node.jobs.show(job.id)
            assert (now.owner_node, now.owner_epoch) == ("node1", 1), "it lost its job alive"
            yield first, job


def check_taken_over(pair: Pair, job: JobRow, before: Mapping[Node, int]) -> None:
    """The job was ended by node2 as it was to be, and no extract was lost."""
    assert (job.state, job.owner_node, job.note) == (JobState.SUCCEEDED, "node2", "")
    assert job.receipt is not None
    receipt = Receipt.from_dict(job.receipt)
    assert (receipt.scanned, receipt.changed, receipt.remaining) == (EXTRACTS, EXTRACTS, 0)
    times = times_done(before, *pair.nodes)
    assert times.keys() == pair.site.published.keys()
    assert sum(times.values()) <= EXTRACTS + 1, "more than one extract was done twice"
    pair.site.check_whole(pair.client)


def decrypt_again(pair: Pair) -> None:
    """For the next round."""
    with working(pair.two.node.paths.root):
        job = pair.two.node.jobs.enqueue(JobKind.DECRYPT, pair.site.site_id, ACTOR)
        assert pair.ended(job).state == JobState.SUCCEEDED


def test_a_job_of_a_killed_worker_is_taken_over(pair: Pair, torture: Torture) -> None:
    for number, at in enumerate(rounds(torture)):
        if number:
            decrypt_again(pair)
        before = {node: sum(1 for _ in node.events.read()) for node in pair.nodes}
        with in_its_middle(pair, at) as (worker, job):
            worker.kill()
            assert pair.site.encrypted() < EXTRACTS
            check_taken_over(pair, pair.ended(job), before)


def test_a_worker_that_was_only_paused_changes_nothing_more(pair: Pair, torture: Torture) -> None:
    """SIGSTOP: it wakes when another node has done its job."""
    for number, at in enumerate(rounds(torture)):
        if number:
            decrypt_again(pair)
        before = {node: sum(1 for _ in node.events.read()) for node in pair.nodes}
        with in_its_middle(pair, at) as (worker, job):
            worker.pause()
            ended = pair.ended(job)
            rows = pair.site.rows()
            worker.wake()
            wait_for(lambda: pair.workers() == ["node1", "node2"], "it does not come back")
            # one more job of the site, by whichever of them: the one that woke has to let go of its own
            assert pair.ended(pair.site.encrypt()).state == JobState.SUCCEEDED
            assert pair.two.node.jobs.show(job.id) == ended
            assert pair.site.rows() == rows
            check_taken_over(pair, ended, before)


def test_a_job_follows_the_roles_of_the_nodes(pair: Pair, run: Run) -> None:
    """E-16, matrix 35: it goes on where the role is, and says what it waits for while no node has it."""
    one, two = (node.paths.root for node in pair.nodes)

    def give(node: str, role: str) -> Said:
        said = run("tsm", one, "topology", "set-node-role", "-n", node, "-r", role)
        assert (said.code, said.out) == (0, f"{node}: {role}\n"), said.err
        return said

    before = {node: sum(1 for _ in node.events.read()) for node in pair.nodes}
    with in_its_middle(pair, 5) as (_, job):
        assert give("node2", "no-extract-refreshes").err == ""
        said = give("node1", "no-extract-refreshes")
        assert "no node works on jobs now" in said.err
        wait_for(lambda: pair.two.node.jobs.show(job.id).state == "queued", "it is not given back")
        shown = run("strongroom", two, "jobs", "show", job.id)
        assert "Waits for: a node with the role extract-refreshes" in shown.out
        (listed,) = json.loads(run("strongroom", two, "jobs", "list", "--json").out)
        assert listed["waits_for"] == "a node with the role extract-refreshes"
        found = nodes(run, two)
        assert {one["role"] for one in found.values()} == {"no-extract-refreshes"}
        give("node2", "extract-refreshes")
        check_taken_over(pair, pair.ended(job), before)
    refused = run("tsm", one, "topology", "set-node-role", "-n", "node2", "-r", "flows")
    assert refused.code == 2
    assert "all-jobs, extract-refreshes, no-extract-refreshes" in refused.err
    assert run("tsm", one, "topology", "set-node-role", "-n", "node9", "-r", "all-jobs").code == 5
    again = pair.site.encrypt()
    shown = run("strongroom", one, "jobs", "show", again.id)
    assert "Waits for: a backgrounder on node2" in shown.out
    told_ = told(pair.one.node, "NODE_ROLE_SET")
    assert [(event["node_id"], event["role"]) for event in told_] == [
        ("node2", "no-extract-refreshes"),
        ("node1", "no-extract-refreshes"),
        ("node2", "extract-refreshes"),
    ]
