"""Published content after it was published: list, read, change, decide on its encryption, delete.

Encrypting or decrypting an item is done by a job, which this module enqueues. Deleting an item removes its row and then
its file. The header in that file holds the only wrapped copy of the data key: a remainder of the body on the disk
cannot be read.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from strongroom.access import names, permissions
from strongroom.access.permissions import Action, Resource
from strongroom.clock import Clock, format_utc
from strongroom.envelope.header import Placement
from strongroom.errors import NotFoundError, StateError, StorageError
from strongroom.eventlog.base import EventLog
from strongroom.eventlog.events import extract_events
from strongroom.extracts import policy
from strongroom.extracts.model import ContentKind
from strongroom.extracts.vault import VaultReader
from strongroom.jobs.model import JobKind, JobOptions
from strongroom.repository.reach import of_site
from strongroom.repository.rows import (
    ContentRow,
    ContentState,
    JobRow,
    Page,
    Query,
    SiteMode,
)
from strongroom.repository.unit_of_work import Repository, Transaction
from strongroom.services.content.stored_files import StoredFiles
from strongroom.services.directory.ownership import content_resource, project_resource
from strongroom.services.directory.projects import project_of_site
from strongroom.services.directory.sign_in import Identity
from strongroom.services.directory.users import user_of_site
from strongroom.services.jobs.queue import JobsService
from strongroom.system.positions import Span

# the opening of extracts is logged by the service name that administrators know for it, vizqlserver
_log = logging.getLogger("vizqlserver.ExtractReader")
_ENCRYPTED_OR_SOON = {
    ContentState.ENCRYPTED,
    ContentState.PENDING_ENCRYPTION,
    ContentState.PENDING_REENCRYPTION,
}


@dataclass(frozen=True)
class ContentChanges:
    """The changes of an item that a client asks for; None leaves an attribute.

    Attributes:
        encrypt: Whether the extract shall be encrypted.
        show_tabs: For a workbook: stored for the clients that open it, and unused here.
    """

    name: str | None = None
    project_id: str | None = None
    owner_id: str | None = None
    description: str | None = None
    encrypt: bool | None = None
    show_tabs: bool | None = None


@dataclass(frozen=True)
class Named:
    """An item with the names of its project and its owner."""

    row: ContentRow
    project_name: str
    owner_name: str

    @property
    def encrypts(self) -> bool:
        """Whether the extract is encrypted, or a job is about to encrypt it."""
        return ContentState(self.row.state) in _ENCRYPTED_OR_SOON


class ContentService:
    """The use cases of published content, except its publishing."""

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
        self._event_log = event_log
        self._clock = clock

    def page(self, identity: Identity, kind: ContentKind, query: Query) -> Page[Named]:
        """A page of the site's content."""
        permissions.check(identity.subject, Action.LIST_CONTENT, Resource(identity.site.id))
        with self._repository.reading() as tx:
            found = tx.contents.page(identity.site.id, kind, query)
            return Page(named(tx, found.rows), found.total)

    def get(self, identity: Identity, kind: ContentKind, content_id: str) -> Named:
        """An item of the site.

        Raises:
            NotFoundError: The site has no item of that kind and id.
        """
        permissions.check(identity.subject, Action.LIST_CONTENT, Resource(identity.site.id))
        with self._repository.reading() as tx:
            return named(tx, [find_content(tx, identity, kind, content_id)])[0]

    def open(
        self,
        identity: Identity,
        kind: ContentKind,
        content_id: str,
        wanted: Callable[[int], Span] | None = None,
    ) -> tuple[ContentRow, VaultReader]:
        """Open an item's file for reading; the reader gives decrypted bytes (E-08).

        Args:
            identity: The user who asks.
            kind: The kind of the item.
            content_id: The item.
            wanted: Says of a file of a length, which need not be the true one, what will be read first.

        Raises:
            PermissionDeniedError: The user may not download the item.
            IntegrityError: The file was damaged, or replaced by that of another item.
        """
        with self._repository.reading() as tx:
            row = find_content(tx, identity, kind, content_id)
            permissions.check(identity.subject, Action.DOWNLOAD_CONTENT, content_resource(tx, row))
        try:
            reader = self._files.open(
                row, placement_of(row), wanted and wanted(row.plaintext_bytes)
            )
        except NotFoundError:
            # a job may have replaced the file after the row was read: read the row again
            with self._repository.reading() as tx:
                row = find_content(tx, identity, kind, content_id)
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
        """Change an item; a changed wish for encryption becomes a job.

        Raises:
            PermissionDeniedError: The user may not change the item, or encryption is disabled on the site.
            StateError: The extract shall be plain, and encryption is enforced on the site.
        """
        with self._repository.transaction(of_site(identity.site.id)) as tx:
            row = find_content(tx, identity, kind, content_id)
            columns = self._columns(tx, identity, row, changes)
            if columns:
                columns["updated_at"] = format_utc(self._clock.now())
                row = tx.contents.update(row.id, **columns)
            present = named(tx, [row])[0]
            if changes.encrypt is not None and changes.encrypt != present.encrypts:
                self._toggle(tx, identity, row, encrypt=changes.encrypt)
            return named(tx, [tx.contents.get(row.id)])[0]

    def change_tags(
        self,
        identity: Identity,
        items: Sequence[tuple[ContentKind, str]],
        *,
        add: Sequence[str] = (),
        remove: Sequence[str] = (),
    ) -> list[Named]:
        """Add tags to items and remove others, on all items or none; tags that need no change are no error.

        Raises:
            PermissionDeniedError: The user may not change one of the items.
            NotFoundError: An item does not exist.
            UsageError: A tag is not allowed, or there are too many.
        """
        wanted, gone = [names.tag(one) for one in add], {names.tag(one) for one in remove}
        with self._repository.transaction(of_site(identity.site.id)) as tx:
            changed: list[ContentRow] = []
            for kind, content_id in items:
                row = find_content(tx, identity, kind, content_id)
                resource = content_resource(tx, row)
                permissions.check(identity.subject, Action.UPDATE_CONTENT, resource)
                tags = list(dict.fromkeys([*(t for t in row.tags if t not in gone), *wanted]))
                names.check_tags(tags)
                changed.append(tx.contents.update(row.id, tags=tags))
            return named(tx, changed)

    def create_extract(
        self, identity: Identity, kind: ContentKind, content_id: str, *, encrypt: bool
    ) -> JobRow:
        """Carry out the API's createExtract: a job encrypts the stored extract, or without that wish refreshes it.

        Raises:
            PermissionDeniedError: The user may not change encryption, or encryption is disabled on the site.
            StateError: The item holds no extract.
        """
        if not encrypt:
            return self.refresh(identity, kind, content_id)
        with self._repository.transaction(of_site(identity.site.id)) as tx:
            row = find_content(tx, identity, kind, content_id)
            return self._toggle_extract(tx, identity, row, encrypt=True)

    def delete_extract(self, identity: Identity, kind: ContentKind, content_id: str) -> JobRow:
        """Carry out the API's deleteExtract, the reverse of createExtract: a job decrypts the extract; no data is lost.

        Raises:
            PermissionDeniedError: The user may not change encryption.
            StateError: The item holds no extract, or encryption is enforced on the site.
        """
        with self._repository.transaction(of_site(identity.site.id)) as tx:
            row = find_content(tx, identity, kind, content_id)
            return self._toggle_extract(tx, identity, row, encrypt=False)

    def refresh(self, identity: Identity, kind: ContentKind, content_id: str) -> JobRow:
        """Carry out the API's refresh: a job rewraps an encrypted extract to the active MEK (E-05, E-18).

        Raises:
            PermissionDeniedError: The user may not refresh the item.
            StateError: The item holds no extract.
        """
        with self._repository.transaction(of_site(identity.site.id)) as tx:
            row = find_content(tx, identity, kind, content_id)
            permissions.check(identity.subject, Action.REFRESH_CONTENT, content_resource(tx, row))
            _check_extract(row)
            return self._enqueue(tx, identity, row, JobKind.REWRAP)

    def look_again(self, identity: Identity, kind: ContentKind, content_id: str) -> JobRow:
        """Enqueue a job for an item whose publisher asked for one to wait for; it finds nothing to rewrap.

        Raises:
            PermissionDeniedError: The user may not refresh the item.
        """
        with self._repository.transaction(of_site(identity.site.id)) as tx:
            row = find_content(tx, identity, kind, content_id)
            permissions.check(identity.subject, Action.REFRESH_CONTENT, content_resource(tx, row))
            return self._enqueue(tx, identity, row, JobKind.REWRAP)

    def delete(self, identity: Identity, kind: ContentKind, content_id: str) -> None:
        """Delete an item and its file, and with the file the wrapped data key.

        Raises:
            PermissionDeniedError: The user may not delete the item.
        """
        with self._repository.transaction(of_site(identity.site.id)) as tx:
            row = find_content(tx, identity, kind, content_id)
            permissions.check(identity.subject, Action.DELETE_CONTENT, content_resource(tx, row))
            tx.contents.delete(row.id)
            # If we die after this transaction, the note makes the next start delete the file. Without it the file would
            # stay as a leftover that still opens.
            self._files.discard_later(tx, row.storage_key)
            self._event_log.append(
                [
                    extract_events.extract_deleted(
                        identity.subject.actor, row.site_id, row.id, file_id=row.file_id
                    )
                ]
            )
        self._files.discard(row.storage_key)

    def delete_files(self, storage_keys: Sequence[str]) -> None:
        """Delete the files of a deleted site or project, which the deleting transaction has noted."""
        for key in storage_keys:
            self._files.discard(key)

    def _open_named(self, row: ContentRow) -> VaultReader:
        """Open the file that a row names; if it is missing, the server has lost it, which is no "not found" of the client."""
        try:
            return self._files.open_here(row, placement_of(row))
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
        facts = dict(row.attributes)
        if changes.description is not None:
            facts["description"] = names.description(changes.description)
        if changes.show_tabs is not None and changes.show_tabs != bool(facts.get("show_tabs")):
            facts["show_tabs"] = changes.show_tabs
        if facts != row.attributes:
            columns["attributes"] = facts
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
    """The site and item to which the item's envelope is bound."""
    return Placement(row.site_id, row.id)


def find_content(
    tx: Transaction, identity: Identity, kind: ContentKind, content_id: str
) -> ContentRow:
    """The item of a kind and id on the site to which the user is signed in.

    Raises:
        NotFoundError: The site has no such item, even if another site has.
    """
    row = tx.contents.find(content_id)
    if row is None or row.site_id != identity.site.id or row.kind != kind:
        raise NotFoundError(f"there is no {kind} {content_id[:64]!r} on this site", about=kind)
    return row


def _check_extract(row: ContentRow) -> None:
    if not row.has_extract:
        raise StateError(
            f"{row.kind} {row.name!r} holds no extract, and this server has no connection to the data"
            " that one could be made from",
            hint="publish a file that holds its extract (.hyper, or .tdsx and .twbx with one inside)",
        )


def named(tx: Transaction, rows: Sequence[ContentRow]) -> list[Named]:
    """Items with the names of their projects and owners."""
    owners = tx.users.names({row.owner_id for row in rows})
    projects = {row.project_id: "" for row in rows}
    for project_id in projects:
        project = tx.projects.find(project_id)
        projects[project_id] = project.name if project else ""
    return [Named(row, projects[row.project_id], owners.get(row.owner_id, "")) for row in rows]
