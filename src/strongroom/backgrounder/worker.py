"""The backgrounder's process: takes queued jobs, one process per node, and goes on with what a dead one left.

Ends within a second or two of SIGTERM, or when its standard input ends, which `serve` holds; jobs then stay as
they are. `python -m strongroom.backgrounder.worker --data-dir DIR` runs it by itself.
"""

import argparse
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Final

from strongroom import bootstrap
from strongroom.backgrounder.workflows import WorkflowEngine
from strongroom.bootstrap import Node
from strongroom.clock import format_utc
from strongroom.durable import PRIVATE, Access
from strongroom.errors import ConflictError, StrongroomError
from strongroom.jobs.model import JobState
from strongroom.repository.rows import JobRow
from strongroom.services.extract_item import Ports
from strongroom.services.extract_jobs import ExtractJobs, Limits, Step
from strongroom.services.job_journal import JobJournal
from strongroom.services.job_pulse import Brake

POLL_S: Final = 0.25
"""Seconds between two looks at the queue."""
JOBS_AT_ONCE: Final = 2
"""Jobs that run at the same time, of different sites: a small one need not wait for a big one (P18)."""
STDIN: Final = 0
"""The pipe that ends with the process that started this one."""
_LOCK_WAIT_S: Final = 0.5

_log = logging.getLogger("backgrounder.Jobs")


@dataclass(frozen=True)
class Place:
    """Where a worker keeps what it needs.

    Attributes:
        workflows: The engine's database.
        node_id: The node's id.
        access: Mode and group of new files.
    """

    workflows: Path
    node_id: str
    access: Access = PRIVATE


class Worker:
    """Dispatches jobs to the engine."""

    def __init__(
        self,
        ports: Ports,
        place: Place,
        stopping: threading.Event,
        limits: Callable[[], tuple[int, int]],
    ) -> None:
        """Prepare; nothing is started yet.

        Args:
            ports: What jobs work on.
            place: Where the engine lives.
            stopping: Set when the process is to end.
            limits: The present concurrency and bytes per second; asked again and again.
        """
        self._ports = ports
        self._limits = limits
        self._brake = Brake(0, stopping)
        self._stopping = stopping
        self._concurrency = 1
        self._engine = WorkflowEngine(
            place.workflows, place.node_id, place.access, self._do, self._brake.check
        )

    def run(self, *, until: Callable[[], bool] | None = None) -> None:
        """Work until told to stop, or until `until` says so.

        The caller holds the node's backgrounder lock: nobody else works on jobs.
        """
        self._refresh()
        removed = JobJournal(self._ports.repository, self._ports.files, self._ports.clock).recover()
        if removed:
            _log.warning("removed %d files that a dead process left", removed)
        self._engine.launch()
        try:
            self._take_over()
            while not self._stopping.is_set() and not (until and until()):
                self._refresh()
                self._end_broken()
                self._dispatch()
                self._stopping.wait(POLL_S)
        finally:
            self._stopping.set()
            self._engine.close()

    def _do(self, job_id: str, step: Step) -> str:
        _log.info("job %s runs", job_id)
        limits = Limits(self._brake, self._concurrency)
        state = ExtractJobs(self._ports, limits).run(job_id, step)
        _log.info("job %s %s", job_id, state)
        return state

    def _refresh(self) -> None:
        try:
            self._concurrency, self._brake.bytes_per_s = self._limits()
        except StrongroomError:
            _log.exception("the limits cannot be read; the last ones stay")

    def _take_over(self) -> None:
        """Start what was claimed and never got a workflow; the engine resumes the rest by itself."""
        running = self._in_state(JobState.RUNNING)
        self._engine.forget_ended({job.id for job in running})
        for job in running:
            if self._engine.is_known(job.id):
                _log.info("job %s was left by a dead process and goes on", job.id)
            else:
                self._engine.start(job.id)

    def _dispatch(self) -> None:
        running = self._in_state(JobState.RUNNING)
        busy = {job.site_id for job in running}
        free = JOBS_AT_ONCE - len(running)
        for job in self._queued():
            if free > 0 and job.site_id not in busy and self._claim(job):
                _log.debug("job %s is taken: %s of site %s", job.id, job.kind, job.site_id)
                self._engine.start(job.id)
                free -= 1
            busy.add(job.site_id)  # jobs of one site keep their order

    def _end_broken(self) -> None:
        for job in self._in_state(JobState.RUNNING):
            reason = self._engine.broken(job.id)
            # read again: the job may have ended between the two looks
            if reason is not None and self._is_running(job.id):
                _log.error("job %s broke off: %s", job.id, reason)
                work = ExtractJobs(self._ports, Limits(self._brake, 1))
                work.give_up(job.id, f"the job broke off: {reason}")

    def _claim(self, job: JobRow) -> bool:
        with self._ports.repository.transaction() as tx:
            return tx.jobs.claim(job.id, format_utc(self._ports.clock.now()))

    def _queued(self) -> list[JobRow]:
        with self._ports.repository.reading() as tx:
            return tx.jobs.queued()

    def _in_state(self, state: JobState) -> list[JobRow]:
        with self._ports.repository.reading() as tx:
            return tx.jobs.list(states=[state])

    def _is_running(self, job_id: str) -> bool:
        with self._ports.repository.reading() as tx:
            job = tx.jobs.find(job_id)
            return job is not None and job.state == JobState.RUNNING


