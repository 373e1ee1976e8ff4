"""A node that stands for controller (ADR 48; b9): when it does the duties, under what, and when it stops."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from strongroom.coordination.base import Change
from strongroom.coordination.local import LocalCoordinator
from strongroom.errors import CoordinationError, StateError, StorageError, StrongroomError
from strongroom.repository import engine
from strongroom.repository.unit_of_work import Repository
from strongroom.runtime.duties import Duty
from strongroom.services.nodes import controller
from strongroom.services.nodes.controller import LOCK, Candidate, ControllerPorts

LIMIT_S = 60


class World:
    """Two nodes over one coordination database and one repository."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.repository = Repository(engine.sqlite_url(folder / "repository.db"))
        self.repository.ensure_schema()
        self.taken: list[tuple[str, int]] = []
        self.runs: list[str] = []
        self.errors: list[Exception] = []
        self.refuse: Callable[[], None] = lambda: None
        self.too_old: set[str] = set()
        self.looks = 0
        self.asleep: dict[str, threading.Event] = {}
        self.sleeps = threading.Event()

    def coordinator(self, node: str) -> LocalCoordinator:
        path, locks = self.folder / "coordination.db", self.folder / "locks"
        LocalCoordinator.create(path, locks)
        return LocalCoordinator(path, locks, node_id=node)

    def work(self, node: str, coordinator: LocalCoordinator) -> None:
        """Write to both stores, as services do that know nothing of a controller."""
        if node in self.asleep:
            self.sleeps.set()
            self.asleep[node].wait(LIMIT_S)
        try:
            with self.repository.transaction() as tx:
                tx.marks.set("by", node)
            before = coordinator.version("by")
            coordinator.put({"by": Change(node.encode(), before)})
        except StrongroomError as error:
            self.errors.append(error)
            raise
        self.runs.append(node)

    @contextmanager
    def standing(self, node: str) -> Iterator[None]:
        def taken(epoch: int) -> None:
            self.refuse()
            if node in self.asleep:
                # or the node that sleeps takes the lock again before the other one does
                raise StorageError("this node sleeps")
            self.taken.append((node, epoch))

        stopping = threading.Event()
        with closing(self.coordinator(node)) as mine:
            duty = Duty("work", 0.01, lambda: self.work(node, mine))

            def check() -> None:
                self.looks += 1
                if node in self.too_old:
                    raise StateError(f"{node} is too old")

            ports = ControllerPorts(mine, self.repository, lambda: [duty], taken, check)
            thread = threading.Thread(target=Candidate(ports).stand, args=(stopping,))
            thread.start()
            try:
                yield
            finally:
                stopping.set()
                thread.join(LIMIT_S)
                assert not thread.is_alive()

    def wait_for(self, node: str) -> None:
        """Wait until a node does the duties; what was done before does not count."""
        self.runs.clear()
        end = time.monotonic() + LIMIT_S
        while node not in self.runs:
            assert time.monotonic() < end, (node, self.taken, self.errors)
            time.sleep(0.01)


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    for name in ("LOOK_S", "AGAIN_S"):
        monkeypatch.setattr(controller, name, 0.02)
    made = World(tmp_path)
    yield made
    made.repository.close()


def test_one_node_does_the_duties_and_another_goes_on_when_it_ends(world: World) -> None:
    with world.standing("node1"):
        world.wait_for("node1")
        with world.standing("node2"):
            world.runs.clear()
            world.wait_for("node1")
            assert set(world.runs) == {"node1"}
        with world.standing("node2"):
            pass
    with world.standing("node2"):
        world.wait_for("node2")
    assert [node for node, _ in world.taken] == ["node1", "node2"]
    assert world.taken[0][1] < world.taken[1][1]


def test_a_controller_that_sleeps_while_another_takes_over_writes_nothing(world: World) -> None:
    """b4: it is met in the midst of a duty; the file of the lock is removed, so that another one can take it."""
    with world.standing("node1"):
        world.wait_for("node1")
        world.asleep["node1"] = threading.Event()
        # before the lock goes: a node that sees the loss while no duty sleeps begins none, and nothing is refused
        assert world.sleeps.wait(LIMIT_S)
        (world.folder / "locks" / f"{LOCK}.lock").unlink()
        with world.standing("node2"):
            world.wait_for("node2")
            world.runs.clear()
            world.asleep.pop("node1").set()
            world.wait_for("node2")
            end = time.monotonic() + LIMIT_S
            while not world.errors:
                assert time.monotonic() < end
                time.sleep(0.01)
            assert "node1" not in world.runs
    assert isinstance(world.errors[0], CoordinationError)
    assert "'controller' was lost" in str(world.errors[0])


def test_a_node_that_cannot_leave_the_event_is_not_the_controller(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    """Such as one whose disk is full: another one is."""

    def full() -> None:
        raise StorageError("the disk is full")

    world.refuse = full
    with world.standing("node1"):
        end = time.monotonic() + LIMIT_S
        while "the disk is full" not in caplog.text:
            assert time.monotonic() < end
            time.sleep(0.01)
        assert world.runs == []
        world.refuse = lambda: None
        world.wait_for("node1")
    assert caplog.text.count("the disk is full") == 1


def test_an_error_that_nobody_expected_leaves_no_installation_without_a_controller(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    raised: list[int] = []

    def once() -> None:
        if not raised:
            raised.append(1)
            raise ZeroDivisionError

    world.refuse = once
    with world.standing("node1"):
        world.wait_for("node1")
    assert "it will be tried again" in caplog.text


def test_a_node_that_is_too_old_does_not_stand_and_takes_no_lock(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    """Matrix 45: said once, and the office stays free for the others."""
    world.too_old.add("node1")
    with world.standing("node1"):
        end = time.monotonic() + LIMIT_S
        while "node1 is too old" not in caplog.text:
            assert time.monotonic() < end
            time.sleep(0.01)
        with world.standing("node2"):
            world.wait_for("node2")
        # two holders: node2, and now this one; node1 never was one
        with closing(world.coordinator("node3")) as other, other.lock(LOCK, wait_s=5) as lease:
            assert lease.token == world.taken[-1][1] + 1
        looks = world.looks
        while world.looks < looks + 2:
            assert time.monotonic() < end
            time.sleep(0.01)
        world.too_old.clear()
        world.wait_for("node1")
    assert [node for node, _ in world.taken] == ["node2", "node1"]
    assert caplog.text.count("node1 is too old") == 1
