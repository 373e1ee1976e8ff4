"""Enqueues jobs, shows, cancels and awaits them.

A job is enqueued by inserting its row, in the transaction of the change that needs the job; no process is started. The
backgrounder, wherever it runs, takes queued rows (architecture, way 5).
"""

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from strongroom.clock import Clock, format_utc, parse_utc
from strongroom.errors import NotFoundError, UsageError, WaitTimeoutError
from strongroom.eventlog.base import EventLog
from strongroom.eventlog.events import job_events
from strongroom.extracts import policy
from strongroom.ids import new_ordered_id
from strongroom.jobs.model import JobKind, JobOptions, JobState, Receipt
from strongroom.repository.reach import of_site
from strongroom.repository.rows import JobRow, SiteMode, SiteRow
from strongroom.repository.unit_of_work import Repository, Transaction
from strongroom.services.jobs.marks import Scope, mark_pending, settle

WAIT_POLL_S: Final = 0.2
"""Seconds between two readings of a job by a command that waits for it."""

KEEP_DAYS: Final = 90
KEEP_MOST: Final = 10_000
"""How long the rows of ended jobs stay, and how many at most, unless configured otherwise."""
FORGET_AT_ONCE: Final = 500
"""How many rows of ended jobs one transaction deletes."""

_TITLES: Final = {
    JobKind.ENCRYPT: "Encrypt Extracts",
    JobKind.DECRYPT: "Decrypt Extracts",
    JobKind.REENCRYPT: "Re-encrypt Extracts",
    JobKind.REWRAP: "Rewrap Extracts",
}


@dataclass(frozen=True)
class WaitClock:
    """The clock and the sleep of a wait; replaced in tests."""

    monotonic: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep


