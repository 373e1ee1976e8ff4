"""The processes that each node runs (b9; format/nodes.md 7)."""

from collections.abc import Sequence

import pytest

from strongroom.coordination.base import Change, Coordinator, Versioned
from strongroom.errors import CoordinationError, FormatError, NotFoundError, StateError, UsageError
from strongroom.eventlog.base import Event
from strongroom.services.jobs import processes
from strongroom.services.jobs.per_node import NodeView
from strongroom.services.jobs.processes import ENTRY, Counts, NodeProcesses, Process


class World:
    """One entry, two nodes, and the events."""

    def __init__(self) -> None:
        self.entry: Versioned | None = None
        self.told: list[Event] = []
        self.away = False
        self.locked = 0

    def get(self, key: str) -> Versioned | None:
        assert key == ENTRY
        return self.entry

    def recent_version(self, key: str, age_s: float) -> int:
        assert (key, age_s) == (ENTRY, 20.0)
        if self.away:
            raise CoordinationError("nobody answers")
        return self.entry.version if self.entry else 0

    def lock(self, name: str, *, wait_s: float) -> "World":
        assert name == "topology"
        assert wait_s > 0
        return self

    def __enter__(self) -> None:
        self.locked += 1

    def __exit__(self, *_: object) -> None:
        self.locked -= 1

    def put(self, changes: dict[str, Change]) -> None:
        assert self.locked, "two that say something of two nodes would lose one of it"
        [(key, change)] = changes.items()
        assert key == ENTRY
        assert change.value is not None
        assert change.expected_version == (self.entry.version if self.entry else 0)
        assert self.told, "an event comes before"
        self.entry = Versioned(change.value, change.expected_version + 1)

    def append(self, events: Sequence[Event]) -> None:
        self.told += events

    def seen_by(self, node_id: str) -> NodeProcesses:
        fake: Coordinator = self  # type: ignore[assignment]
        return NodeProcesses(NodeView(fake, self, node_id, lambda: ("node1", "node2")))  # type: ignore[arg-type]


@pytest.fixture
def world() -> World:
    return World()


def test_a_node_of_which_nothing_is_said_runs_one_of_each(world: World) -> None:
    assert world.seen_by("node2").own() == Counts(web=1, backgrounder=1)
    assert world.seen_by("node1").all() == {"node1": Counts(), "node2": Counts()}


def test_what_is_said_of_one_node_leaves_the_others_and_its_other_processes(world: World) -> None:
    one, two = world.seen_by("node1"), world.seen_by("node2")
    one.set("me", "node2", Process.WEB, 0)
    assert (one.own(), two.own()) == (Counts(), Counts(web=0))
    one.set("me", "node1", Process.BACKGROUNDER, 0)
    two.set("me", "node2", Process.BACKGROUNDER, 0)
    assert two.all() == {"node1": Counts(backgrounder=0), "node2": Counts(0, 0)}
    two.set("me", "node2", Process.WEB, 1)
    assert two.own() == Counts(backgrounder=0)
    said = [
        (one.details["node_id"], one.details["process"], one.details["count"]) for one in world.told
    ]
    assert said == [
        ("node2", "web", 0),
        ("node1", "backgrounder", 0),
        ("node2", "backgrounder", 0),
        ("node2", "web", 1),
    ]
    two.set("me", "node2", Process.WEB, 1)
    assert len(world.told) == 4, "nothing else is said"


def test_a_node_that_reaches_nobody_goes_on_as_it_was(world: World) -> None:
    two = world.seen_by("node2")
    two.set("me", "node2", Process.WEB, 0)
    assert two.own().web == 0
    world.away = True
    assert two.own().web == 0


def test_the_last_one_of_a_kind_is_known(world: World) -> None:
    one = world.seen_by("node1")
    assert not one.is_last("node1", Process.WEB)
    one.set("me", "node2", Process.WEB, 0)
    assert one.is_last("node1", Process.WEB)
    assert not one.is_last("node2", Process.WEB)
    assert not one.is_last("node1", Process.BACKGROUNDER)
    with pytest.raises(NotFoundError, match="'node9'"):
        one.is_last("node9", Process.WEB)


def test_what_no_node_can_do_is_refused(world: World) -> None:
    one = world.seen_by("node1")
    with pytest.raises(NotFoundError, match="there is no node 'node9'"):
        one.set("me", "node9", Process.WEB, 1)
    for process, most in processes.MOST.items():
        for count in (-1, most + 1, 1000):
            with pytest.raises(
                UsageError, match=f"a node runs 0 to {most} of {process}, not {count}"
            ):
                one.set("me", "node1", process, count)
    assert (world.entry, world.told) == (None, [])


def test_several_are_refused_while_a_node_would_not_read_them(world: World) -> None:
    """ADR 61: an older release refuses the whole entry, and no node that has it would work on jobs."""
    fake: Coordinator = world  # type: ignore[assignment]

    def behind() -> None:
        raise StateError("node2 (0.1.9) does not know it")

    view = NodeView(fake, world, "node1", lambda: ("node1", "node2"))  # type: ignore[arg-type]
    one = NodeProcesses(view, behind)
    with pytest.raises(StateError, match="node2"):
        one.set("me", "node1", Process.BACKGROUNDER, 2)
    assert (world.entry, world.told) == (None, [])
    one.set("me", "node1", Process.BACKGROUNDER, 0)
    one.set("me", "node1", Process.BACKGROUNDER, 1)
    assert one.own() == Counts()


def test_names_of_processes() -> None:
    """Those of `tsm topology set-process`, and one that the seeds' tools have (H-tsm-topology)."""
    assert processes.named("backgrounder") is Process.BACKGROUNDER
    assert processes.named("web") is processes.named("vizportal") is Process.WEB
    with pytest.raises(UsageError, match="tabadmincontroller runs on every node"):
        processes.named("tabadmincontroller")
    with pytest.raises(UsageError, match="'vizqlserver' is no process of a node"):
        processes.named("vizqlserver")


@pytest.mark.parametrize(
    "bad",
    [
        b'{"processes":{"node2":{"backgrounder":9,"web":1}},"v":1}',
        b'{"processes":{"node2":{"backgrounder":1,"web":2}},"v":1}',
        b'{"processes":{"node2":{"backgrounder":-1,"web":1}},"v":1}',
        b'{"processes":{"node2":{"web":1}},"v":1}',
        b'{"processes":{"node2":{"backgrounder":1,"gateway":1,"web":1}},"v":1}',
        b'{"processes":{"node2":1},"v":1}',
        b'{"processes":{},"v":2}',
        b'{"processes":{},"v":1,"x":1}',
    ],
    ids=["more", "web", "less", "missing", "another", "number", "version", "member"],
)
def test_a_damaged_entry_is_refused(bad: bytes) -> None:
    with pytest.raises(FormatError):
        processes.parse(bad)
