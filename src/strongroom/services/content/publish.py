"""Publishing: from an authorised request to a stored file and its row; the bytes are sealed while they stream (E-09).

A request is checked as far as possible before the first byte of the file is taken. The file becomes visible in one
transaction with its row, and a publication that ends early leaves no file. Files are stored under ids: a name chosen by
a client never becomes part of a path.
"""

import io
import logging
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Self

from strongroom import ids
from strongroom.access import names, permissions
from strongroom.access.permissions import Action
from strongroom.clock import Clock, format_utc
from strongroom.envelope.header import Placement
from strongroom.errors import (
    ConflictError,
    NotFoundError,
    OutcomeUnknown,
    PermissionDeniedError,
    StateError,
    StorageError,
    UsageError,
)
from strongroom.eventlog.base import EventLog
from strongroom.eventlog.events import extract_events
from strongroom.extracts import documents, model, policy
from strongroom.extracts.documents import Connection
from strongroom.extracts.model import ContentKind, FileType
from strongroom.extracts.packages import inspect_package
from strongroom.extracts.vault import StoredFile
from strongroom.repository.reach import of_site
from strongroom.repository.rows import (
    ContentRow,
    ContentState,
    ProjectRow,
    SiteMode,
    SiteRow,
)
from strongroom.repository.unit_of_work import Repository, Transaction
from strongroom.services.content.credentials import AssetSealer, Login, as_published
from strongroom.services.content.stored_files import StoredFiles
from strongroom.services.directory.ownership import content_resource, project_resource
from strongroom.services.directory.projects import project_of_site
from strongroom.services.directory.sign_in import Identity, identity_on
from strongroom.services.directory.sites import DEFAULT_PROJECT

# publishing is logged by the service name that administrators know for it, backgrounder
_log = logging.getLogger("backgrounder.Publishing")
_PLACE = ("id", "site_id", "project_id", "kind")
"""Columns that identify an item; publishing it again does not change them."""
_KEPT = ("owner_id", "name", "content_url", "created_at", "tags")
"""Columns that an item keeps when it is published again; all others get the new publication's values."""
MEBIBYTE = 1024 * 1024
MAX_LOGINS = 16


@dataclass(frozen=True)
class PublishRequest:
    """A request to publish a file.

    Attributes:
        kind: Data source or workbook.
        file_type: Type of the file.
        name: The item's name.
        project_id: Id of the project; empty for the site's default project.
        description: Free text.
        encrypt: Whether the publisher wants the file encrypted; None without a wish.
        replaces: Whether the file of an item of the same name is replaced; otherwise such an item is an error.
        logins: Credentials embedded in the content.
        show_tabs: For a workbook: stored for the clients that open it, and unused here.
    """

    kind: ContentKind
    file_type: FileType
    name: str
    project_id: str = ""
    description: str = ""
    encrypt: bool | None = None
    replaces: bool = False
    logins: Sequence[Login] = ()
    show_tabs: bool = False


@dataclass(frozen=True)
class _Plan:
    """The decisions on a publication, made before the first byte and made again before the commit."""

    identity: Identity
    request: PublishRequest
    site: SiteRow
    project_id: str
    existing: ContentRow | None
    content_id: str
    encrypted: bool
    room_bytes: int | None

    @property
    def placement(self) -> Placement:
        """The site and item to which the envelope is bound."""
        return Placement(self.site.id, self.content_id)


