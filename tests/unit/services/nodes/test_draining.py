"""A served node in a maintenance: what it closes, what it waits for, when it says that it has drained (b14; issue 12 D)."""

from dataclasses import dataclass, field

from strongroom.errors import CoordinationError, FormatError, StorageError, StrongroomError
from strongroom.joining.maintenance import Maintenance, Standing
from strongroom.services.nodes.draining import Draining, DrainingPorts, Work

WITHIN_S = 60


def maintenance(epoch: int = 1) -> Maintenance:
    since = "2026-11-30T12:00:00Z"
    return Maintenance(epoch, Standing.ENTERED, "new disks", "os:tests", "node1", since, WITHIN_S)


@dataclass
class World:
    """Doors, a process that works on jobs, and the words of the node."""

    found: Maintenance | None = None
    problem: StrongroomError | None = None
    refusal: StrongroomError | None = None
    is_closed: bool = False
    under_way: int = 0
    is_working: bool = False
    blindness: StrongroomError | None = None
    now: float = 1000.0
    said: list[tuple[int, int]] = field(default_factory=list)

    def draining(self) -> Draining:
        ports = DrainingPorts(self.seen, self, self.works, self.say, lambda: self.now)
        return Draining(ports)

    def works(self) -> bool:
        if self.blindness is not None:
            raise self.blindness
        return self.is_working

    def seen(self) -> Maintenance | None:
        if self.problem is not None:
            raise self.problem
        return self.found

    def close(self) -> None:
        self.is_closed = True

    def open(self) -> None:
        self.is_closed = False

    def cut(self) -> int:
        cut, self.under_way = self.under_way, 0
        return cut

    def say(self, of: Maintenance, cut: int) -> None:
        if self.refusal is not None:
            raise self.refusal
        self.said.append((of.epoch, cut))


def test_it_says_so_when_requests_and_jobs_have_ended_and_once() -> None:
    world = World(under_way=2, is_working=True)
    node = world.draining()
    node.look()
    assert (world.is_closed, node.work) == (False, Work.USUAL)
    world.found = maintenance()
    node.look()
    assert (world.is_closed, node.work, world.said) == (True, Work.ENDING, [])
    world.under_way = 0
    node.look()
    assert world.said == [], "a job is worked on still"
    world.is_working = False
    node.look()
    node.look()
    assert (world.said, node.work) == ([(1, 0)], Work.NONE)
    world.found = None
    node.look()
    assert (world.is_closed, node.work) == (False, Work.USUAL)
    world.found = maintenance(2)
    node.look()
    assert (world.is_closed, world.said) == (True, [(1, 0), (2, 0)])


def test_the_bound_cuts_off_what_does_not_end_and_tells_how_many() -> None:
    world = World(under_way=3, is_working=True, found=maintenance())
    node = world.draining()
    node.look()
    world.now += WITHIN_S - 1
    node.look()
    assert (world.under_way, node.work) == (3, Work.ENDING)
    world.now += 1
    node.look()
    assert (world.under_way, node.work, world.said) == (0, Work.NONE, [])
    world.is_working = False
    node.look()
    assert world.said == [(1, 3)]


def test_a_maintenance_right_after_another_begins_anew() -> None:
    """It was left and entered between two looks."""
    world = World(found=maintenance(), under_way=1)
    node = world.draining()
    node.look()
    world.now += WITHIN_S - 1
    world.found = maintenance(2)
    node.look()
    world.now += 1
    node.look()
    assert (world.under_way, node.work) == (1, Work.ENDING)


def test_a_word_that_cannot_be_put_is_tried_again_and_nothing_is_opened_meanwhile() -> None:
    world = World(found=maintenance(), refusal=CoordinationError("no server answers"))
    node = world.draining()
    node.look()
    world.refusal = None
    node.look()
    assert world.said == [], "it is not tried all the time"
    world.now += 5
    node.look()
    assert (world.said, world.is_closed) == ([(1, 0)], True)


def test_an_entry_that_nobody_understands_leaves_the_node_as_it_is() -> None:
    world = World(found=maintenance())
    node = world.draining()
    node.look()
    world.problem = FormatError("the entry is of a later release")
    node.look()
    assert (world.is_closed, node.work) == (True, Work.NONE)


def test_a_disk_that_fails_meanwhile_keeps_no_gate_closed() -> None:
    """Whether somebody works on jobs is not known: the node says nothing, and serves again when it may."""
    world = World(found=maintenance(), blindness=StorageError("the disk is full"))
    node = world.draining()
    node.look()
    assert (world.is_closed, world.said, node.work) == (True, [], Work.ENDING)
    world.blindness = None
    world.now += 5
    node.look()
    assert world.said == [(1, 0)]
    world.found = None
    node.look()
    assert not world.is_closed
