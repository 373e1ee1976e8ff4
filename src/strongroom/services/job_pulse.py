"""The heartbeat of a running job: its brake, its progress and its ear for being stopped.

Every piece of work calls in here, after each chunk of bytes; so a job never runs on for long after
it was cancelled or its process was asked to stop, and never faster than it may.
"""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from strongroom.repository.unit_of_work import Repository

WRITE_EVERY_S: Final = 0.5
"""Seconds between two writes of the progress; each one is a synced commit."""

_NAP_S: Final = 0.1
"""Longest sleep of the brake, so that a stop is noticed soon."""


class JobCancelledError(Exception):
    """Somebody asked the job to stop. It ends as cancelled; not an error of the program's tree."""


class WorkerStopping(BaseException):
    """The process is to end. The job stays as it is, for the next process to go on.

    Not an `Exception`, so that nothing on its way records it as the outcome of a step.
    """


@dataclass
class Brake:
    """Lets bytes pass at a rate, over all threads and jobs of the process.

    Attributes:
        bytes_per_s: The rate; 0 for as fast as it goes.
        stopping: Set when the process is to end.
    """

    bytes_per_s: int
    stopping: threading.Event
    monotonic: Callable[[], float] = time.monotonic
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _free_at: float = 0.0

    def take(self, count: int) -> None:
        """Wait until `count` more bytes may pass.

        Raises:
            WorkerStopping: The process is to end.
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
        """Whether to go on.

        Raises:
            WorkerStopping: The process is to end.
        """
        if self.stopping.is_set():
            raise WorkerStopping


@dataclass(frozen=True)
class Tally:
    """How far a job is."""

    done: int
    total: int
    bytes_done: int


class Pulse:
    """Progress of one step of a job; threads share it."""

    def __init__(self, repository: Repository, job_id: str, brake: Brake, start: Tally) -> None:
        """Begin where the durable steps before this one ended."""
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

    def check(self) -> None:
        """Whether to go on.

        Raises:
            WorkerStopping: The process is to end.
            JobCancelledError: The job was cancelled.
        """
        self._brake.check()
        if self._cancelled:
            raise JobCancelledError

    def throttle(self, item_id: str, limit: int) -> Callable[[int], None]:
        """What the vault calls after each chunk of one item of `limit` plaintext bytes."""

        def moved(count: int) -> None:
            self._brake.take(count)
            with self._lock:
                # the vault reads the new file back, too: that is work, but no progress
                self._moving[item_id] = min(limit, self._moving.get(item_id, 0) + count)
            self._beat()
            self.check()

        return moved

    def finished(self, item_id: str, changed_bytes: int | None) -> None:
        """One item is done; None if it was not changed."""
        with self._lock:
            self._moving.pop(item_id, None)
            self._done += 1
            self._bytes += changed_bytes or 0
        self._beat()

    def flush(self) -> None:
        """Write the progress now, and look whether the job was cancelled."""
        with self._lock:
            self._write()

    def _beat(self) -> None:
        with self._lock:
            if self._brake.monotonic() - self._written_at >= WRITE_EVERY_S:
                self._write()

    def _write(self) -> None:
        self._written_at = self._brake.monotonic()
        bytes_now = self._bytes + sum(self._moving.values())
        with self._repository.transaction() as tx:
            job = tx.jobs.find(self._job_id)
            # a resumed step begins at its last durable count: what was shown before does not go
            # back
            going = job is not None and tx.jobs.progress(
                self._job_id,
                done=max(self._done, job.done),
                total=max(self._total, self._done, job.total),
                bytes_done=max(bytes_now, job.bytes_done),
            )
        self._cancelled = not going
