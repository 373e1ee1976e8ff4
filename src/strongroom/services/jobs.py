"""Jobs as their users see them: ask for one, look at it, cancel it, wait for it.

A job is asked for by a row in the asker's own transaction; it never starts anything itself. The
backgrounder, wherever it runs, takes queued rows from there (architecture, way 5).
"""

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from strongroom.clock import Clock, format_utc
from strongroom.errors import NotFoundError, UsageError, WaitTimeoutError
from strongroom.eventlog.base import EventLog
from strongroom.eventlog.events import job_cancelled, job_queued
from strongroom.extracts import policy
from strongroom.ids import new_ordered_id
from strongroom.jobs.model import JobKind, JobOptions, JobState, Receipt
from strongroom.repository.rows import ContentRow, ContentState, JobRow, SiteMode, SiteRow
from strongroom.repository.unit_of_work import Repository, Transaction
from strongroom.services import extract_plan

WAIT_POLL_S: Final = 0.2
"""Seconds between two looks at a job that somebody waits for."""

_TITLES: Final = {
    JobKind.ENCRYPT: "Encrypt Extracts",
    JobKind.DECRYPT: "Decrypt Extracts",
    JobKind.REKEY: "Rekey Extracts",
    JobKind.REWRAP: "Rewrap Extracts",
}


@dataclass(frozen=True)
class WaitClock:
    """How a wait measures and spends time."""

    monotonic: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep


class JobsService:
    """Everything that is done with jobs but their work."""

    def __init__(
        self,
        repository: Repository,
        events: EventLog,
        clock: Clock,
        *,
        waiting: WaitClock | None = None,
    ) -> None:
        self._repository = repository
        self._events = events
        self._clock = clock
        self._waiting = waiting or WaitClock()

    def enqueue(
        self,
        kind: JobKind,
        site_id: str,
        actor: str,
        *,
        content_ids: Iterable[str] | None = None,
        options: Mapping[str, object] | None = None,
    ) -> JobRow:
        """Ask for a job; if the very same one is queued already, that one is the answer.

        Args:
            kind: What to do.
            site_id: On which site.
            actor: Who asks.
            content_ids: The only extracts to touch; None for every one of the site.
            options: Further fields of `JobOptions`.

        Raises:
            NotFoundError: The site or an extract does not exist.
            PermissionDeniedError: To encrypt on a site whose mode is disabled.
            StateError: To decrypt on a site whose mode is enforced.
        """
        wanted = _options(content_ids, options)
        with self._repository.transaction() as tx:
            site = tx.sites.get(site_id)
            if kind in {JobKind.ENCRYPT, JobKind.DECRYPT}:
                policy.check_change(SiteMode(site.mode), encrypt=kind is JobKind.ENCRYPT)
            return self.enqueue_in(tx, kind, site, actor, options=wanted)

    def enqueue_in(
        self,
        tx: Transaction,
        kind: JobKind,
        site: SiteRow,
        actor: str,
        *,
        options: JobOptions | None = None,
    ) -> JobRow:
        """The same within the caller's transaction, and without asking the site's mode."""
        wanted = options or JobOptions()
        for job in tx.jobs.queued():
            same = (job.kind, job.site_id) == (kind, site.id)
            if same and JobOptions.from_dict(job.options) == wanted:
                return job
        job = tx.jobs.insert(
            JobRow(
                id=new_ordered_id(),
                kind=kind,
                site_id=site.id,
                content_id=wanted.content_ids[0] if len(wanted.content_ids) == 1 else None,
                title=f"{_TITLES[kind]}: {_subject(tx, site, wanted)}",
                state=JobState.QUEUED,
                actor=actor,
                created_at=format_utc(self._clock.now()),
                options=wanted.to_dict(),
            )
        )
        if not tx.jobs.list(site_id=site.id, states=[JobState.RUNNING]):
            # else it is done when that job has ended: its own marks say how far it is
            mark_pending(tx, job, only_settled=True)
        self._events.append([job_queued(actor, job.id, kind, site.id)])
        return job

    def list(self, site_id: str | None = None) -> list[JobRow]:
        """Jobs, newest first, of one site or all."""
        with self._repository.reading() as tx:
            return tx.jobs.list(site_id=site_id)

    def show(self, job_id: str) -> JobRow:
        """One job as it stands.

        Raises:
            NotFoundError: There is no such job.
        """
        with self._repository.reading() as tx:
            return tx.jobs.get(job_id)

    def cancel(self, job_id: str, actor: str) -> JobRow:
        """Ask a job to stop: a queued one ends at once, a running one as soon as it notices.

        What is done stays done: each extract is whole, in the old or in the new state.

        Raises:
            NotFoundError: There is no such job.
        """
        with self._repository.transaction() as tx:
            before = tx.jobs.get(job_id)
            job = tx.jobs.request_cancel(job_id, format_utc(self._clock.now()))
            if JobState(before.state).is_final:
                return job
            if job.state == JobState.CANCELLED:
                settle(tx, job.site_id)
            self._events.append([job_cancelled(actor, job_id, job.kind)])
            return job

    def wait(
        self,
        job_id: str,
        timeout_s: float | None = None,
        notice: Callable[[JobRow], None] | None = None,
    ) -> JobRow:
        """The job once it has ended.

        Args:
            job_id: The job.
            timeout_s: Seconds to wait at most; None for as long as it takes.
            notice: Is called with every look at the job.

        Raises:
            NotFoundError: There is no such job.
            WaitTimeoutError: It has not ended yet; the work goes on.
        """
        end = None if timeout_s is None else self._waiting.monotonic() + timeout_s
        while True:
            job = self.show(job_id)
            if notice is not None:
                notice(job)
            if JobState(job.state).is_final:
                return job
            pause = WAIT_POLL_S
            if end is not None:
                pause = min(pause, end - self._waiting.monotonic())
            if pause <= 0:
                raise still_going(job)
            self._waiting.sleep(pause)