class JobsService:
    """The use cases of jobs, except their work; checks no permission (see `desk`)."""

    def __init__(
        self,
        repository: Repository,
        event_log: EventLog,
        clock: Clock,
        *,
        waiting: WaitClock | None = None,
    ) -> None:
        self._repository = repository
        self._event_log = event_log
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
        """Enqueue a job, or return an equal job that is queued already.

        Args:
            kind: The kind of the job.
            site_id: The site whose extracts the job changes.
            actor: The person or process that asks, for the event.
            content_ids: The extracts to change; None for every extract of the site.
            options: Further fields of `JobOptions`.

        Raises:
            NotFoundError: The site or an extract does not exist.
            PermissionDeniedError: The job would encrypt, and the site's mode is disabled.
            StateError: The job would decrypt, and the site's mode is enforced.
        """
        wanted = _options(content_ids, options)
        with self._repository.transaction(of_site(site_id)) as tx:
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
        """As `enqueue`, within the caller's transaction, which reaches the site, and without checking the site's mode."""
        wanted = options or JobOptions()
        content_id = wanted.content_ids[0] if len(wanted.content_ids) == 1 else None
        for job in tx.jobs.queued_alike(kind, site.id, content_id):
            if JobOptions.from_dict(job.options) == wanted:
                return job
        job = tx.jobs.insert(
            JobRow(
                id=new_ordered_id(),
                kind=kind,
                site_id=site.id,
                content_id=content_id,
                title=f"{_TITLES[kind]}: {_subject(tx, site, wanted)}",
                state=JobState.QUEUED,
                actor=actor,
                created_at=self._behind(tx, site.id),
                options=wanted.to_dict(),
            )
        )
        scope = Scope.of(job)
        if not any(scope.meets(one) for one in self._running(tx, site.id)):
            # While a running job covers these rows, their states show that job's progress and must stay. The rows are
            # marked for the new job when the running one ends.
            mark_pending(tx, scope, only_settled=True)
        self._event_log.append([job_events.job_queued(actor, job.id, kind, site.id)])
        return job

    def _running(self, tx: Transaction, site_id: str) -> Iterable[Scope]:
        for job in tx.jobs.running_on(site_id):
            yield Scope.of(job)

    def _behind(self, tx: Transaction, site_id: str) -> str:
        """The present time, or if the clock was set back, a second behind the site's newest open job, to keep the order."""
        now, newest = format_utc(self._clock.now()), tx.jobs.newest_open(site_id)
        if newest <= now:
            return now
        return format_utc(parse_utc(newest) + timedelta(seconds=1))

    def list(self, site_id: str | None = None) -> list[JobRow]:
        """Jobs, newest first, of one site or all."""
        with self._repository.reading() as tx:
            return tx.jobs.list(site_id=site_id)

    def show(self, job_id: str) -> JobRow:
        """A job as it is now.

        Raises:
            NotFoundError: No job has that id.
        """
        with self._repository.reading() as tx:
            return tx.jobs.get(job_id)

    def cancel(self, job_id: str, actor: str) -> JobRow:
        """Cancel a job: a queued one ends at once, a running one at its next heartbeat.

        Extracts that were changed stay changed, and each extract is whole, in the old or the new state.

        Raises:
            NotFoundError: No job has that id.
        """
        with self._repository.transaction() as tx:
            before = tx.jobs.get(job_id)
            job = tx.jobs.request_cancel(job_id, format_utc(self._clock.now()))
            if JobState(before.state).is_final:
                return job
            if job.state == JobState.CANCELLED:
                settle(tx, Scope.of(job))
            self._event_log.append([job_events.job_cancelled(actor, job_id, job.kind)])
            return job

    def end_abandoned(self, job_id: str) -> JobRow:
        """End a cancelled job of this node whose process is dead; that of another node stays as it is.

        The caller must hold the lock that lets one process of the node work on jobs.

        Raises:
            NotFoundError: No job has that id.
        """
        with self._repository.transaction() as tx:
            job = tx.jobs.get(job_id)
            if job.state == JobState.RUNNING and job.cancel_requested and tx.jobs.is_of_node(job):
                self._end_cancelled(tx, job)
            return tx.jobs.get(job_id)

    def give_back(self, job: JobRow) -> bool:
        """Queue a job again of which the process is gone, or may not go on; end it if it was asked to stop.

        Args:
            job: The job as it was seen, with the process that worked on it.

        Returns:
            False if another process has it by now, or it has ended.
        """
        # not narrower: who decides on queued jobs, by site or by all nodes' turn, must not see half of it
        with self._repository.transaction() as tx:
            if not tx.jobs.give_back(job.id, job.owner):
                return False
            now = tx.jobs.get(job.id)
            if now.cancel_requested:
                self._end_cancelled(tx, now)
            return True

    def _end_cancelled(self, tx: Transaction, job: JobRow) -> None:
        now = format_utc(self._clock.now())
        note = "nobody worked on it when it was asked to stop"
        tx.jobs.finish(job.id, JobState.CANCELLED, finished_at=now, note=note)
        settle(tx, Scope.of(job))
        left = max(job.total - job.done, 0)
        self._event_log.append(
            [
                job_events.job_finished(
                    job.actor, job.id, job.kind, state="cancelled", remaining=left
                )
            ]
        )

    def forget_ended(self, keep_days: int, keep_most: int) -> int:
        """Delete the rows of jobs that ended long ago, and the oldest ended ones beyond a number; returns how many."""
        before = format_utc(self._clock.now() - timedelta(days=keep_days))
        with self._repository.reading() as tx:
            found = tx.jobs.to_forget(before, keep_most, FORGET_AT_ONCE)
        if not found:
            return 0
        with self._repository.transaction() as tx:
            return tx.jobs.forget(found)

    def wait(
        self,
        job_id: str,
        timeout_s: float | None = None,
        notice: Callable[[JobRow], None] | None = None,
    ) -> JobRow:
        """Wait until a job has ended, and return it.

        Args:
            job_id: The job.
            timeout_s: Seconds to wait at most; None for as long as the job takes.
            notice: Called with the job's row each time it is read.

        Raises:
            NotFoundError: No job has that id.
            WaitTimeoutError: The job has not ended yet; its work goes on.
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
    """The error of a wait that ended before the job."""
    return WaitTimeoutError(
        f"job {job.id} is still {job.state}, {job.done} of {job.total} done; it goes on",
        hint=f"wait again with 'strongroom jobs wait {job.id}'",
    )


def receipt_of(job: JobRow) -> Receipt | None:
    """The receipt of a job that has ended; a job that was cancelled before it began has none."""
    return None if job.receipt is None else Receipt.from_dict(job.receipt)


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