class PublishingService:
    """Publishes files as content of a site."""

    def __init__(
        self,
        repository: Repository,
        files: StoredFiles,
        assets: AssetSealer,
        event_log: EventLog,
        clock: Clock,
    ) -> None:
        self._repository = repository
        self._files = files
        self._assets = assets
        self._event_log = event_log
        self._clock = clock

    def begin(
        self, identity: Identity, request: PublishRequest, expected_bytes: int = 0
    ) -> "Publication":
        """Authorise the request, choose the item, decide on encryption and make the data key.

        Args:
            identity: The user who publishes.
            request: The file's description and its place.
            expected_bytes: About how large the file is; 0 if unknown.

        Raises:
            PermissionDeniedError: The user may not publish there, or encryption is disabled on the site.
            ConflictError: An item of that name exists, and the request does not replace it.
            NotFoundError: The site has no such project.
        """
        request = replace(request, name=names.canonical(request.name, request.kind))
        if len(request.logins) > MAX_LOGINS:
            raise UsageError(f"more than {MAX_LOGINS} embedded credentials")
        with self._repository.reading() as tx:
            plan = _plan(tx, identity, request)
        return Publication(self, self._files, plan, expected_bytes)

    def commit(
        self,
        plan: _Plan,
        stored: StoredFile,
        *,
        has_extract: bool,
        connections: Sequence[Connection] = (),
    ) -> ContentRow:
        """Make the file visible: row, credentials and the end of the intent in one transaction; then delete the old file."""
        # The request is authorised and planned once more: during a long upload the user may have lost the role, the
        # site may have changed its encryption mode, and another publication may have taken the name or the room.
        with self._repository.transaction(of_site(plan.site.id)) as tx:
            now_plan = _plan(tx, _as_now(tx, plan.identity), plan.request)
            if now_plan.encrypted != plan.encrypted or _id(now_plan) != _id(plan):
                raise StateError(
                    "the site's encryption mode or the item changed during the upload",
                    hint="publish again",
                )
            if now_plan.room_bytes is not None and stored.plaintext_bytes > now_plan.room_bytes:
                raise _no_room()
            row = self._row(tx, now_plan, plan.content_id, stored, has_extract=has_extract)
            if now_plan.existing is None:
                tx.contents.insert(row)
            else:
                _replace_row(tx, row, now_plan.existing.storage_key)
                self._files.discard_later(tx, now_plan.existing.storage_key)
            for credential in tx.credentials.list_for_content(row.id):
                tx.credentials.delete(credential.id)
            # Credentials are sealed within the transaction. Sealed before, they could be under an asset key that a
            # regeneration has removed after resealing all credentials that it saw.
            logins = plan.request.logins
            for credential in as_published(self._assets, plan.content_id, logins, connections):
                tx.credentials.insert(credential)
            self._files.arrived(tx, stored)
            # The event is the last step before the commit: a refused publication leaves none (findings B4), and a
            # visible file always has one.
            self._log_event(plan, stored)
        if now_plan.existing is not None:
            self._files.discard(now_plan.existing.storage_key)
        _log.info(
            "published %s %s on site %s: %d bytes, %s",
            row.kind,
            row.id,
            row.site_id,
            row.plaintext_bytes,
            f"encrypted under MEK {row.mek_id}" if row.mek_id else "not encrypted",
        )
        return row

    def _log_event(self, plan: _Plan, stored: StoredFile) -> None:
        if stored.encrypted:
            actor, size = plan.identity.subject.actor, stored.plaintext_bytes
            event = extract_events.extract_encrypted(
                actor, plan.site.id, plan.content_id, stored.mek_id, size=size
            )
            self._event_log.append([event])

    def _row(
        self,
        tx: Transaction,
        plan: _Plan,
        content_id: str,
        stored: StoredFile,
        *,
        has_extract: bool,
    ) -> ContentRow:
        request, now = plan.request, format_utc(self._clock.now())
        facts: dict[str, object] = {"description": names.description(request.description)}
        if request.show_tabs:
            facts["show_tabs"] = True
        if request.file_type.needs_upgrade:
            facts["needs"] = "upgrade to .hyper"
        fresh = ContentRow(
            id=content_id,
            site_id=plan.site.id,
            project_id=plan.project_id,
            owner_id=plan.identity.user.id,
            kind=request.kind,
            name=request.name,
            content_url="",
            file_name=f"{request.name}.{request.file_type}",
            file_type=request.file_type,
            storage_key=stored.storage_key,
            file_id=stored.file_id,
            mek_id=stored.mek_id,
            plaintext_bytes=stored.plaintext_bytes,
            stored_bytes=stored.stored_bytes,
            state=ContentState.ENCRYPTED if stored.encrypted else ContentState.UNENCRYPTED,
            has_extract=has_extract,
            created_at=now,
            updated_at=now,
            attributes=facts,
        )
        before = plan.existing
        if before is None:
            return replace(fresh, content_url=_free_content_url(tx, fresh))
        return replace(fresh, **{name: getattr(before, name) for name in _KEPT})


