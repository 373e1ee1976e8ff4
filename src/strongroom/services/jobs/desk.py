"""Jobs for signed-in users: enqueueing, showing and cancelling, each checked against the policy.

Requests from outside must use this service. `queue` checks no permission; it serves the node itself: the backgrounder,
and the commands of the user who owns the data directory.
"""

from strongroom.access import permissions
from strongroom.access.permissions import Action, Resource, Subject
from strongroom.errors import NotFoundError
from strongroom.extracts import policy
from strongroom.jobs.model import JobKind
from strongroom.repository.rows import JobRow, Page, Query, SiteMode
from strongroom.repository.unit_of_work import Repository
from strongroom.services.jobs.queue import JobsService


class JobDesk:
    """The jobs of one node, for subjects whose permissions are checked at every call."""

    def __init__(self, repository: Repository, queue: JobsService) -> None:
        """Take the repository of jobs, and the service that does what the policy allows."""
        self._repository = repository
        self._queue = queue

    def page(self, subject: Subject, site_id: str, query: Query) -> Page[JobRow]:
        """A part of the jobs of a site.

        Raises:
            PermissionDeniedError: The subject may not list the jobs of the site.
        """
        permissions.check(subject, Action.LIST_JOBS, Resource(site_id))
        with self._repository.reading() as tx:
            return tx.jobs.page(site_id, query)

    def show(self, subject: Subject, site_id: str, job_id: str) -> JobRow:
        """A job as it is now.

        Args:
            subject: The user who asks.
            site_id: The site through which the subject asks. A job of another site does not exist there, but for
                server administrators, who may have asked for that job from here.
            job_id: The job.

        Raises:
            NotFoundError: The site has no such job.
            PermissionDeniedError: The subject may not see the job.
        """
        return self._checked(subject, Action.SEE_JOB, site_id, job_id)

    def cancel(self, subject: Subject, site_id: str, job_id: str) -> JobRow:
        """Ask a job to stop (`JobsService.cancel`), which is found as `show` finds it.

        Raises:
            NotFoundError: The site has no such job.
            PermissionDeniedError: The subject may not cancel the job.
        """
        job = self._checked(subject, Action.CANCEL_JOB, site_id, job_id)
        return self._queue.cancel(job.id, subject.actor)

    def ask_for_site(self, subject: Subject, kind: JobKind, site_id: str) -> JobRow:
        """Ask for a job on every extract of a site (E-14); the same one is not queued twice.

        Raises:
            NotFoundError: The site does not exist.
            PermissionDeniedError: The subject is no server administrator, or the site's mode allows no encryption.
            StateError: The job would decrypt, and the site's mode is enforced.
        """
        permissions.check(subject, Action.ENCRYPT_SITE, Resource(site_id))
        if kind is JobKind.REENCRYPT:
            with self._repository.reading() as tx:
                policy.check_change(SiteMode(tx.sites.get(site_id).mode), encrypt=True)
        return self._queue.enqueue(kind, site_id, subject.actor)

    def _checked(self, subject: Subject, action: Action, site_id: str, job_id: str) -> JobRow:
        job = self._queue.show(job_id)
        if job.site_id != site_id and not permissions.is_allowed(subject, Action.LIST_ALL_SITES):
            raise NotFoundError(f"there is no job {job.id!r} on this site", about="job")
        owner = subject.user_id if job.actor == subject.actor else ""
        permissions.check(subject, action, Resource(job.site_id, owner))
        return job
