"""Sites: create, change, delete, and what a change of the encryption mode sets going (E-01 … E-04).

A mode never touches a file by itself: it moves rows to a pending state and asks for a job in the same
transaction, so that mode, states and job are there together or not at all.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from strongroom.access import names, permissions
from strongroom.access.permissions import Action, Resource, Subject
from strongroom.clock import Clock, format_utc
from strongroom.errors import ConflictError, NotFoundError, StateError, UsageError
from strongroom.eventlog import events
from strongroom.eventlog.base import EventLog
from strongroom.ids import new_id
from strongroom.jobs.model import JobKind, JobState
from strongroom.repository.rows import (
    ContentState,
    JobRow,
    Page,
    ProjectRow,
    Query,
    SiteMode,
    SiteRow,
)
from strongroom.repository.unit_of_work import Repository, Transaction
from strongroom.services import jobs, removals
from strongroom.services.jobs import JobsService
from strongroom.services.resources import owner_for

DEFAULT_PROJECT = "Default"
PROJECT_PERMISSIONS = "ManagedByOwner"
STATES = ("Active", "Suspended")
ADMIN_MODES = ("ContentAndUsers", "ContentOnly")
MAX_ATTRIBUTES = 200
MAX_ATTRIBUTE_CHARACTERS = 4000
_DEFAULT_MODE_MARK = "sites.default_mode"
_ENCRYPTED = (
    ContentState.ENCRYPTED,
    ContentState.PENDING_DECRYPTION,
    ContentState.PENDING_REKEY,
)


@dataclass(frozen=True)
class SiteChanges:
    """What a client wants of a site; None leaves a field as it is (or at its default).

    Attributes:
        attributes: Whatever else the client sent: kept, and sent back, since clients read, modify and
            write the whole site. They are merged into those that are there.
        keep_encrypted: With mode disabled, leave encrypted extracts encrypted (Q-06).
    """

    name: str | None = None
    content_url: str | None = None
    mode: SiteMode | None = None
    state: str | None = None
    admin_mode: str | None = None
    user_quota: int | None = None
    storage_quota: int | None = None
    attributes: Mapping[str, object] = field(default_factory=dict)
    keep_encrypted: bool = False


@dataclass(frozen=True)
class SiteChange:
    """A site after a change, and the job that the change asked for."""

    site: SiteRow
    job: JobRow | None = None


class SitesService:
    """Everything about sites."""

    def __init__(
        self,
        repository: Repository,
        events_log: EventLog,
        clock: Clock,
        jobs_service: JobsService,
    ) -> None:
        self._repository = repository
        self._events = events_log
        self._clock = clock
        self._jobs = jobs_service

    def page(self, subject: Subject, query: Query | None = None) -> Page[SiteRow]:
        """All sites for server administrators; for others the site they are signed in to."""
        with self._repository.reading() as tx:
            if permissions.is_allowed(subject, Action.LIST_ALL_SITES):
                return tx.sites.page(query)
            site = tx.sites.find(subject.site_id)
            return Page([site], 1) if site is not None else Page([], 0)

    def get(self, site_id: str) -> SiteRow:
        """The site of that id.

        Raises:
            NotFoundError: There is none.
        """
        with self._repository.reading() as tx:
            return tx.sites.get(site_id)

    def find(self, text: str) -> SiteRow:
        """The site that a person means: by id, name or content URL, in any case; `default` is one.

        Raises:
            NotFoundError: There is none.
        """
        with self._repository.reading() as tx:
            return find_site(tx, text)

    def default_mode(self) -> SiteMode:
        """The mode of a new site for which none is asked (tabcmd cannot ask for one)."""
        with self._repository.reading() as tx:
            return _default_mode(tx)

    def set_default_mode(self, subject: Subject, mode: SiteMode) -> None:
        """Let new sites have a mode.

        Raises:
            PermissionDeniedError: The subject is no server administrator.
        """
        permissions.check(subject, Action.SET_SITE_MODE)
        with self._repository.transaction() as tx:
            before = _default_mode(tx)
            tx.marks.set(_DEFAULT_MODE_MARK, str(int(mode)))
            if before is not mode:
                self._log_mode(subject, "", before, mode)

    def create(self, subject: Subject, name: str, changes: SiteChanges | None = None) -> SiteRow:
        """Create a site with its Default project.

        Args:
            subject: Who asks.
            name: The site's name.
            changes: Everything but the name; without a content URL one is made of the name.

        Raises:
            PermissionDeniedError: The subject is no server administrator.
            UsageError: A name or value is not allowed.
            ConflictError: Name or content URL is taken.
        """
        permissions.check(subject, Action.CREATE_SITE)
        wanted = changes or SiteChanges()
        form = names.canonical(name, "site")
        url = names.content_url_of(form) if wanted.content_url is None else wanted.content_url
        with self._repository.transaction() as tx:
            if tx.sites.find_by_name(form) is not None:
                # told first: "Default" has no content URL that a second one could have
                raise ConflictError(
                    f"a site named {form!r} exists already", hint="choose another name"
                )
            site = SiteRow(
                id=new_id(),
                name=form,
                content_url=_new_content_url(url),
                mode=wanted.mode if wanted.mode is not None else _default_mode(tx),
                created_at=format_utc(self._clock.now()),
            )
            fresh = dataclasses.replace(wanted, name=None, content_url=None, mode=None)
            site = dataclasses.replace(site, **_plain_changes(site, fresh))
            insert_site(tx, site, owner_for(tx, subject))
            mode = SiteMode(site.mode).word
            self._events.append([events.site_created(subject.actor, site.id, form, mode=mode)])
        return site

    def update(self, subject: Subject, site_id: str, changes: SiteChanges) -> SiteChange:
        """Change a site; the same mode again does nothing.

        Raises:
            PermissionDeniedError: The subject may not; mode, name, content URL, state and quotas are for server administrators.
            NotFoundError: There is no such site.
            UsageError: A name or value is not allowed.
            ConflictError: The name or content URL is taken.
        """
        permissions.check(subject, Action.UPDATE_SITE, Resource(site_id))
        with self._repository.transaction() as tx:
            site = tx.sites.get(site_id)
            job = None
            if changes.mode is not None and changes.mode != site.mode:
                permissions.check(subject, Action.SET_SITE_MODE, Resource(site_id))
                job = self._change_mode(tx, subject, site, changes)
            columns = _plain_changes(site, changes)
            if any(columns.get(name, old) != old for name, old in _limits(site)):
                permissions.check(subject, Action.LIMIT_SITE, Resource(site_id))
            site = tx.sites.update(site_id, **columns)
        return SiteChange(site, job)

    def set_mode(
        self, subject: Subject, site_id: str, mode: SiteMode, *, keep_encrypted: bool = False
    ) -> SiteChange:
        """Set the encryption mode.

        Enforced asks for the encryption of everything, disabled for the decryption of everything
        unless `keep_encrypted`, enabled changes nothing that is there; the same mode does nothing.

        Raises:
            PermissionDeniedError: The subject is no server administrator.
            NotFoundError: There is no such site.
        """
        changes = SiteChanges(mode=mode, keep_encrypted=keep_encrypted)
        return self.update(subject, site_id, changes)

    def encrypted_count(self, site_id: str) -> int:
        """How many extracts of a site are encrypted: what switching to disabled would decrypt."""
        with self._repository.reading() as tx:
            return tx.contents.count_of_site(site_id, _ENCRYPTED)

    def delete(self, subject: Subject, site_id: str) -> Sequence[str]:
        """Delete a site with its content, users' roles, groups and sessions; its jobs are cancelled.

        Returns:
            The file store's keys of its files, noted as to be deleted.

        Raises:
            PermissionDeniedError: The subject is no server administrator.
            NotFoundError: There is no such site.
            StateError: It is the default site.
        """
        permissions.check(subject, Action.DELETE_SITE)
        with self._repository.transaction() as tx:
            site = tx.sites.get(site_id)
            if not site.content_url:
                raise StateError("the default site cannot be deleted")
            now = format_utc(self._clock.now())
            content = tx.contents.list_for_site(site_id)
            files = removals.files_of(content) | tx.uploads.storage_keys(site_id)
            tx.jobs.cancel_of_site(site_id, now)
            tx.sites.delete(site_id)
            noted = removals.note(tx, files, now)
            self._events.append(
                [
                    *removals.told(subject.actor, content),
                    events.site_deleted(subject.actor, site_id, site.name, files=len(files)),
                ]
            )
        return noted

    def _change_mode(
        self, tx: Transaction, subject: Subject, site: SiteRow, changes: SiteChanges
    ) -> JobRow | None:
        before, mode = SiteMode(site.mode), SiteMode(changes.mode or SiteMode.DISABLED)
        site = tx.sites.update(site.id, mode=int(mode))
        job = None
        if mode is SiteMode.ENFORCED:
            self._cancel(tx, site, JobKind.DECRYPT)
            job = self._jobs.enqueue_in(tx, JobKind.ENCRYPT, site, subject.actor)
        elif mode is SiteMode.DISABLED and not changes.keep_encrypted:
            for kind in (JobKind.ENCRYPT, JobKind.REKEY):
                self._cancel(tx, site, kind)
            job = self._jobs.enqueue_in(tx, JobKind.DECRYPT, site, subject.actor)
        self._log_mode(subject, site.id, before, mode)
        return job

    def _cancel(self, tx: Transaction, site: SiteRow, kind: JobKind) -> None:
        """Stop what would work against the new mode."""
        now = format_utc(self._clock.now())
        for job in tx.jobs.list(site_id=site.id, states=[JobState.QUEUED, JobState.RUNNING]):
            if job.kind == kind:
                tx.jobs.request_cancel(job.id, now)
        jobs.settle(tx, site.id)

    def _log_mode(self, subject: Subject, site_id: str, before: SiteMode, after: SiteMode) -> None:
        event = events.site_mode_changed(
            subject.actor, site_id, before=before.word, after=after.word
        )
        self._events.append([event])


def parse_mode(text: str) -> SiteMode:
    """The mode of that word, in any case.

    Raises:
        UsageError: There is no such mode.
    """
    try:
        return SiteMode[text.strip().upper()]
    except KeyError as error:
        known = ", ".join(mode.word for mode in SiteMode)
        raise UsageError(f"unknown encryption mode {text!r}", hint=f"one of {known}") from error


def find_site(tx: Transaction, text: str) -> SiteRow:
    """The site that a person means: by id, name or content URL, in any case; `default` is one.

    Raises:
        NotFoundError: There is none.
    """
    if not text or text.casefold() == names.DEFAULT_SITE_WORD:
        found = tx.sites.find_by_content_url("")
    else:
        by_id = tx.sites.find(text)
        found = by_id or tx.sites.find_by_name(text) or tx.sites.find_by_content_url(text)
    if found is None:
        known = [site.name for site in tx.sites.list()]
        raise NotFoundError(
            f"there is no site {text!r}",
            hint=names.did_you_mean(text, known) or "see 'strongroom sites list'",
        )
    return found


def insert_site(tx: Transaction, site: SiteRow, owner_id: str) -> None:
    """Add a site and its Default project."""
    tx.sites.insert(site)
    tx.projects.insert(
        ProjectRow(
            id=new_id(),
            site_id=site.id,
            name=DEFAULT_PROJECT,
            parent_id=None,
            description="The project of everything for which no other one is named.",
            owner_id=owner_id,
            content_permissions=PROJECT_PERMISSIONS,
            created_at=site.created_at,
            updated_at=site.created_at,
        )
    )


def _default_mode(tx: Transaction) -> SiteMode:
    return SiteMode(int(tx.marks.find(_DEFAULT_MODE_MARK) or SiteMode.DISABLED))


def _new_content_url(url: str) -> str:
    form = names.content_url(url)
    if not form:
        raise UsageError(
            "a new site needs a content URL of its own",
            hint="name one with --url; letters, digits, - and _",
        )
    return form


def _plain_changes(site: SiteRow, changes: SiteChanges) -> dict[str, Any]:  # columns' values
    """The columns to change besides the mode, checked."""
    columns: dict[str, Any] = {}
    if changes.name is not None:
        columns["name"] = names.canonical(changes.name, "site")
    if changes.content_url is not None:
        columns["content_url"] = _changed_content_url(site, changes.content_url)
    if changes.state is not None:
        columns["state"] = _one_of(changes.state, STATES, "state")
    if changes.admin_mode is not None:
        columns["admin_mode"] = _one_of(changes.admin_mode, ADMIN_MODES, "admin mode")
    for name in ("user_quota", "storage_quota"):
        quota = getattr(changes, name)
        if quota is not None:
            # a quota of -1 is how clients take one away
            columns[name] = None if quota < 0 else quota
    if changes.attributes:
        columns["attributes"] = _merged(site.attributes, changes.attributes)
    return columns


def _limits(site: SiteRow) -> Sequence[tuple[str, object]]:
    """What a site administrator sends back with the rest, and may not change."""
    names_of_limits = (
        "name",
        "content_url",
        "state",
        "admin_mode",
        "user_quota",
        "storage_quota",
    )
    return [(name, getattr(site, name)) for name in names_of_limits]


def _changed_content_url(site: SiteRow, url: str) -> str:
    form = names.content_url(url)
    if bool(form) != bool(site.content_url):
        raise UsageError(
            "the default site's content URL is empty and stays so"
            if form
            else "only the default site has an empty content URL"
        )
    return form


def _one_of(value: str, known: Sequence[str], noun: str) -> str:
    for word in known:
        if word.casefold() == value.casefold():
            return word
    raise UsageError(f"unknown {noun} {value!r}", hint=f"one of {', '.join(known)}")


def _merged(present: Mapping[str, object], new: Mapping[str, object]) -> dict[str, object]:
    merged = {**present, **new}
    too_long = [
        name for name, value in merged.items() if len(str(value)) > MAX_ATTRIBUTE_CHARACTERS
    ]
    if len(merged) > MAX_ATTRIBUTES or too_long:
        raise UsageError(
            f"a site has at most {MAX_ATTRIBUTES} attributes"
            f" of at most {MAX_ATTRIBUTE_CHARACTERS} characters"
        )
    return merged
