"""Publishing: from an authorised request to a stored file and its row; the bytes are sealed while they stream (E-09).

Everything that can be refused is refused before the first byte of the file. What a publication wrote becomes visible in one
transaction with its row; whatever ends early leaves no file. Names are only ever data: files lie under ids.
"""

import io
import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol, Self

from strongroom import ids
from strongroom.access import names, permissions
from strongroom.access.permissions import Action
from strongroom.clock import Clock, format_utc
from strongroom.crypto.secret import SecretBytes
from strongroom.envelope.header import Placement
from strongroom.errors import (
    ConflictError,
    NotFoundError,
    PermissionDeniedError,
    StateError,
    StorageError,
    UsageError,
)
from strongroom.eventlog import events
from strongroom.eventlog.base import EventLog
from strongroom.extracts import model, policy
from strongroom.extracts.model import ContentKind, FileType
from strongroom.extracts.packages import inspect_package
from strongroom.extracts.vault import StoredFile
from strongroom.repository.rows import (
    ContentRow,
    ContentState,
    CredentialRow,
    ProjectRow,
    SiteMode,
    SiteRow,
)
from strongroom.repository.unit_of_work import Repository, Transaction
from strongroom.services.auth import Identity, identity_on
from strongroom.services.projects import project_of_site
from strongroom.services.resources import content_resource, project_resource
from strongroom.services.sites import DEFAULT_PROJECT
from strongroom.services.stored_files import StoredFiles

# publishing is told in the backgrounder's log
_log = logging.getLogger("backgrounder.Publishing")
MEBIBYTE = 1024 * 1024
MAX_LOGINS = 16


class AssetSealer(Protocol):
    """Seals values under the asset key (C-08)."""

    def seal(self, plaintext: bytes, *, content_id: str) -> tuple[str, str]:
        """The asset key's id and the sealed value."""
        ...


@dataclass(frozen=True)
class Login:
    """A credential embedded in published content; its password is never shown."""

    name: str
    password: SecretBytes = field(repr=False)


@dataclass(frozen=True)
class PublishRequest:
    """What a client wants published.

    Attributes:
        kind: Data source or workbook.
        file_type: Type of the file.
        name: The item's name.
        project_id: Empty for the site's default project.
        description: Free text.
        encrypt: The publisher's wish; None if there is none.
        replaces: An item of the same name may be there, and its file is replaced.
        logins: Credentials embedded in the content.
    """

    kind: ContentKind
    file_type: FileType
    name: str
    project_id: str = ""
    description: str = ""
    encrypt: bool | None = None
    replaces: bool = False
    logins: Sequence[Login] = ()


@dataclass(frozen=True)
class _Plan:
    """What was decided before the first byte."""

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
        """What the envelope is bound to."""
        return Placement(self.site.id, self.content_id)


class PublishingService:
    """Takes new content into the installation."""

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
        self._events = event_log
        self._clock = clock

    def begin(
        self, identity: Identity, request: PublishRequest, expected_bytes: int = 0
    ) -> "Publication":
        """Authorise, choose the place, decide on encryption and make the data key.

        Args:
            identity: Who publishes.
            request: What, and where.
            expected_bytes: About how large it is; 0 if nobody knows.

        Raises:
            PermissionDeniedError: The user may not publish there, or encryption is disabled on the site.
            ConflictError: An item of that name is there and the request does not replace it.
            NotFoundError: There is no such project.
        """
        request = replace(request, name=names.canonical(request.name, request.kind))
        if len(request.logins) > MAX_LOGINS:
            raise UsageError(f"more than {MAX_LOGINS} embedded credentials")
        with self._repository.reading() as tx:
            plan = _plan(tx, identity, request)
        return Publication(self, self._files, plan, expected_bytes)

    def commit(self, plan: _Plan, stored: StoredFile, *, has_extract: bool) -> ContentRow:
        """Make it visible: the row, its credentials and the end of the intent in one transaction; then the old file goes."""
        sealed = [self._sealed(plan, login) for login in plan.request.logins]
        if stored.encrypted:
            self._events.append(
                [
                    events.extract_encrypted(
                        plan.identity.subject.actor,
                        plan.site.id,
                        plan.content_id,
                        stored.mek_id,
                        size=stored.plaintext_bytes,
                    )
                ]
            )
        with self._repository.transaction() as tx:
            now_plan = _plan(tx, _as_now(tx, plan.identity), plan.request)
            if now_plan.encrypted != plan.encrypted or _id(now_plan) != _id(plan):
                raise StateError(
                    "the site's encryption mode or the item changed during the upload",
                    hint="publish again",
                )
            if now_plan.room_bytes is not None and stored.plaintext_bytes > now_plan.room_bytes:
                raise _no_room()  # others published meanwhile
            row = self._row(tx, now_plan, plan.content_id, stored, has_extract=has_extract)
            if now_plan.existing is None:
                tx.contents.insert(row)
            else:
                _replace_row(tx, row)
                self._files.discard_later(tx, now_plan.existing.storage_key)
            for credential in tx.credentials.list_for_content(row.id):
                tx.credentials.delete(credential.id)
            for credential in sealed:
                tx.credentials.insert(credential)
            tx.intents.delete(stored.storage_key)
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

    def _sealed(self, plan: _Plan, login: Login) -> CredentialRow:
        value = json.dumps({"name": login.name, "password": login.password.reveal().decode()})
        key_id, sealed = self._assets.seal(value.encode(), content_id=plan.content_id)
        return CredentialRow(ids.new_id(), plan.content_id, login.name, sealed, key_id)

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
        facts = {"description": names.description(request.description)}
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
        return replace(
            fresh,
            owner_id=before.owner_id,
            name=before.name,
            content_url=before.content_url,
            created_at=before.created_at,
            tags=before.tags,
        )


