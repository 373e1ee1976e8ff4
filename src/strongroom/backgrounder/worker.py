"""A backgrounder's process: takes queued jobs, in one place of its node, and goes on with what a dead one left there.

Ends within a second or two of SIGTERM, or when its standard input ends, which `serve` holds; jobs then stay as
they are. `python -m strongroom.backgrounder.worker --data-dir DIR` runs it by itself.
"""

import argparse
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Final

from strongroom.backgrounder.order import startable
from strongroom.backgrounder.rescue import Rescue
from strongroom.backgrounder.settings import Settings
from strongroom.backgrounder.workflows import WorkflowEngine
from strongroom.clock import format_utc
from strongroom.errors import ConflictError, StrongroomError
from strongroom.jobs.model import JobState
from strongroom.node import opening
from strongroom.node.opening import Node
from strongroom.repository.reach import DISPATCH, ROWS
from strongroom.repository.rows import JobRow
from strongroom.repository.workflow_database import WorkflowDatabase
from strongroom.services.jobs.heartbeat import Brake, WorkerStopping
from strongroom.services.jobs.journal import JobJournal
from strongroom.services.jobs.one import Ports
from strongroom.services.jobs.others import Others
from strongroom.services.jobs.queue import JobsService
from strongroom.services.jobs.run import ExtractJobs, Limits, Step
from strongroom.services.jobs.turns import ItemTurns
from strongroom.system import process_memory
from strongroom.system.durable import PRIVATE, FileModes

POLL_S: Final = 0.25
"""Seconds between two looks at the queue."""
STDIN: Final = 0
"""The pipe that ends with the process that started this one."""
LAUNCH_S: Final = 3600.0
"""Seconds that clearing away, and the engine's launch, may each take before they count as hanging."""
SIBLINGS_S: Final = 5.0
"""Seconds between two looks at whether another backgrounder of the node has left a job."""
LOOK_AHEAD: Final = 1000
"""Queued jobs that are looked at for one that may begin."""
_PAGE: Final = 100
_LAUNCH_BEAT_S: Final = 1.0
_LOCK_WAIT_S: Final = 0.5

_log = logging.getLogger("backgrounder.Jobs")


@dataclass(frozen=True)
class Place:
    """Where a worker keeps what it needs.

    Attributes:
        workflows: The engine's database: the path of a file, or another.
        node_id: The node's id.
        file_modes: Mode and group of new files.
        number: The place of the process among the node's backgrounders, from 0.
    """

    workflows: Path | WorkflowDatabase
    node_id: str
    file_modes: FileModes = PRIVATE
    number: int = 0

    @property
    def executor(self) -> str:
        """The name of the process for the engine, which resumes workflows of the same name only."""
        return f"{self.node_id}.{self.number}" if self.number else self.node_id


Left = Callable[[JobRow], AbstractContextManager[object]]
"""Holds the place of a job's process for the block; raises `ConflictError` if that process lives."""


def _nobody(_: JobRow) -> AbstractContextManager[object]:
    raise ConflictError("there is one place")


@dataclass(frozen=True)
class Advice:
    """Functions that a worker calls while it works, for settings that may change and as a sign of life.

    Attributes:
        limits: Returns the present concurrency and bytes per second; called repeatedly.
        may_work: Returns whether role and processes of the node let it work on jobs; called repeatedly.
        is_maintained: Returns whether there is a maintenance, in which extracts under way are finished and the worker
            then ends; called repeatedly.
        beat: Called repeatedly by the loop that takes jobs; when the calls stop, the loop hangs.
        hold_left: Holds the place of another backgrounder of this node, whose job is given back if its process is dead.
    """

    limits: Callable[[], tuple[int, int]]
    may_work: Callable[[], bool] = lambda: True
    is_maintained: Callable[[], bool] = lambda: False
    beat: Callable[[], None] = lambda: None
    hold_left: Left = _nobody


