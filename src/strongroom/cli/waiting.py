"""Waits for a job with a progress line, runs it in this process if nobody else does, and tells how it ended."""

import time
from contextlib import suppress
from typing import TYPE_CHECKING, Self

from strongroom.cli.bar import Bar
from strongroom.cli.session import Session
from strongroom.errors import ConflictError, StateError, StrongroomError, WaitTimeoutError

if TYPE_CHECKING:
    from collections.abc import Callable

    from strongroom.repository.rows import JobRow

_LOOK_AGAIN_S = 1.0
"""Seconds after which a waiting command looks again whether there is a backgrounder at all."""


def job_json(job: "JobRow") -> dict[str, object]:
    """A job as scripts see it."""
    return {
        "id": job.id,
        "kind": job.kind,
        "state": job.state,
        "done": job.done,
        "total": job.total,
        "bytes_done": job.bytes_done,
        "receipt": job.receipt,
    }


def backgrounder_runs(session: Session) -> bool:
    """Whether some process of this node works on jobs now."""
    node = session.node
    try:
        with node.coordinator.lock(f"backgrounder-{node.paths.node_id}", wait_s=0):
            return False
    except ConflictError:
        return True


def until_ended(session: Session, job_id: str, timeout_s: float | None) -> "JobRow":
    """The job once it has ended.

    Raises:
        NotFoundError: There is no such job.
        WaitTimeoutError: It has not ended yet; the work goes on, in this process or in another.
    """
    from strongroom.services import jobs

    end = None if timeout_s is None else time.monotonic() + timeout_s
    job = session.node.jobs.show(job_id)
    with Progress(job.title) as progress:
        while not job.finished_at:
            left = None if end is None else end - time.monotonic()
            if left is not None and left <= 0:
                raise jobs.still_going(job)
            _wait_a_while(session, job_id, left, progress.show)
            job = session.node.jobs.show(job_id)
    return job


def _wait_a_while(
    session: Session, job_id: str, left_s: float | None, notice: "Callable[[JobRow], None]"
) -> None:
    if not backgrounder_runs(session):
        from strongroom.backgrounder import worker  # slow to import

        end = None if left_s is None else time.monotonic() + left_s

        def give_up(job: "JobRow") -> bool:
            notice(job)
            return end is not None and time.monotonic() >= end

        if worker.run_until_done(session.node, job_id, give_up=give_up):
            return
    pause = _LOOK_AGAIN_S if left_s is None else min(_LOOK_AGAIN_S, left_s)
    with suppress(WaitTimeoutError):
        session.node.jobs.wait(job_id, pause, notice)


def tell(session: Session, job: "JobRow", *, as_json: bool) -> int:
    """Print how a job ended; returns 0, or raises.

    Raises:
        StrongroomError: It failed.
        StateError: It was cancelled.
    """
    if as_json:
        session.out_json(job_json(job))
    else:
        show(session, job)
    if job.state == "failed":
        raise StrongroomError(f"job {job.id} failed: {job.note}", hint="mend it and start it again")
    if job.state == "cancelled":
        raise StateError(f"job {job.id} was cancelled", hint="what was done stays done")
    receipt = job.receipt or {}
    if receipt.get("changed") == 0:
        session.note(f"nothing to do: {receipt.get('scanned')} extracts, all as they should be")
    return 0


def show(session: Session, job: "JobRow") -> None:
    """Print a job and its receipt for a person."""
    rows = {
        "Job": job.id,
        "What": job.title,
        "State": job.state,
        "Progress": f"{job.done} of {job.total}, {job.bytes_done} bytes",
        "Asked for": f"{job.created_at} by {job.actor}",
    }
    for name, text in rows.items():
        session.out(f"{name}: {text}")
    if job.note:
        session.out(f"Note: {job.note}")
    if job.receipt is not None:
        session.out("Receipt:")
        for key, value in job.receipt.items():
            session.out(f"  {key}: {'-' if value == '' else value}")


class Progress:
    """The progress line of a job; on a terminal only."""

    def __init__(self, title: str) -> None:
        self._bar = Bar(title.lower(), unit="extracts")
        self._advance: Callable[[int], None] | None = None
        self._seen = 0
        self._total = 0

    def show(self, job: "JobRow") -> None:
        """Draw how far the job is."""
        if job.total != self._total:
            self._total = job.total
            self._advance = self._bar.begin(job.total)
        if self._advance is not None:
            self._advance(job.done - self._seen)
            self._seen = job.done

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.__exit__()