class Publication:
    """One item on its way in; a context manager that leaves nothing behind unless it was finished."""

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
        """The next bytes of the file; its first ones must be those of the declared type.

        Raises:
            FormatError: They are not.
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
        """The file is whole: sync it, look into packages, make it visible."""
        request = self._plan.request
        if len(self._head) < model.HEAD_BYTES:
            model.check_head(request.file_type, bytes(self._head))
        stored = self._files.current(self._writer.commit(), self._plan.placement)
        has_extract = request.file_type.is_extract
        if request.file_type.is_package:
            with self._files.open(stored, self._plan.placement) as reader:
                package = io.BufferedReader(reader.as_file())
                has_extract = inspect_package(package, reader.size).has_extract
        try:
            row = self._service.commit(self._plan, stored, has_extract=has_extract)
        except StorageError:
            # whether a commit that failed on the disk comes back after a crash is not known: the
            # intent stays with the file, and the next start keeps it exactly if the row is there
            self._finished = True
            raise
        self._finished = True
        return row

    def abort(self) -> None:
        """Leave nothing behind."""
        if not self._finished:
            self._finished = True
            self._writer.abort()
            self._files.abandon(self._storage_key)

    def _check_room(self) -> None:
        room = self._plan.room_bytes
        if room is not None and self._size > room:
            raise _no_room()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.abort()


def _as_now(tx: Transaction, identity: Identity) -> Identity:
    """Who publishes, with the role that is left after a long upload."""
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
            wish = True  # the refresh of an encrypted extract yields an encrypted one (E-05)
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
        raise NotFoundError("no project is named, and there is no Default project on this site")
    return project


def _room(tx: Transaction, site: SiteRow, existing: ContentRow | None) -> int | None:
    """Plaintext bytes that the quota (in MiB, as the clients send it) leaves; the replaced file makes room."""
    if site.storage_quota is None:
        return None
    used = tx.contents.bytes_of_site(site.id) - (existing.plaintext_bytes if existing else 0)
    return max(0, site.storage_quota * MEBIBYTE - used)


def _replace_row(tx: Transaction, row: ContentRow) -> None:
    tx.contents.update(
        row.id,
        file_name=row.file_name,
        file_type=row.file_type,
        storage_key=row.storage_key,
        file_id=row.file_id,
        mek_id=row.mek_id,
        plaintext_bytes=row.plaintext_bytes,
        stored_bytes=row.stored_bytes,
        state=row.state,
        has_extract=row.has_extract,
        attributes=row.attributes,
        updated_at=row.updated_at,
    )


def _free_content_url(tx: Transaction, row: ContentRow) -> str:
    """Letters, digits, hyphen and underscore of the name; a number behind it if another item has it already."""
    stem = "".join(sign for sign in row.name if sign.isalnum() or sign in "_-") or row.kind
    candidate, number = stem, 0
    while tx.contents.find_by_content_url(row.site_id, row.kind, candidate) is not None:
        number += 1
        candidate = f"{stem}_{number}"
    return candidate
