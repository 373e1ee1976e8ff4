"""Creating, changing and deleting sites, and the jobs that follow a change of the encryption mode (E-01 … E-04).

A change of the mode touches no file. In one transaction it sets the mode, moves rows to a pending state and enqueues a
job, so that a crash leaves all three or none; the job then encrypts or decrypts the files.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from strongroom.access import names, permissions
from strongroom.access.permissions import Action, Resource, Subject
from strongroom.clock import Clock, format_utc
from strongroom.errors import ConflictError, NotFoundError, StateError, UsageError
from strongroom.eventlog.base import EventLog
from strongroom.eventlog.events import directory_events
from strongroom.ids import new_id
from strongroom.jobs.model import JobKind
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
from strongroom.services.directory import removals
from strongroom.services.directory.ownership import owner_for
from strongroom.services.directory.sign_in import end_without_entry
from strongroom.services.jobs import marks
from strongroom.services.jobs.marks import Scope
from strongroom.services.jobs.queue import JobsService

DEFAULT_PROJECT = "Default"
PROJECT_PERMISSIONS = "ManagedByOwner"
STATES = ("Active", "Suspended")
ADMIN_MODES = ("ContentAndUsers", "ContentOnly")
MAX_ATTRIBUTES = 200
MAX_ATTRIBUTE_NAME = 100  # characters; the longest that clients send has 40
MAX_ATTRIBUTE_CHARACTERS = 4000
_DEFAULT_MODE_MARK = "sites.default_mode"
_ENCRYPTED = (
    ContentState.ENCRYPTED,
    ContentState.PENDING_DECRYPTION,
    ContentState.PENDING_REENCRYPTION,
)


@dataclass(frozen=True)
class SiteChanges:
    """The values of a site that a client asks for; None leaves a field as it is, or for a new site at its default.

    Attributes:
        attributes: All other attributes that the client sent. Clients read, modify and write a site as a whole, so
            unknown attributes are stored and sent back; new ones are merged into the stored ones.
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
    """A site after a change, and the job that the change enqueued."""

    site: SiteRow
    job: JobRow | None = None


class SitesService:
    """The use cases of sites."""

    def __init__(
        self,
        repository: Repository,
        event_log: EventLog,
        clock: Clock,
        jobs_service: JobsService,
    ) -> None:
        self._repository = repository
        self._event_log = event_log
        self._clock = clock
        self._jobs = jobs_service

    def page(self, subject: Subject, query: Query | None = None) -> Page[SiteRow]:
        """All sites for server administrators; for other users the site of their session."""
        with self._repository.reading() as tx:
            if permissions.is_allowed(subject, Action.LIST_ALL_SITES):
                return tx.sites.page(query)
            site = tx.sites.find(subject.site_id)
            return Page([site], 1) if site is not None else Page([], 0)

    def get(self, site_id: str) -> SiteRow:
        """The site of that id.

        Raises:
            NotFoundError: No site has that id.
        """
        with self._repository.reading() as tx:
            return tx.sites.get(site_id)

    def find(self, text: str) -> SiteRow:
        """The site of that id, name or content URL, in any case; `default` names the default site.

        Raises:
            NotFoundError: No site has that id, name or content URL.
        """
        with self._repository.reading() as tx:
            return find_site(tx, text)

    def visible(self, subject: Subject, text: str, *, by_name: bool) -> SiteRow:
        """The site that a text names, if the subject may know of it: server administrators of any site, others of their own.

        Args:
            subject: The user who asks.
            text: The id of the site; with `by_name`, its name or content URL as well.
            by_name: Whether a person chose the text, so that names are accepted.

        Raises:
            NotFoundError: No such site exists, or the subject may not know of it; the error does not say which.
        """
        find = self.find if by_name else self.get
        if permissions.is_allowed(subject, Action.LIST_ALL_SITES):
            return find(text)
        unknown = NotFoundError(f"there is no site {text[:64]!r}", about="site")
        try:
            site = find(text)
        except NotFoundError:
            # the hint of the other error may name a site of which the subject may not know
            raise unknown from None
        if site.id != subject.site_id:
            raise unknown
        return site

    def default_mode(self) -> SiteMode:
        """The mode of a new site if the request names no mode, as tabcmd's cannot."""
        with self._repository.reading() as tx:
            return _default_mode(tx)

    def set_default_mode(self, subject: Subject, mode: SiteMode) -> None:
        """Set the mode of new sites for which no mode is asked.

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
            subject: The user who asks.
            name: The site's name.
            changes: The site's other values; without a content URL, one is derived from the name.

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
                # The name is checked before the content URL, for a clearer message: a second "Default" would otherwise
                # be refused for its missing content URL.
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
            self._event_log.append(
                [directory_events.site_created(subject.actor, site.id, form, mode=mode)]
            )
        return site

    def update(self, subject: Subject, site_id: str, changes: SiteChanges) -> SiteChange:
        """Change a site; the same mode again does nothing.

        Raises:
            PermissionDeniedError: The subject may not change the site; only server administrators change mode, name,
                content URL, state and quotas.
            NotFoundError: No site has that id.
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
            if "state" in columns:
                end_without_entry(tx, site_id=site_id)
        return SiteChange(site, job)

    def set_mode(
        self, subject: Subject, site_id: str, mode: SiteMode, *, keep_encrypted: bool = False
    ) -> SiteChange:
        """Set the encryption mode.

        Mode enforced enqueues a job that encrypts all extracts, mode disabled one that decrypts them unless
        `keep_encrypted`; mode enabled leaves all extracts as they are, and so does the present mode.

        Raises:
            PermissionDeniedError: The subject is no server administrator.
            NotFoundError: No site has that id.
        """
        changes = SiteChanges(mode=mode, keep_encrypted=keep_encrypted)
        return self.update(subject, site_id, changes)

    def encrypted_count(self, site_id: str) -> int:
        """How many extracts of a site are encrypted, and would be decrypted by mode disabled."""
        with self._repository.reading() as tx:
            return tx.contents.count_of_site(site_id, _ENCRYPTED)

    def delete(self, subject: Subject, site_id: str) -> Sequence[str]:
        """Delete a site with its content, users' roles, groups and sessions; its jobs are cancelled.

        Returns:
            The storage keys of the site's files, for which intents to delete them were written.

        Raises:
            PermissionDeniedError: The subject is no server administrator.
            NotFoundError: No site has that id.
            StateError: The default site cannot be deleted.
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
            self._event_log.append(
                [
                    *removals.events_of(subject.actor, content),
                    directory_events.site_deleted(
                        subject.actor, site_id, site.name, files=len(files)
                    ),
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
            for kind in (JobKind.ENCRYPT, JobKind.REENCRYPT):
                self._cancel(tx, site, kind)
            job = self._jobs.enqueue_in(tx, JobKind.DECRYPT, site, subject.actor)
        self._log_mode(subject, site.id, before, mode)
        return job

    def _cancel(self, tx: Transaction, site: SiteRow, kind: JobKind) -> None:
        """Cancel the site's jobs of a kind that would undo the new mode, and take back the states that they set."""
        now = format_utc(self._clock.now())
        for job in tx.jobs.open_of_site(site.id):
            if job.kind == kind:
                tx.jobs.request_cancel(job.id, now)
        marks.settle(tx, Scope(kind, site.id, frozenset()))

    def _log_mode(self, subject: Subject, site_id: str, before: SiteMode, after: SiteMode) -> None:
        event = directory_events.site_mode_changed(
            subject.actor, site_id, before=before.word, after=after.word
        )
        self._event_log.append([event])


