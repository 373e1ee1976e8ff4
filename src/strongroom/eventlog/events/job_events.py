"""Events about jobs (C-23)."""

from strongroom.eventlog.base import Event
from strongroom.eventlog.events.making import event

JOB_QUEUED = "JOB_QUEUED"
JOB_FINISHED = "JOB_FINISHED"
JOB_CANCELLED = "JOB_CANCELLED"


def job_queued(actor: str, job_id: str, kind: str, site_id: str) -> Event:
    """A job was asked for."""
    return event(JOB_QUEUED, actor, job_id=job_id, kind=kind, site_id=site_id)


def job_finished(actor: str, job_id: str, kind: str, *, state: str, remaining: int) -> Event:
    """A job ended; `remaining` counts the extracts that it did not process."""
    return event(JOB_FINISHED, actor, job_id=job_id, kind=kind, state=state, remaining=remaining)


def job_cancelled(actor: str, job_id: str, kind: str) -> Event:
    """A user asked for the end of a job."""
    return event(JOB_CANCELLED, actor, job_id=job_id, kind=kind)