class Worker:
    """Dispatches jobs to the engine."""

    def __init__(
        self,
        ports: Ports,
        place: Place,
        stopping: threading.Event,
        advice: Advice,
        others: Others | None = None,
    ) -> None:
        """Prepare; nothing is started yet.

        Args:
            ports: The parts of the node that jobs work on.
            place: The place of the engine's database.
            stopping: Set when the process is to end.
            advice: The settings that may change while the worker works.
            others: The nodes of the installation; None if there is one only.
        """
        self._ports = ports
        self._advice = advice
        self._brake = Brake(0, stopping)
        self._stopping = stopping
        self._concurrency = 1
        self._turns = ItemTurns()
        self._awake = threading.Event()
        self._fruitless: object = None
        self._engine = WorkflowEngine(
            place.workflows,
            place.executor,
            place.file_modes,
            self._do,
            self._brake.check_begin,
            self._awake.set,
        )
        self._rescue = Rescue(self._engine, self._give_up)
        self._jobs = JobsService(ports.repository, ports.event_log, ports.clock)
        self._others = others
        self._number = place.number
        self._looked_s = time.monotonic()

    def run(self, *, until: Callable[[], bool] | None = None) -> None:
        """Work until told to stop, or until `until` says so.

        The caller holds the node's backgrounder lock: no other process works on jobs.
        """
        with ExitStack() as stack:
            if self._others is not None:
                stack.enter_context(self._others.working())
            self._run(until)

    def _run(self, until: Callable[[], bool] | None) -> None:
        with _beaten_for(self._advice.beat):
            self._clear_away()
        try:
            with _beaten_for(self._advice.beat):
                self._engine.launch()
                self._engine.forget_ended({job.id for job in self._running()[0]})
            while not self._stopping.is_set() and not (until and until()):
                self._advice.beat()
                self._awake.clear()
                if self._look():
                    return
                self._awake.wait(POLL_S)
        finally:
            self._stopping.set()
            self._engine.close()
            if self._brake.ending.is_set() or not self._advice.may_work():
                # no process of this node goes on with them
                self._hand_over(self._running()[0])

    def _clear_away(self) -> None:
        self._refresh()
        with self._ports.repository.transaction(ROWS) as tx:
            tx.jobs.adopt()
        removed = JobJournal(self._ports.repository, self._ports.files, self._ports.clock).recover(
            self._number
        )
        if removed:
            _log.warning("removed %d files that a dead process left", removed)

    def _look(self) -> bool:
        """Dispatch jobs; whether the worker has nothing left to end, in a maintenance."""
        self._refresh()
        if self._brake.ending.is_set() or self._advice.is_maintained():
            self._brake.ending.set()
            return self._engine.is_idle
        running, elsewhere = self._running()
        self._engine.forget_finished({job.id for job in running})
        self._look_after_siblings(elsewhere)
        if self._advice.may_work():
            self._dispatch(running, self._rescue.look_after(running), elsewhere)
        else:
            self._hand_over(running)
        return False

    def _look_after_siblings(self, elsewhere: list[JobRow]) -> None:
        """Give back the jobs of this node's other backgrounders that are dead, and may have no successor."""
        now = time.monotonic()
        if now - self._looked_s < SIBLINGS_S:
            return
        self._looked_s = now
        with self._ports.repository.reading() as tx:
            theirs = [job for job in elsewhere if tx.jobs.is_of_node(job)]
        for job in theirs:
            with suppress(ConflictError), self._advice.hold_left(job):
                place = job.owner.place
                if self._jobs.give_back(job):
                    _log.warning(
                        "job %s of backgrounder %d, which is dead, is queued again", job.id, place
                    )
                JobJournal(self._ports.repository, self._ports.files, self._ports.clock).recover(
                    place
                )

    def _hand_over(self, running: list[JobRow]) -> None:
        """Give back the jobs of a node that works on none any more; their threads end at the next look of theirs."""
        for job in running:
            if self._jobs.give_back(job):
                _log.info("job %s is given back: this node is to run none", job.id)

    def _do(self, job_id: str, step: Step) -> str:
        _log.info("job %s runs", job_id)
        state = self._work().run(job_id, step)
        _log.info("job %s %s", job_id, state)
        return state

    def _work(self) -> ExtractJobs:
        return ExtractJobs(self._ports, Limits(self._brake, self._concurrency, self._turns))

    def _give_up(self, job_id: str, reason: str) -> None:
        # read again: the job may have ended between the two looks
        if job_id in {job.id for job in self._running()[0]}:
            with suppress(WorkerStopping):  # another node was quicker
                self._work().give_up(job_id, reason)

    def _refresh(self) -> None:
        try:
            self._concurrency, self._brake.bytes_per_s = self._advice.limits()
        except StrongroomError:
            _log.exception("the limits cannot be read; the last ones stay")

    def _dispatch(
        self, running: list[JobRow], taking_room: list[JobRow], elsewhere: list[JobRow]
    ) -> None:
        with self._ports.repository.reading() as tx:
            mark = tx.jobs.queue_mark()
        known = {job.id for job in (*running, *elsewhere)}
        seen = (mark, known, [job.id for job in taking_room])
        if not mark[0] or seen == self._fruitless:
            return  # nothing changed since the last look, when no job could begin
        could_begin = False
        # jobs that cannot be resumed now, and those of other nodes, do not count against the limits, but keep their
        # place in the order
        stuck = [*elsewhere, *(job for job in running if job not in taking_room)]
        for job in startable(taking_room, self._queued(), before=stuck):
            # also if it does not begin now: a claim that another node won leaves the queue as it is seen here once that node
            # is gone and the job is given back, and nobody would look at the job again
            could_begin = True
            # a job that was taken from this process, whose thread has not noticed, waits: the thread's writes would count as
            # the new one's
            if not self._engine.is_alive(job.id) and self._claim(job, known):
                _log.debug("job %s is taken: %s of site %s", job.id, job.kind, job.site_id)
                self._take_up(job)
                known = {*known, job.id}
        self._fruitless = None if could_begin else seen

    def _take_up(self, job: JobRow) -> None:
        if job.owner_epoch:
            self._engine.take_up(job.id)
        else:
            self._engine.start(job.id)

    def _claim(self, job: JobRow, known: set[str]) -> bool:
        """Take a job, unless another node has taken one since the order was decided: the next look decides anew."""
        with self._ports.repository.transaction(DISPATCH) as tx:
            if not {one.id for one in tx.jobs.list(states=[JobState.RUNNING])} <= known:
                return False
            return tx.jobs.claim(job.id, format_utc(self._ports.clock.now()))

    def _queued(self) -> Iterator[JobRow]:
        last: JobRow | None = None
        for _ in range(LOOK_AHEAD // _PAGE):
            with self._ports.repository.reading() as tx:
                found = tx.jobs.queued(_PAGE, after=last)
            yield from found
            if len(found) < _PAGE:
                return
            last = found[-1]

    def _running(self) -> tuple[list[JobRow], list[JobRow]]:
        """The running jobs: those of this node, and those of others."""
        with self._ports.repository.reading() as tx:
            found = tx.jobs.list(states=[JobState.RUNNING])
            own = [job for job in found if tx.jobs.is_mine(job)]
        return own, [job for job in found if job not in own]


@contextmanager
def _beaten_for(beat: Callable[[], None]) -> Iterator[None]:
    """Beat from a thread of its own while something is done that takes its time, up to `LAUNCH_S`.

    What a dead process left is cleared away, and the engine's database checked, compacted and migrated: on a busy
    machine that takes longer than a loop may be silent, and whoever is killed for it begins anew, without end.
    """
    done = threading.Event()

    def go_on() -> None:
        end = time.monotonic() + LAUNCH_S
        while not done.wait(_LAUNCH_BEAT_S) and time.monotonic() < end:
            beat()

    beat()
    thread = threading.Thread(target=go_on, name="launch_beat", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def run(node: Node, stopping: threading.Event, beat: Callable[[], None] = lambda: None) -> None:
    """Run the node's jobs until told to stop; waits while another process does."""
    node.key_log = "backgrounder"
    # an engine that is launched in a maintenance would go on with its jobs before it looks
    while not stopping.is_set() and node.out_of_service.seen() is None:
        beat()
        with ExitStack() as stack:
            try:
                stack.enter_context(node.sole_worker.hold(_LOCK_WAIT_S, place=node.place))
            except ConflictError:
                continue  # a command runs jobs in its own process: it ends some time
            # the node may have said meanwhile that it has drained: nobody held the lock
            if node.out_of_service.asked() is not None:
                return
            _worker(node, stopping, beat).run()


def run_until_done(node: Node, job_id: str, *, give_up: Callable[[JobRow], bool]) -> bool:
    """Run jobs in this process until one of them has ended; for commands while no `serve` runs.

    Args:
        node: The node.
        job_id: The job that is waited for.
        give_up: Is shown the job again and again, and says when to stop before it has ended; jobs
            then stay as they are.

    Returns:
        False if another process runs the node's jobs already.

    Raises:
        StateError: The node is out of service.
    """
    node.out_of_service.check_may_work()

    def ended() -> bool:
        job = node.jobs.show(job_id)
        return give_up(job) or JobState(job.state).is_final

    with ExitStack() as stack:
        try:
            stack.enter_context(node.sole_worker.hold())
        except ConflictError:
            return False
        node.out_of_service.check_may_work()
        stack.enter_context(_logging(node))
        node.key_log = "backgrounder"
        _worker(node, threading.Event()).run(until=ended)
    return True


def _worker(
    node: Node, stopping: threading.Event, beat: Callable[[], None] = lambda: None
) -> Worker:
    place = Place(node.workflows, node.paths.node_id, node.file_modes, node.place)
    settings = Settings(node)

    def left(job: JobRow) -> AbstractContextManager[object]:
        return node.sole_worker.hold(place=job.owner.place)

    advice = Advice(settings.limits, settings.may_work, settings.is_maintained, beat, left)
    return Worker(node.job_ports, place, stopping, advice, node.other_workers)


def main(argv: list[str] | None = None) -> int:
    """Run the backgrounder until SIGTERM, SIGINT, or the end of standard input."""
    parser = argparse.ArgumentParser(prog="backgrounder", allow_abbrev=False)
    parser.add_argument("--data-dir")
    parser.add_argument(
        "--beat", type=int, help="a pipe's descriptor that is written to while all is well"
    )
    parser.add_argument("--place", type=int, default=0, help="among the node's backgrounders")
    parser.add_argument("--niceness", type=int, default=0, help="added to the process's own")
    arguments = parser.parse_args(argv)
    os.nice(arguments.niceness)  # not by the program `nice`, which a PATH may lack
    node = opening.open_node(arguments.data_dir)
    node.place = arguments.place
    # the server that started this process has compared the log, told what does not fit, and serves all the same
    node.events.take_as_it_is()
    stopping = threading.Event()

    def stop(_signal: int, _frame: FrameType | None) -> None:
        stopping.set()

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    threading.Thread(target=_follow_parent, args=(stopping,), daemon=True).start()
    with closing(node):
        try:
            with _logging(node):
                run(node, stopping, _beat(arguments.beat))
        except StrongroomError:
            _log.exception("the backgrounder ends")
            return 1
    return 0


@contextmanager
def _logging(node: Node) -> Iterator[None]:
    """Write the logs of this backgrounder's place, at the level that is asked for."""
    from strongroom.runtime import service_logs
    from strongroom.services.configuration import log_levels

    service_logs.configure(
        node.paths, "backgrounder", number=node.place, file_modes=node.file_modes
    )
    with log_levels.followed(node.configuration, "backgrounder"):
        yield


def _beat(descriptor: int | None) -> Callable[[], None]:
    """Tells whoever started this process that the loop goes round; a pipe that nobody reads holds up nothing."""
    if descriptor is None:
        return lambda: None
    os.set_blocking(descriptor, False)

    def beat() -> None:
        with suppress(OSError):
            os.write(descriptor, b".")

    return beat


def _follow_parent(stopping: threading.Event) -> None:
    # not sys.stdin: its lock, held by a thread, would spoil the interpreter's end
    with suppress(OSError):
        while os.read(STDIN, 1):
            pass
    stopping.set()


if __name__ == "__main__":
    process_memory.keep_private()
    sys.exit(main())