def shown_attributes(site: SiteRow) -> dict[str, str]:
    """The other attributes that clients sent for a site; an attribute whose stored name is no name of XML is left out."""
    return {name: str(value) for name, value in site.attributes.items() if _fits(name)}


def parse_mode(text: str) -> SiteMode:
    """The mode of that word, in any case.

    Raises:
        UsageError: No mode has that name.
    """
    try:
        return SiteMode[text.strip().upper()]
    except KeyError as error:
        known = ", ".join(mode.word for mode in SiteMode)
        raise UsageError(f"unknown encryption mode {text!r}", hint=f"one of {known}") from error


def find_site(tx: Transaction, text: str) -> SiteRow:
    """The site of that id, name or content URL, in any case; `default` names the default site.

    Raises:
        NotFoundError: No site has that id, name or content URL.
    """
    if not text or text.casefold() == names.DEFAULT_SITE_WORD:
        found = tx.sites.find_by_content_url("")
    else:
        by_id = tx.sites.find(text)
        found = by_id or tx.sites.find_by_name(text) or tx.sites.find_by_content_url(text)
    if found is None:
        known = tx.sites.names_near(text, names.LOOKED_AT)
        raise NotFoundError(
            f"there is no site {text!r}",
            hint=names.did_you_mean(text, known) or "see 'strongroom sites list'",
            about="site",
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
            description="The project of items that are published without naming a project.",
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
    """The checked columns to change, except the mode."""
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
            # clients remove a quota by sending -1
            columns[name] = None if quota < 0 else quota
    if changes.attributes:
        columns["attributes"] = _merged(site.attributes, changes.attributes)
    return columns


def _limits(site: SiteRow) -> Sequence[tuple[str, object]]:
    """The values that a site administrator's client sends back with the rest of a site, and that only others may change."""
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


def _fits(name: str) -> bool:
    return len(name) <= MAX_ATTRIBUTE_NAME and names.is_xml_name(name)


def _merged(present: Mapping[str, object], new: Mapping[str, object]) -> dict[str, object]:
    """The present attributes with the new ones, each under a name that XML allows, since clients get them as XML attributes."""
    for name in new:
        if not _fits(name):
            raise UsageError(
                f"{name[:40]!r} is no name of an attribute of a site",
                hint=f"a letter or _, then letters, digits and _ . - up to {MAX_ATTRIBUTE_NAME} in all",
            )
    merged = {**{name: value for name, value in present.items() if _fits(name)}, **new}
    too_long = [
        name for name, value in merged.items() if len(str(value)) > MAX_ATTRIBUTE_CHARACTERS
    ]
    if len(merged) > MAX_ATTRIBUTES or too_long:
        raise UsageError(
            f"a site has at most {MAX_ATTRIBUTES} attributes"
            f" of at most {MAX_ATTRIBUTE_CHARACTERS} characters"
        )
    return merged
