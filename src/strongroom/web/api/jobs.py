"""Jobs as the clients poll, list and cancel them (clients.md 1.5). Times are cut to seconds: other forms are read as none."""

from collections.abc import Mapping

from strongroom.access import permissions
from strongroom.access.permissions import Action, Resource
from strongroom.errors import NotFoundError, UsageError
from strongroom.jobs.model import JobKind, JobState
from strongroom.repository.rows import Filter, JobRow, Query
from strongroom.web.api import xml
from strongroom.web.api.errors import Noun
from strongroom.web.api.paging import query_of, window_of
from strongroom.web.api.routing import NO_CONTENT, Answer, Call, Route
from strongroom.web.api.scope import own_site

TYPES: Mapping[str, str] = {
    JobKind.ENCRYPT: "EncryptExtracts",
    JobKind.DECRYPT: "DecryptExtracts",
    JobKind.REKEY: "RekeyExtracts",
    JobKind.REWRAP: "RefreshExtract",
}
STATUSES: Mapping[str, str] = {
    JobState.QUEUED: "Pending",
    JobState.RUNNING: "InProgress",
    JobState.SUCCEEDED: "Success",
    JobState.FAILED: "Failed",
    JobState.CANCELLED: "Cancelled",
}
FINISH_CODES: Mapping[str, int] = {
    JobState.SUCCEEDED: 0,
    JobState.FAILED: 1,
    JobState.CANCELLED: 2,
}
_PRIORITY = 50
_RENAMED = {
    "jobType": "kind",
    "status": "state",
    "completedAt": "finished_at",
    "endedAt": "finished_at",
}
_BACK: Mapping[str, Mapping[str, str]] = {
    "kind": {word.lower(): kind for kind, word in TYPES.items()},
    "state": {word.lower(): state for state, word in STATUSES.items()},
}


def list_jobs(call: Call) -> Answer:
    """Jobs of the site, newest first."""
    site = own_site(call)
    permissions.check(call.identity.subject, Action.LIST_JOBS, Resource(site.id))
    window = window_of(call.query)
    sorting = call.query.get("sort") or "createdAt:desc"
    query = _translated(query_of({**call.query, "sort": sorting}, window, _RENAMED))
    with call.node.repository.reading() as tx:
        page = tx.jobs.page(site.id, query)
    jobs = xml.element("backgroundJobs", {}, *map(_background_job, page.rows))
    return Answer([window.element(page.total), jobs])


def get_job(call: Call) -> Answer:
    """One job; every job is found by its id from the moment that it was asked for."""
    return Answer([job_element(_own(call, Action.SEE_JOB))])


def cancel_job(call: Call) -> Answer:
    """Ask it to stop; the request has no body."""
    job = _own(call, Action.CANCEL_JOB)
    call.node.jobs.cancel(job.id, call.actor)
    return NO_CONTENT


def job_element(job: JobRow) -> xml.Element:
    """A job with its progress, and at its end what it did."""
    return xml.element(
        "job",
        {
            "id": job.id,
            "mode": "Asynchronous",
            "type": TYPES.get(job.kind, job.kind),
            "progress": _percent(job),
            "createdAt": job.created_at,
            "startedAt": job.started_at,
            "completedAt": job.finished_at,
            "updatedAt": job.finished_at or job.started_at or job.created_at,
            "finishCode": FINISH_CODES.get(job.state) if job.finished_at else None,
        },
        *_notes(job),
    )


def _notes(job: JobRow) -> list[xml.Element]:
    """For 0.41 plain notes (shown when a job failed), for 0.42 the counters one by one."""
    found: list[xml.Element] = []
    if job.note:
        found.append(xml.text_element("notes", job.note))
    if job.receipt:
        counters = [
            xml.element(
                "statusNote", {"type": name, "value": str(value), "text": f"{name} {value}"}
            )
            for name, value in job.receipt.items()
        ]
        found.append(xml.element("statusNotes", {}, *counters))
    return found


def _background_job(job: JobRow) -> xml.Element:
    return xml.element(
        "backgroundJob",
        {
            "id": job.id,
            "status": STATUSES.get(job.state, job.state),
            "createdAt": job.created_at,
            "startedAt": job.started_at,
            "endedAt": job.finished_at,
            "priority": _PRIORITY,
            "progress": _percent(job),
            "jobType": TYPES.get(job.kind, job.kind),
            "title": job.title,
        },
    )


def _percent(job: JobRow) -> int:
    if job.state == JobState.SUCCEEDED:
        return 100
    return min(100, job.done * 100 // job.total) if job.total else 0


def _translated(query: Query) -> Query:
    """Kinds and states in our words."""
    filters = tuple(_in_our_words(one) for one in query.filters)
    return Query(filters, query.sort, query.offset, query.limit)


def _in_our_words(condition: Filter) -> Filter:
    words = _BACK.get(condition.field)
    if words is None:
        return condition
    try:
        values = tuple(words[value.lower()] for value in condition.values)
    except KeyError as error:
        raise UsageError(f"no such word in a filter of jobs: {error}") from error
    return Filter(condition.field, condition.operator, values)


def _own(call: Call, action: Action) -> JobRow:
    """The job of the path; one of another site only for server administrators, who may have asked for it from here."""
    site = own_site(call)
    job = call.node.jobs.show(call.path["job"])
    subject = call.identity.subject
    if job.site_id != site.id and not permissions.is_allowed(subject, Action.LIST_ALL_SITES):
        raise NotFoundError(f"there is no job {job.id!r} on this site")
    owner = subject.user_id if job.actor == subject.actor else ""
    permissions.check(subject, action, Resource(job.site_id, owner))
    return job


ROUTES = (
    Route("GET", "/sites/{site}/jobs", list_jobs, Noun.JOB),
    Route("GET", "/sites/{site}/jobs/{job}", get_job, Noun.JOB),
    Route("PUT", "/sites/{site}/jobs/{job}", cancel_job, Noun.JOB),
)
