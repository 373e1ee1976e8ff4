"""Jobs as the clients poll, list and cancel them (clients.md 1.5). Times are cut to seconds: other forms are read as none."""

from collections.abc import Mapping

from strongroom.doors.tableau.errors import Noun
from strongroom.doors.tableau.message import Element, element, listing, text_element
from strongroom.doors.tableau.paging import LISTING, page_of, query_of, window_of
from strongroom.doors.tableau.routing import NO_CONTENT, Answer, Call, Route
from strongroom.doors.tableau.scope import own_site
from strongroom.jobs.model import JobKind, JobState
from strongroom.repository.rows import Filter, JobRow, Query

TYPES: Mapping[str, str] = {
    JobKind.ENCRYPT: "EncryptExtracts",
    JobKind.DECRYPT: "DecryptExtracts",
    JobKind.REENCRYPT: "RekeyExtracts",
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
_NO_SUCH = "-"  # no kind or state of ours has this word: equal to nothing
_RENAMED = {
    "name": "title",
    "jobType": "kind",
    "type": "kind",
    "status": "state",
    "completedAt": "finished_at",
    "endedAt": "finished_at",
}


def _plain(word: str) -> str:
    """`RefreshExtract`, `refresh_extracts` and `refresh-extracts` are one word in three spellings of the clients."""
    return word.lower().replace("_", "").replace("-", "").removesuffix("s")


_BACK: Mapping[str, Mapping[str, str]] = {
    "kind": {_plain(word): kind for kind, word in TYPES.items()},
    "state": {_plain(word): state for state, word in STATUSES.items()},
}


def list_jobs(call: Call) -> Answer:
    """Jobs of the site, newest first."""
    site = own_site(call)
    window = window_of(call.query)
    query = _translated(query_of(call.query, window, _RENAMED, order="createdAt:desc"))
    page = call.services.job_desk.page(call.identity.subject, site.id, query)
    rows = [_background_job(job) for job in page.rows]
    names = ("backgroundJobs", "backgroundJob")
    return Answer(page_of(call.query, window, page.total, names, rows))


def get_job(call: Call) -> Answer:
    """A job, by its id, which is known from the moment that the job was requested."""
    site = own_site(call)
    job = call.services.job_desk.show(call.identity.subject, site.id, call.path["job"])
    return Answer([job_element(job)])


def cancel_job(call: Call) -> Answer:
    """Ask it to stop; the request has no body."""
    site = own_site(call)
    call.services.job_desk.cancel(call.identity.subject, site.id, call.path["job"])
    return NO_CONTENT


def job_element(job: JobRow) -> Element:
    """A job with its progress, and at its end what it did."""
    return element(
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


def _notes(job: JobRow) -> list[Element]:
    """For 0.41 plain notes (shown when a job failed), for 0.42 the counters one by one."""
    found: list[Element] = []
    if job.note:
        found.append(text_element("notes", job.note))
    if job.receipt:
        counters = [
            element("statusNote", {"type": name, "value": str(value), "text": f"{name} {value}"})
            for name, value in job.receipt.items()
        ]
        found.append(listing("statusNotes", "statusNote", counters))
    return found


def _background_job(job: JobRow) -> Element:
    return element(
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
    values = tuple(words.get(_plain(value), _NO_SUCH) for value in condition.values)
    return Filter(condition.field, condition.operator, values)


ROUTES = (
    Route("GET", "/sites/{site}/jobs", list_jobs, Noun.JOB, query=LISTING),
    Route("GET", "/sites/{site}/jobs/{job}", get_job, Noun.JOB),
    Route("PUT", "/sites/{site}/jobs/{job}", cancel_job, Noun.JOB),
)