def still_going(job: JobRow) -> WaitTimeoutError:
    """The error of a wait that ended before its job."""
    return WaitTimeoutError(
        f"job {job.id} is still {job.state}, {job.done} of {job.total} done; it goes on",
        hint=f"wait again with 'strongroom jobs wait {job.id}'",
    )


def receipt_of(job: JobRow) -> Receipt | None:
    """The receipt of a job that has ended; a job that was cancelled before it began has none."""
    return None if job.receipt is None else Receipt.from_dict(job.receipt)


def covers(job: JobRow, content_id: str) -> bool:
    """Whether the extract is among those that the job was asked for."""
    only = JobOptions.from_dict(job.options).content_ids
    return not only or content_id in only


def mark_pending(tx: Transaction, job: JobRow, *, only_settled: bool) -> int:
    """Write into the rows that the job is before them (E-12); returns how many are in its scope.

    Args:
        tx: The transaction to do it in.
        job: The job.
        only_settled: Leave rows alone that another job has before it; False when the job begins.
    """
    kind, count = JobKind(job.kind), 0
    for row in tx.contents.list_for_site(job.site_id):
        if not covers(job, row.id) or not scoped(kind, row):
            continue
        count += 1
        state = _pending(kind, row)
        settled = ContentState(row.state) not in extract_plan.PENDING
        if state in extract_plan.PENDING and (settled or not only_settled):
            tx.contents.set_state(row.id, [row.state], state)
    return count


def settle(tx: Transaction, site_id: str) -> None:
    """Let the rows say which jobs have them before them now that one has ended (E-12)."""
    open_jobs = tx.jobs.list(site_id=site_id, states=[JobState.QUEUED, JobState.RUNNING])
    for row in tx.contents.list_for_site(site_id, states=extract_plan.PENDING):
        state = extract_plan.settled_state(encrypted=bool(row.file_id))
        for job in reversed(open_jobs):  # the list has the newest first
            pending = _pending(JobKind(job.kind), row)
            if covers(job, row.id) and pending in extract_plan.PENDING:
                state = pending
                break
        if state != row.state:
            tx.contents.set_state(row.id, [row.state], state)
    for job in reversed(open_jobs):
        mark_pending(tx, job, only_settled=True)


def scoped(kind: JobKind, row: ContentRow) -> bool:
    """Whether a job of this kind looks at the row's file."""
    return bool(row.storage_key) and extract_plan.in_scope(
        kind, encrypted=bool(row.file_id), has_extract=row.has_extract
    )


def _pending(kind: JobKind, row: ContentRow) -> ContentState:
    return extract_plan.pending_state(
        kind, encrypted=bool(row.file_id), has_extract=row.has_extract
    )


def _options(content_ids: Iterable[str] | None, options: Mapping[str, object] | None) -> JobOptions:
    named = None if content_ids is None else sorted(set(content_ids))
    if named == []:
        raise UsageError("no extract is named", hint="name one, or none for the whole site")
    return JobOptions.from_dict({**(options or {}), "content_ids": named or []})


def _subject(tx: Transaction, site: SiteRow, wanted: JobOptions) -> str:
    names: list[str] = []
    for content_id in wanted.content_ids:
        row = tx.contents.find(content_id)
        if row is None or row.site_id != site.id:
            raise NotFoundError(f"there is no extract {content_id} on site {site.name!r}")
        names.append(row.name)
    if not names:
        return site.name
    return names[0] if len(names) == 1 else f"{len(names)} of {site.name}"
