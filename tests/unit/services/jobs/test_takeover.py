"""Which nodes count as gone, and what is done then (issue 12 B; b12): nothing of a living one is touched."""

from collections.abc import Collection
from contextlib import nullcontext
from dataclasses import dataclass, field

import pytest

from strongroom.coordination.base import Group
from strongroom.errors import CoordinationError
from strongroom.services.jobs.others import Others
from strongroom.services.jobs.takeover import Takeover

GONE_S = 10.0
LOOK_S = 5.0


@dataclass
class World:
    """Two other nodes with work, as node1 sees them."""

    workers: set[str] = field(default_factory=lambda: {"node1", "node2", "node3"})
    nodes: set[str] = field(default_factory=lambda: {"node1", "node2", "node3"})
    shared: bool = True
    away: bool = False
    now: float = 0.0
    done: list[tuple[object, ...]] = field(default_factory=list)

    def members(self, group: Group) -> Collection[str]:
        if self.away:
            raise CoordinationError("nobody answers")
        return self.workers if group is Group.WORKERS else self.nodes

    def with_work(self) -> frozenset[str]:
        return frozenset({"node1", "node2", "node3"})

    def give_back(self, node_id: str) -> list[str]:
        self.done.append(("jobs", node_id))
        return []

    def remove_files(self, node_id: str, *, of_jobs: bool) -> int:
        self.done.append(("files of jobs" if of_jobs else "files", node_id))
        return 0

    def passes(self, seconds: float) -> list[tuple[object, ...]]:
        """What is done within that time."""
        self.done.clear()
        end = self.now + seconds
        while self.now < end:
            self.takeover.look()
            self.now += LOOK_S
        return sorted(set(self.done), key=str)

    def __post_init__(self) -> None:
        others = Others("node1", self.members, nullcontext, lambda: self.shared, GONE_S)
        self.takeover = Takeover(others, self, lambda: self.now)  # type: ignore[arg-type]


@pytest.fixture
def world() -> World:
    return World()


def test_a_node_that_is_there_keeps_what_it_has(world: World) -> None:
    assert world.passes(1000) == []


def test_a_node_is_gone_when_it_was_away_for_a_session(world: World) -> None:
    world.passes(1)
    world.workers.discard("node2")
    assert world.passes(GONE_S) == []
    assert world.passes(2 * LOOK_S) == [("files of jobs", "node2"), ("jobs", "node2")]


def test_a_node_that_begins_anew_within_a_session_keeps_its_jobs(world: World) -> None:
    for _ in range(10):
        world.workers.discard("node2")
        assert world.passes(GONE_S - 1) == []
        world.workers.add("node2")
        assert world.passes(LOOK_S) == []


def test_publications_of_a_node_that_is_served_stay(world: World) -> None:
    """Its worker is gone, and another process of it may be taking an upload."""
    world.workers.discard("node2")
    assert ("files", "node2") not in world.passes(100)
    world.nodes.discard("node2")
    assert ("files", "node2") not in world.passes(GONE_S)
    assert ("files", "node2") in world.passes(2 * LOOK_S)


def test_a_controller_whose_own_worker_is_gone_takes_its_jobs_as_well(world: World) -> None:
    """Its server lives: what that takes in is left alone."""
    world.workers.discard("node1")
    assert world.passes(GONE_S) == []
    assert world.passes(2 * LOOK_S) == [("files of jobs", "node1"), ("jobs", "node1")]


def test_a_controller_that_is_cut_off_takes_nothing(world: World) -> None:
    """To it, all others seem to be away, or nobody answers."""
    world.workers.clear()
    world.nodes.clear()
    assert world.passes(100) == []
    world.nodes.add("node1")
    world.workers |= {"node1", "node3"}
    world.away = True
    assert world.passes(100) == []
    world.away = False
    assert world.passes(GONE_S) == [], "what was not seen meanwhile does not count"
    assert ("jobs", "node2") in world.passes(2 * LOOK_S)


def test_jobs_wait_for_a_node_whose_files_are_on_its_own_disk(world: World) -> None:
    world.shared = False
    world.workers.discard("node2")
    assert world.passes(100) == []
