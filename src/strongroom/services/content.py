"""Published content after it was published: list, read, change, decide on its encryption, delete.

Encryption that somebody decides on is a job; this module only asks for it. Deleting removes the row, then the file: with the
header goes the only wrapped copy of its data key.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass

from strongroom.access import names, permissions
from strongroom.access.permissions import Action, Resource
from strongroom.clock import Clock, format_utc
from strongroom.envelope.header import Placement
from strongroom.errors import NotFoundError, StateError, StorageError
from strongroom.eventlog import events
from strongroom.eventlog.base import EventLog
from strongroom.extracts import policy
from strongroom.extracts.model import ContentKind
from strongroom.extracts.vault import VaultReader
from strongroom.jobs.model import JobKind, JobOptions
from strongroom.repository.rows import (
    ContentRow,
    ContentState,
    JobRow,
    Page,
    Query,
    SiteMode,
)
from strongroom.repository.unit_of_work import Repository, Transaction
from strongroom.services.auth import Identity
from strongroom.services.jobs import JobsService
from strongroom.services.projects import project_of_site
from strongroom.services.resources import content_resource, project_resource
from strongroom.services.stored_files import StoredFiles
from strongroom.services.users import user_of_site

# opening extracts is told in the log of vizqlserver
_log = logging.getLogger("vizqlserver.ExtractReader")
_ENCRYPTED_OR_SOON = {
    ContentState.ENCRYPTED,
    ContentState.PENDING_ENCRYPTION,
    ContentState.PENDING_REKEY,
}


@dataclass(frozen=True)
class ContentChanges:
    """What a client wants changed; None leaves it.

    Attributes:
        encrypt: The extract is to be encrypted, or to be plain.
    """

    name: str | None = None
    project_id: str | None = None
    owner_id: str | None = None
    description: str | None = None
    encrypt: bool | None = None


@dataclass(frozen=True)
class Named:
    """Content with the names that go with its ids."""

    row: ContentRow
    project_name: str
    owner_name: str

    @property
    def encrypts(self) -> bool:
        """Whether the extract is encrypted, or a job is about to do it."""
        return ContentState(self.row.state) in _ENCRYPTED_OR_SOON


class ContentService:
    """Everything about published content but its publishing."""

    def __init__(
        self,
        repository: Repository,
        files: StoredFiles,
        jobs: JobsService,
        event_log: EventLog,
        clock: Clock,
    ) -> None:
        self._repository = repository
        self._files = files
        self._jobs = jobs
        self._events = event_log
        self._clock = clock

    def page(self, identity: Identity, kind: ContentKind, query: Query) -> Page[Named]:
        """Content of the site."""
        permissions.check(identity.subject, Action.LIST_CONTENT, Resource(identity.site.id))
        with self._repository.reading() as tx:
            found = tx.contents.page(identity.site.id, kind, query)
            return Page(_named(tx, found.rows), found.total)

    def get(self, identity: Identity, kind: ContentKind, content_id: str) -> Named:
        """One item.

        Raises:
            NotFoundError: There is none of that kind on the site.
        """
        permissions.check(identity.subject, Action.LIST_CONTENT, Resource(identity.site.id))
        with self._repository.reading() as tx:
            return _named(tx, [_find(tx, identity, kind, content_id)])[0]

    def open(
        self, identity: Identity, kind: ContentKind, content_id: str
    ) -> tuple[ContentRow, VaultReader]:
        """Open an item's file for reading; its bytes come out decrypted (E-08).

        Raises:
            PermissionDeniedError: The user may not download it.
            IntegrityError: The file was damaged, or is another one than the row says.
        """
        with self._repository.reading() as tx:
            row = _find(tx, identity, kind, content_id)
            permissions.check(identity.subject, Action.DOWNLOAD_CONTENT, content_resource(tx, row))
        try:
            reader = self._files.open(row, placement_of(row))
        except NotFoundError:
            # a job may have switched the file between the two steps
            with self._repository.reading() as tx:
                row = _find(tx, identity, kind, content_id)
            reader = self._open_named(row)
        _log.info(
            "opened %s %s of site %s: %s",
            row.kind,
            row.id,
            row.site_id,
            f"encrypted under MEK {row.mek_id}" if row.mek_id else "not encrypted",
        )
        return row, reader

    def update(
        self, identity: Identity, kind: ContentKind, content_id: str, changes: ContentChanges
    ) -> Named:
        """Change what was sent; a wish for encryption becomes a job unless the item is so already.

        Raises:
            PermissionDeniedError: The user may not, or encryption is disabled on the site.
            StateError: The extract is to be plain and encryption is enforced on the site.
        """
        with self._repository.transaction() as tx:
            row = _find(tx, identity, kind, content_id)
            columns = self._columns(tx, identity, row, changes)
            if columns:
                columns["updated_at"] = format_utc(self._clock.now())
                row = tx.contents.update(row.id, **columns)
            named = _named(tx, [row])[0]
            if changes.encrypt is not None and changes.encrypt != named.encrypts:
                self._toggle(tx, identity, row, encrypt=changes.encrypt)
            return _named(tx, [tx.contents.get(row.id)])[0]

    def create_extract(
        self, identity: Identity, kind: ContentKind, content_id: str, *, encrypt: bool
    ) -> JobRow:
        """The meaning of createExtract here: the stored extract is encrypted now, or (without the wish) left as it is.

        Raises:
            PermissionDeniedError: The user may not, or encryption is disabled on the site.
            StateError: The item holds no extract.
        """
        if not encrypt:
            return self.refresh(identity, kind, content_id)
        with self._repository.transaction() as tx:
            row = _find(tx, identity, kind, content_id)
            return self._toggle_extract(tx, identity, row, encrypt=True)

    def delete_extract(self, identity: Identity, kind: ContentKind, content_id: str) -> JobRow:
        """The meaning of deleteExtract here, the way back from createExtract: the extract becomes plain; no data goes.

        Raises:
            PermissionDeniedError: The user may not.
            StateError: The item holds no extract, or encryption is enforced on the site.
        """
        with self._repository.transaction() as tx:
            row = _find(tx, identity, kind, content_id)
            return self._toggle_extract(tx, identity, row, encrypt=False)

    def refresh(self, identity: Identity, kind: ContentKind, content_id: str) -> JobRow:
        """The meaning of a refresh here: an encrypted extract comes under the active MEK (E-05, E-18), a plain one stays.

        Raises:
            PermissionDeniedError: The user may not.
            StateError: The item holds no extract.
        """
        with self._repository.transaction() as tx:
            row = _find(tx, identity, kind, content_id)
            permissions.check(identity.subject, Action.REFRESH_CONTENT, content_resource(tx, row))
            _check_extract(row)
            return self._enqueue(tx, identity, row, JobKind.REWRAP)

    def delete(self, identity: Identity, kind: ContentKind, content_id: str) -> None:
        """Delete an item; its data key is gone with its file.

        Raises:
            PermissionDeniedError: The user may not.
        """
        with self._repository.transaction() as tx:
            row = _find(tx, identity, kind, content_id)
            permissions.check(identity.subject, Action.DELETE_CONTENT, content_resource(tx, row))
            tx.contents.delete(row.id)
            self._files.discard_later(tx, row.storage_key)
            self._events.append(
                [
                    events.extract_deleted(
                        identity.subject.actor, row.site_id, row.id, file_id=row.file_id
                    )
                ]
            )
        self._files.discard(row.storage_key)

    def delete_files(self, storage_keys: Sequence[str]) -> None:
        """Remove the files of a site or project that was deleted; its transaction noted them."""
        for key in storage_keys:
            self._files.discard(key)

    def _open_named(self, row: ContentRow) -> VaultReader:
        """The file that a row names: if it is not there, what was lost is ours, and not what was asked for."""
        try:
            return self._files.open(row, placement_of(row))
        except NotFoundError as error:
            raise StorageError(
                f"the file of {row.kind} {row.id} is lost: {error.message}"
            ) from error

    def _columns(
        self, tx: Transaction, identity: Identity, row: ContentRow, changes: ContentChanges
    ) -> dict[str, object]:
        columns: dict[str, object] = {}
        resource, subject = content_resource(tx, row), identity.subject
        if changes.name is not None and changes.name != row.name:
            columns["name"] = names.canonical(changes.name, row.kind)
        if changes.description is not None:
            columns["attributes"] = {
                **row.attributes,
                "description": names.description(changes.description),
            }
        if changes.project_id and changes.project_id != row.project_id:
            project = project_of_site(tx, row.site_id, changes.project_id)
            permissions.check(subject, Action.PUBLISH, project_resource(tx, project))
            columns["project_id"] = project.id
        if columns:
            permissions.check(subject, Action.UPDATE_CONTENT, resource)
        if changes.owner_id and changes.owner_id != row.owner_id:
            permissions.check(subject, Action.CHANGE_OWNER, resource)
            columns["owner_id"] = user_of_site(tx, row.site_id, changes.owner_id).user.id
        return columns

    def _toggle_extract(
        self, tx: Transaction, identity: Identity, row: ContentRow, *, encrypt: bool
    ) -> JobRow:
        permissions.check(identity.subject, Action.TOGGLE_ENCRYPTION, content_resource(tx, row))
        _check_extract(row)
        return self._toggle(tx, identity, row, encrypt=encrypt)

    def _toggle(
        self, tx: Transaction, identity: Identity, row: ContentRow, *, encrypt: bool
    ) -> JobRow:
        permissions.check(identity.subject, Action.TOGGLE_ENCRYPTION, content_resource(tx, row))
        policy.check_change(SiteMode(tx.sites.get(row.site_id).mode), encrypt=encrypt)
        return self._enqueue(tx, identity, row, JobKind.ENCRYPT if encrypt else JobKind.DECRYPT)

    def _enqueue(
        self, tx: Transaction, identity: Identity, row: ContentRow, kind: JobKind
    ) -> JobRow:
        options = JobOptions(content_ids=(row.id,))
        site = tx.sites.get(row.site_id)
        return self._jobs.enqueue_in(tx, kind, site, identity.subject.actor, options=options)


def placement_of(row: ContentRow) -> Placement:
    """What the item's envelope is bound to."""
    return Placement(row.site_id, row.id)


def _find(tx: Transaction, identity: Identity, kind: ContentKind, content_id: str) -> ContentRow:
    row = tx.contents.find(content_id)
    if row is None or row.site_id != identity.site.id or row.kind != kind:
        raise NotFoundError(f"there is no {kind} {content_id[:64]!r} on this site")
    return row


def _check_extract(row: ContentRow) -> None:
    if not row.has_extract:
        raise StateError(
            f"{row.kind} {row.name!r} holds no extract", hint="publish one that holds a .hyper"
        )


def _named(tx: Transaction, rows: Sequence[ContentRow]) -> list[Named]:
    owners = tx.users.names({row.owner_id for row in rows})
    projects = {row.project_id: "" for row in rows}
    for project_id in projects:
        project = tx.projects.find(project_id)
        projects[project_id] = project.name if project else ""
    return [Named(row, projects[row.project_id], owners.get(row.owner_id, "")) for row in rows]
