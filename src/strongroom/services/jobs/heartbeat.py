"""The heartbeat of a running job: limits its rate, writes its progress, and notices when the job shall stop.

The work on an extract calls the heartbeat after each chunk of bytes. So a job ends soon after it was cancelled or its
process was asked to stop, and never reads or writes faster than the configured rate.
"""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from strongroom.jobs.model import JobState
from strongroom.repository.reach import ROWS
from strongroom.repository.rows import JobRow
from strongroom.repository.unit_of_work import Repository, Transaction

WRITE_EVERY_S: Final = 0.5
"""Seconds between two writes of the progress; each one is a synced commit."""

_NAP_S: Final = 0.1
"""Longest single sleep of the brake, so that a request to stop is noticed soon."""


class JobCancelledError(Exception):
    """The job was cancelled by a user. Not in the tree of `StrongroomError`, since no error has happened."""


class WorkerStopping(BaseException):
    """The process shall end, or is not the job's any more; the job stays as it is, and another process continues it.

    A `BaseException`, so that no handler of `Exception` on the way records it as the durable outcome of a step.
    """


def is_lost(tx: Transaction, job: JobRow) -> bool:
    """Whether a job goes on without this process, which was taken for a dead one, or gave the job back."""
    return not JobState(job.state).is_final and not tx.jobs.is_held(job.id)


@dataclass
class Brake:
    """Limits the rate of bytes, over all threads and jobs of the process.

    Attributes:
        bytes_per_s: The rate; 0 for as fast as it goes.
        stopping: Set when the process is to end.
        ending: Set when it is to end as soon as the extracts under way are finished, and to begin with no other one.
    """

    bytes_per_s: int
    stopping: threading.Event
    monotonic: Callable[[], float] = time.monotonic
    ending: threading.Event = field(default_factory=threading.Event)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _free_at: float = 0.0

    def take(self, count: int) -> None:
        """Wait until `count` more bytes may pass.

        Raises:
            WorkerStopping: The process shall end.
        """
        self.check()
        if not self.bytes_per_s:
            return
        with self._lock:
            start = max(self.monotonic(), self._free_at)
            self._free_at = start + count / self.bytes_per_s
        while (left := start - self.monotonic()) > 0:
            self.stopping.wait(min(left, _NAP_S))
            self.check()

    def check(self) -> None:
        """Return if the work may continue.

        Raises:
            WorkerStopping: The process shall end.
        """
        if self.stopping.is_set():
            raise WorkerStopping

    def check_begin(self) -> None:
        """Return if another extract, or another step, may be begun.

        Raises:
            WorkerStopping: The process shall end.
        """
        self.check()
        if self.ending.is_set():
            raise WorkerStopping


@dataclass(frozen=True)
class Tally:
    """The progress of a job: extracts done, extracts in all, and bytes of those that were changed."""

    done: int
    total: int
    bytes_done: int


class Heartbeat:
    """Progress of one step of a job; threads share it."""

    def __init__(self, repository: Repository, job_id: str, brake: Brake, start: Tally) -> None:
        """Begin with the progress that the durable steps before this one have reached."""
        self._repository = repository
        self._job_id = job_id
        self._brake = brake
        self._lock = threading.Lock()
        self._done = start.done
        self._total = start.total
        self._bytes = start.bytes_done
        self._moving: dict[str, int] = {}
        self._written_at = brake.monotonic()
        self._cancelled = False
        self._lost = False

    def check(self) -> None:
        """Return if the work may continue.

        Raises:
            WorkerStopping: The process shall end, or the job is another's.
            JobCancelledError: The job was cancelled.
        """
        self._brake.check()
        if self._lost:
            raise WorkerStopping
        if self._cancelled:
            raise JobCancelledError

    def throttle(self, item_id: str, limit: int) -> Callable[[int], None]:
        """The callback for the vault to call after each chunk of one item, which has `limit` plaintext bytes."""

        def moved(count: int) -> None:
            self._brake.take(count)
            with self._lock:
                # the vault also reads the new file back to verify it: those bytes count for the brake, not as progress
                self._moving[item_id] = min(limit, self._moving.get(item_id, 0) + count)
            self._beat()
            self.check()

        return moved

    def finished(self, item_id: str, changed_bytes: int | None) -> None:
        """Count an item as done; `changed_bytes` is None if the item was not changed."""
        with self._lock:
            self._moving.pop(item_id, None)
            self._done += 1
            self._bytes += changed_bytes or 0
        self._beat()

    def flush(self) -> None:
        """Write the progress now, and read whether the job was cancelled."""
        with self._lock:
            self._write()

    def _beat(self) -> None:
        with self._lock:
            if self._brake.monotonic() - self._written_at >= WRITE_EVERY_S:
                self._write()

    def _write(self) -> None:
        self._written_at = self._brake.monotonic()
        bytes_now = self._bytes + sum(self._moving.values())
        with self._repository.transaction(ROWS) as tx:
            job = tx.jobs.find(self._job_id)
            # a resumed step starts from its last durable count, which may be lower than a count that users have seen:
            # the shown progress never goes back
            going = job is not None and tx.jobs.progress(
                self._job_id,
                done=max(self._done, job.done),
                total=max(self._total, self._done, job.total),
                bytes_done=max(bytes_now, job.bytes_done),
            )
            self._lost = not going and job is not None and is_lost(tx, job)
        self._cancelled = not going