def run(node: Node, stopping: threading.Event) -> None:
    """Run the node's jobs until told to stop; waits while another process does."""
    node.key_log = "backgrounder"
    while not stopping.is_set():
        with ExitStack() as stack:
            try:
                stack.enter_context(_sole_worker(node, _LOCK_WAIT_S))
            except ConflictError:
                continue  # a command runs jobs in its own process: it ends some time
            _worker(node, stopping).run()


def run_until_done(node: Node, job_id: str, *, give_up: Callable[[JobRow], bool]) -> bool:
    """Run jobs in this process until one of them has ended; for commands while no `serve` runs.

    Args:
        node: The node.
        job_id: The job that is waited for.
        give_up: Is shown the job again and again, and says when to stop before it has ended; jobs
            then stay as they are.

    Returns:
        False if another process runs the node's jobs already.
    """

    def ended() -> bool:
        job = node.jobs.show(job_id)
        return give_up(job) or JobState(job.state).is_final

    with ExitStack() as stack:
        try:
            stack.enter_context(_sole_worker(node, 0))
        except ConflictError:
            return False
        stack.enter_context(_logging(node))
        node.key_log = "backgrounder"
        _worker(node, threading.Event()).run(until=ended)
    return True


def _sole_worker(node: Node, wait_s: float) -> AbstractContextManager[None]:
    return node.coordinator.lock(f"backgrounder-{node.paths.node_id}", wait_s=wait_s)


def _worker(node: Node, stopping: threading.Event) -> Worker:
    place = Place(node.paths.workflows, node.paths.node_id, node.access)
    return Worker(node.job_ports, place, stopping, _Settings(node).limits)


class _Settings:
    """The limits in the configuration, read again when it has changed (P18)."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._version = -1
        self._limits = (1, 0)

    def limits(self) -> tuple[int, int]:
        version = self._node.coordinator.version("config")
        if version != self._version:
            self._limits = (max(1, self._number("concurrency")), self._number("bytes_per_second"))
            self._version = version
        return self._limits

    def _number(self, name: str) -> int:
        return int(self._node.configuration.effective(f"backgrounder.extracts.{name}") or "0")


def main(argv: list[str] | None = None) -> int:
    """Run the backgrounder until SIGTERM, SIGINT, or the end of standard input."""
    parser = argparse.ArgumentParser(prog="backgrounder")
    parser.add_argument("--data-dir")
    node = bootstrap.open_node(parser.parse_args(argv).data_dir)
    stopping = threading.Event()

    def stop(_signal: int, _frame: FrameType | None) -> None:
        stopping.set()

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    threading.Thread(target=_follow_parent, args=(stopping,), daemon=True).start()
    with closing(node):
        try:
            with _logging(node):
                run(node, stopping)
        except StrongroomError:
            _log.exception("the backgrounder ends")
            return 1
    return 0


@contextmanager
def _logging(node: Node) -> Iterator[None]:
    """This process is the backgrounder: it writes that log, at the level that is asked for."""
    from strongroom.services import log_levels
    from strongroom.topology import service_logs

    service_logs.configure(node.paths, "backgrounder", access=node.access)
    with log_levels.followed(node.coordinator, node.configuration, "backgrounder"):
        yield


def _follow_parent(stopping: threading.Event) -> None:
    # not sys.stdin: its lock, held by a thread, would spoil the interpreter's end
    with suppress(OSError):
        while os.read(STDIN, 1):
            pass
    stopping.set()


if __name__ == "__main__":
    sys.exit(main())
