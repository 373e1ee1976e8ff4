"""What all nodes know, and who holds it up (docs/format/nodes.md 8; matrix 45)."""

from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from strongroom.clock import SystemClock
from strongroom.coordination.base import Change
from strongroom.coordination.local import LocalCoordinator
from strongroom.errors import StateError
from strongroom.ids import new_id
from strongroom.joining import node_keys, software
from strongroom.joining.registry import NodeState, RegisteredNode
from strongroom.joining.software import InForce, Software
from strongroom.services.nodes.software import SoftwarePorts, SoftwareService

OLD = Software("0.2.0", frozenset({"repository-0004"}))
NEW = Software("0.3.0", frozenset({"repository-0004", "slots-3"}))
NODES = ("node1", "node2", "node3")


class World:
    """Three nodes over one coordination database."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self._folder, self._stack = folder, stack
        installation = new_id()
        self.keys = {name: node_keys.make(installation, name) for name in NODES}
        self.states = dict.fromkeys(NODES, NodeState.ACTIVE)
        self.events: list[Any] = []

    def all(self) -> dict[str, RegisteredNode]:
        return {
            name: RegisteredNode(name, self.keys[name].public, state, "2026-11-30T20:00:00Z")
            for name, state in self.states.items()
        }

    def node(self, name: str, own: Software) -> SoftwareService:
        path, locks = self._folder / "coordination.db", self._folder / "locks"
        LocalCoordinator.create(path, locks)
        coordinator = LocalCoordinator(path, locks, node_id=name)
        self._stack.enter_context(closing(coordinator))
        self.coordinator = coordinator
        log: Any = SimpleNamespace(append=self.events.extend)
        peers: Any = self
        keys = self.keys[name]
        return SoftwareService(
            SoftwarePorts(coordinator, peers, log, SystemClock(), lambda: keys, own)
        )


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with ExitStack() as stack:
        yield World(tmp_path, stack)


def test_whoever_has_said_nothing_holds_everything_up(world: World) -> None:
    """Also a node that is off, or stale; one that was taken out does not."""
    one, two, three = (world.node(name, NEW) for name in NODES)
    assert one.say()
    assert two.say()
    assert not one.say(), "it has"
    assert not one.raise_to_all("system")
    assert one.in_force() == InForce()
    world.states["node3"] = NodeState.STALE
    assert not one.raise_to_all("system")
    assert three.say()
    assert one.raise_to_all("system")
    assert one.in_force() == InForce("0.3.0", NEW.formats)
    assert [event.details for event in world.events] == [
        {"min_version": "0.3.0", "formats": "repository-0004 slots-3"}
    ]


def test_a_node_that_was_taken_out_holds_nothing_up(world: World) -> None:
    world.states["node3"] = NodeState.REMOVED
    one, two = world.node("node1", NEW), world.node("node2", NEW)
    world.node("node3", OLD).say()
    one.say()
    two.say()
    assert one.all() == {"node1": NEW, "node2": NEW}
    assert one.raise_to_all("system")
    assert one.in_force().min_version == "0.3.0"


def test_the_oldest_says_what_begins_and_what_began_stays(world: World) -> None:
    one, two, three = (world.node(name, NEW) for name in NODES)
    older = world.node("node2", OLD)
    assert [node.say() for node in (one, older, three)] == [True] * 3
    assert one.raise_to_all("system")
    assert one.in_force() == InForce("0.2.0", OLD.formats)
    assert two.say()
    assert one.raise_to_all("system")
    assert older.say(), "it goes back"
    assert not one.raise_to_all("system")
    with pytest.raises(StateError, match="cannot be the controller"):
        older.check_controls()
    with pytest.raises(StateError, match=r"\(0\.2\.0\) does not know slots-3"):
        older.check_serves()
    one.check_serves()
    one.check_controls()


def test_nothing_counts_before_anybody_was_controller(world: World) -> None:
    one = world.node("node1", OLD)
    one.check_serves()
    one.check_controls()
    assert not one.raise_to_all("system"), "no node has said anything"


def test_an_entry_of_a_later_form_holds_up_and_shuts_nobody_out(world: World) -> None:
    """A release that wrote another form was taken back: its node starts, and says it anew in the form of today."""
    one, two = world.node("node1", NEW), world.node("node2", NEW)
    world.states.pop("node3")
    one.say()
    two.say()
    place = software.PREFIX + "node2"
    entry = world.coordinator.get(place)
    assert entry is not None
    later = entry.value.replace(b"node-software-1", b"node-software-2")
    world.coordinator.put({place: Change(later, entry.version)})
    assert one.all() == {"node1": NEW}
    assert not one.raise_to_all("system")
    assert two.say()
    assert one.raise_to_all("system")


def test_a_node_with_new_keys_says_it_anew(world: World) -> None:
    """After a recovery, what its former key signed is nobody's word, and keeps no node from its start."""
    world.states = {"node1": NodeState.ACTIVE}
    assert world.node("node1", NEW).say()
    world.keys["node1"] = node_keys.make(world.keys["node1"].installation_id, "node1")
    again = world.node("node1", NEW)
    assert again.all() == {}
    assert not again.raise_to_all("system")
    assert again.say()
    assert again.all() == {"node1": NEW}
    assert again.raise_to_all("system")


def test_what_is_not_switched_on_is_refused_and_every_node_behind_is_named(world: World) -> None:
    """Matrix 45; also a node that is off, since it comes back."""
    one, two, three = (world.node(name, NEW) for name in NODES)
    older = world.node("node2", OLD)
    assert one.say()
    assert older.say()
    with pytest.raises(
        StateError, match=r"node2 \(0\.2\.0\) and node3 \(not known\) does not know it"
    ):
        one.check_in_force("slots-3", "a third slot")
    assert two.say()
    assert three.say()
    with pytest.raises(StateError, match="a third slot is not switched on as yet"):
        one.check_in_force("slots-3", "a third slot")
    assert one.raise_to_all("system")
    one.check_in_force("slots-3", "a third slot")


def test_whoever_is_alone_begins_at_once(world: World) -> None:
    one = world.node("node1", NEW)
    with pytest.raises(StateError, match="node3"):
        one.check_in_force("slots-3", "a third slot")
    for other in ("node2", "node3"):
        world.states[other] = NodeState.REMOVED
    one.check_in_force("slots-3", "a third slot")
