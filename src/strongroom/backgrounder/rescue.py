"""Resumes or gives up jobs that are marked as running although no thread works on them (findings R2).

A job is a row in the repository, a record of progress in the engine's database, and a thread of this process. Any of
the three may be lost without the others: a full disk ends the thread, and the row cannot be changed; a record is lost
with its database; or a record waits in the engine's queue without a thread. So the threads decide whether a job is
worked on, and not the records.
"""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from strongroom.backgrounder.workflows import WorkflowEngine
from strongroom.repository.rows import JobRow

GRACE_S: Final = 5.0
"""How long a job may be without a thread: the engine's queue, by which it goes on after a start, takes a second or two."""
SLOWEST_S: Final = 60.0
"""Longest pause between two attempts to bring one back."""
_RESUMED: Final = 2
"""Attempts to go on where it was; after that it begins anew, each extract decided on by itself."""

_log = logging.getLogger("backgrounder.Jobs")


@dataclass
class _Patient:
    next_at: float
    pause_s: float = GRACE_S
    attempts: int = 0


class Rescue:
    """Looks after the running jobs, one look at a time."""

    def __init__(
        self,
        engine: WorkflowEngine,
        give_up: Callable[[str, str], object],
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Prepare.

        Args:
            engine: The workflow engine, which knows the threads and the records.
            give_up: Ends a job, given its id and the reason.
            monotonic: A clock that cannot be set, as `time.monotonic`.
        """
        self._engine = engine
        self._give_up = give_up
        self._monotonic = monotonic
        self._patients: dict[str, _Patient] = {}

    def look_after(self, running: list[JobRow]) -> list[JobRow]:
        """Resume jobs without a thread; returns the jobs that count against the limits, all but those that cannot be resumed now.

        Raises:
            StorageError: The engine's database cannot be used.
        """
        ids = {job.id for job in running}
        self._patients = {one: self._patients[one] for one in self._patients.keys() & ids}
        return [job for job in running if self._takes_room(job)]

    def _takes_room(self, job: JobRow) -> bool:
        if self._engine.is_alive(job.id):
            self._patients.pop(job.id, None)
            return True
        now = self._monotonic()
        patient = self._patients.get(job.id)
        if patient is None:
            if not self._engine.is_known(job.id):
                self._engine.start(job.id)  # claimed, and its process died before it began
                return True
            patient = self._patients[job.id] = _Patient(now + GRACE_S)
        if now >= patient.next_at:
            self._treat(job, patient)
            patient.pause_s = min(patient.pause_s * 2, SLOWEST_S)
            patient.next_at = now + patient.pause_s
        return patient.attempts == 0

    def _treat(self, job: JobRow, patient: _Patient) -> None:
        # an outcome that is not in the job's row is of a thread that was not the job's, or of a database that was put back
        has_outcome = self._engine.has_succeeded(job.id)
        reason = None if has_outcome else self._engine.broken(job.id)
        if job.cancel_requested or reason is not None:
            reason = reason or "it was asked to stop"
            _log.error("job %s broke off: %s", job.id, reason)
            self._give_up(job.id, f"the job broke off: {reason}")
            return
        patient.attempts += 1
        anew = has_outcome or patient.attempts > _RESUMED
        _log.warning("nobody works on job %s: it %s", job.id, "begins anew" if anew else "goes on")
        if anew:
            self._engine.start_anew(job.id)
        else:
            self._engine.resume(job.id)
