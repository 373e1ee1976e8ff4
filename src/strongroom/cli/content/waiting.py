"""Waits for a job with a progress line, runs it in this process if nobody else does, and tells how it ended."""

import time
from contextlib import suppress
from typing import TYPE_CHECKING, Self

from strongroom.cli.terminal import sizes
from strongroom.cli.terminal.bar import Bar
from strongroom.cli.terminal.session import Session
from strongroom.errors import ConflictError, StateError, StrongroomError, WaitTimeoutError
from strongroom.system.plural import counted

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Callable

    from strongroom.repository.rows import JobRow

_LOOK_AGAIN_S = 1.0
"""Seconds after which a waiting command looks again whether there is a backgrounder at all."""


def job_json(job: "JobRow", waits_for: str | None = None) -> dict[str, object]:
    """A job as scripts see it; `waits_for` is there only if the job waits for something else than its turn."""
    shown: dict[str, object] = {
        "id": job.id,
        "kind": job.kind,
        "state": job.state,
        "done": job.done,
        "total": job.total,
        "bytes_done": job.bytes_done,
        "bytes_total": job.bytes_total,
        "receipt": job.receipt,
    }
    return {**shown, "waits_for": waits_for} if waits_for else shown


def end_if_abandoned(session: Session, job_id: str) -> "JobRow":
    """A cancelled job; ended here if no process of this node works on jobs, and so none could notice the cancellation.

    Raises:
        NotFoundError: No job has this id.
    """
    node = session.node
    try:
        with node.sole_worker.hold_all():
            return node.jobs.end_abandoned(job_id)
    except ConflictError:
        return node.jobs.show(job_id)


def backgrounder_runs(session: Session) -> bool:
    """Whether a process of this node works on jobs now."""
    return session.node.sole_worker.is_there()


def until_ended(session: Session, job_id: str, timeout_s: float | None) -> "JobRow":
    """Wait until a job has ended, and return it.

    Raises:
        NotFoundError: No job has this id.
        WaitTimeoutError: The job has not ended within the time; its work goes on, in this process or in another.
    """
    from strongroom.services.jobs import queue

    end = None if timeout_s is None else time.monotonic() + timeout_s
    job = session.node.jobs.show(job_id)
    with Progress(job.title) as progress:
        while not job.finished_at:
            left = None if end is None else end - time.monotonic()
            if left is not None and left <= 0:
                raise queue.still_going(job)
            try:
                _wait_a_while(session, job_id, left, progress.show)
            except KeyboardInterrupt:
                _say_what_goes_on(session, job)
                raise
            job = session.node.jobs.show(job_id)
    return job


def _say_what_goes_on(session: Session, job: "JobRow") -> None:
    """Tell the user that the job goes on although the waiting was interrupted (findings D11)."""
    where = "in the backgrounder" if backgrounder_runs(session) else "when a backgrounder runs"
    session.note(
        f"job {job.id} is not cancelled: it goes on {where};"
        f" wait again with 'strongroom jobs wait {job.id}', or end it with"
        f" 'strongroom jobs cancel {job.id}'"
    )


def _wait_a_while(
    session: Session, job_id: str, left_s: float | None, notice: "Callable[[JobRow], None]"
) -> None:
    if not backgrounder_runs(session):
        from strongroom.backgrounder import worker  # slow to import

        end = None if left_s is None else time.monotonic() + left_s

        def give_up(job: "JobRow") -> bool:
            notice(job)
            return end is not None and time.monotonic() >= end

        if worker.run_until_done(session.whole_node, job_id, give_up=give_up):
            return
    pause = _LOOK_AGAIN_S if left_s is None else min(_LOOK_AGAIN_S, left_s)
    with suppress(WaitTimeoutError):
        session.node.jobs.wait(job_id, pause, notice)


def tell(session: Session, arguments: "Namespace", job: "JobRow") -> int:
    """Print how a job ended; returns 0, or raises.

    Raises:
        StrongroomError: The job failed.
        StateError: The job was cancelled.
    """
    if arguments.json:
        session.out_json(job_json(job))
    else:
        show(session, arguments, job)
    if job.state == "failed":
        raise StrongroomError(f"job {job.id} failed: {job.note}", hint="mend it and start it again")
    if job.state == "cancelled":
        raise StateError(f"job {job.id} was cancelled", hint="what was done stays done")
    receipt = job.receipt or {}
    if receipt.get("changed") == 0:
        session.note(
            f"nothing to do: {counted(int(str(receipt.get('scanned', 0))), 'extract')}, all as they should be"
        )
        if receipt.get("verified") != receipt.get("scanned"):
            session.note("so their rows say; to look into every file, add --verify")
    return 0


def show(session: Session, arguments: "Namespace", job: "JobRow") -> None:
    """Print a job and its receipt for a person."""
    rows = {
        "Job": job.id,
        "What": job.title,
        "State": job.state,
        "Progress": f"{job.done} of {job.total}, {sizes.phrase(arguments, job.bytes_done)}",
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
    """The progress line of a job, in bytes if it changes any, else in extracts; on a terminal only."""

    def __init__(self, title: str) -> None:
        self._title = title.lower()
        self._bar = Bar(self._title)
        self._advance: Callable[[int], None] | None = None
        self._seen = 0
        self._total: tuple[int, int] | None = None

    def show(self, job: "JobRow") -> None:
        """Draw how far the job is; one that has not begun has nothing to show."""
        if not job.total:
            return
        done = job.bytes_done if job.bytes_total else job.done
        if self._total != (job.total, job.bytes_total):
            self._total = (job.total, job.bytes_total)
            self._bar = Bar(self._title, unit="bytes" if job.bytes_total else "extract")
            self._advance = self._bar.begin(job.bytes_total or job.total, before=done)
            self._seen = done
        if self._advance is not None:
            self._advance(done - self._seen)
            self._seen = done

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.__exit__()