class Publication:
    """A publication in progress; a context manager that deletes the file unless `finish` succeeded."""

    def __init__(
        self, service: PublishingService, files: StoredFiles, plan: _Plan, expected_bytes: int
    ) -> None:
        self._service = service
        self._files = files
        self._plan = plan
        self._head = bytearray()
        self._size = 0
        self._writer = files.create(
            plan.placement, encrypted=plan.encrypted, expected_bytes=expected_bytes
        )
        self._storage_key = self._writer.planned.storage_key
        self._finished = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Take the next bytes of the file, whose first bytes must fit the declared type.

        Raises:
            FormatError: The first bytes are of another type.
            StateError: The site's storage quota is full.
        """
        if len(self._head) < model.HEAD_BYTES:
            self._head += data[: model.HEAD_BYTES - len(self._head)]
            if len(self._head) >= model.HEAD_BYTES:
                model.check_head(self._plan.request.file_type, bytes(self._head))
        self._size += len(data)
        self._check_room()
        self._writer.write(data)

    def finish(self) -> ContentRow:
        """End the file: sync it, look into a package for an extract, and make the file visible."""
        request = self._plan.request
        if len(self._head) < model.HEAD_BYTES:
            model.check_head(request.file_type, bytes(self._head))
        stored = self._files.current(self._writer.commit(), self._plan.placement)
        has_extract = request.file_type.is_extract
        if request.file_type.is_package:
            with self._files.open(stored, self._plan.placement) as reader:
                package = io.BufferedReader(reader.as_file())
                has_extract = inspect_package(package, reader.size).has_extract
        found = self._connections(stored)
        try:
            row = self._service.commit(
                self._plan, stored, has_extract=has_extract, connections=found
            )
        except (StorageError, OutcomeUnknown):
            # A commit that failed on the disk may still turn out to be done after a crash. Deleting the file now could
            # leave a row without file, so the intent stays: `settle` keeps the file if the row exists, and deletes it
            # if not.
            self._finished = True
            self._files.doubt(self._storage_key)
            raise
        self._finished = True
        return row

    def _connections(self, stored: StoredFile) -> Sequence[Connection]:
        """The connections in the file; empty if no credential names one, so that the file need not be read."""
        if not any(login.server for login in self._plan.request.logins):
            return ()
        with self._files.open(stored, self._plan.placement) as reader:
            file = io.BufferedReader(reader.as_file())
            return documents.connections_of(self._plan.request.file_type, file)

    def abort(self) -> None:
        """Delete the file and its intent, unless the publication is finished."""
        if not self._finished:
            self._finished = True
            self._writer.abort()
            self._files.give_up(self._storage_key)

    def _check_room(self) -> None:
        room = self._plan.room_bytes
        if room is not None and self._size > room:
            raise _no_room()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.abort()


def check_may_publish(identity: Identity) -> None:
    """Refuse a user who may publish nowhere on the site, before the body is sent; the project's rights come later.

    Raises:
        PermissionDeniedError: The user may not publish on the site.
    """
    permissions.check(identity.subject, Action.PUBLISH)


def _as_now(tx: Transaction, identity: Identity) -> Identity:
    """The publishing user with the present role, which may have changed during a long upload."""
    user, site = tx.users.find(identity.user.id), tx.sites.get(identity.site.id)
    now = None if user is None else identity_on(tx, user, site)
    if now is None:
        raise PermissionDeniedError("the user lost its place on the site during the upload")
    return now


def _plan(tx: Transaction, identity: Identity, request: PublishRequest) -> _Plan:
    site = tx.sites.get(identity.site.id)
    mode = SiteMode(site.mode)
    project = _project(tx, site.id, request.project_id)
    permissions.check(identity.subject, Action.PUBLISH, project_resource(tx, project))
    existing = tx.contents.find_by_name(project.id, request.kind, request.name)
    wish = request.encrypt
    if existing is not None:
        if not request.replaces:
            raise ConflictError(
                f"a {request.kind} named {request.name!r} exists already in this project",
                hint="overwrite it, or choose another name",
            )
        permissions.check(identity.subject, Action.UPDATE_CONTENT, content_resource(tx, existing))
        if wish is None and existing.file_id and mode is SiteMode.ENABLED:
            wish = True  # publishing an encrypted extract again keeps it encrypted (E-05)
    return _Plan(
        identity=identity,
        request=request,
        site=site,
        project_id=project.id,
        existing=existing,
        content_id=existing.id if existing else ids.new_id(),
        encrypted=policy.encrypts_at_publish(mode, wish),
        room_bytes=_room(tx, site, existing),
    )


def _no_room() -> StateError:
    return StateError(
        "the site's storage quota is full",
        hint="delete content, or let a server administrator raise the quota",
    )


def _id(plan: _Plan) -> str:
    return plan.existing.id if plan.existing else ""


def _project(tx: Transaction, site_id: str, project_id: str) -> ProjectRow:
    if project_id:
        return project_of_site(tx, site_id, project_id)
    project = tx.projects.find_by_name(site_id, DEFAULT_PROJECT, None)
    if project is None:
        raise NotFoundError(
            "no project is named, and there is no Default project on this site", about="project"
        )
    return project


def _room(tx: Transaction, site: SiteRow, existing: ContentRow | None) -> int | None:
    """Plaintext bytes that the quota (in MiB, as clients send it) leaves, counting the replaced file as free; None: no quota."""
    if site.storage_quota is None:
        return None
    used = tx.contents.bytes_of_site(site.id) - (existing.plaintext_bytes if existing else 0)
    return max(0, site.storage_quota * MEBIBYTE - used)


def _replace_row(tx: Transaction, row: ContentRow, old_storage_key: str) -> None:
    names = {one.name for one in fields(ContentRow)} - {*_PLACE, *_KEPT}
    if not tx.contents.replace(row, old_storage_key, names):
        raise ConflictError(f"{row.kind} {row.name!r} got another file meanwhile", hint="try again")


def _free_content_url(tx: Transaction, row: ContentRow) -> str:
    """The name's letters, digits, hyphens and underscores, with a number behind if another item has that URL already."""
    stem = "".join(sign for sign in row.name if sign.isalnum() or sign in "_-") or row.kind
    if tx.contents.find_by_content_url(row.site_id, row.kind, stem) is None:
        return stem
    number = tx.contents.highest_url_number(row.site_id, row.kind, stem) + 1
    # this number is taken only if an item's URL ends with more digits than `highest_url_number` reads
    while tx.contents.find_by_content_url(row.site_id, row.kind, f"{stem}_{number}") is not None:
        number += 1
    return f"{stem}_{number}"
