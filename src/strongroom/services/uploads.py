"""Chunked uploads: every part an envelope of its own, counted once it is synced and has its row (architecture, way 1).

A part that is cut is deleted; no sealed stream is ever resumed. An upload belongs to one user on one site: to everybody else
it does not exist.
"""

from datetime import timedelta
from typing import Self

from strongroom import ids
from strongroom.access import permissions
from strongroom.access.permissions import Action
from strongroom.clock import Clock, format_utc
from strongroom.envelope.header import Placement
from strongroom.errors import NotFoundError, StateError, StorageError, UsageError
from strongroom.extracts.vault import StoredFile
from strongroom.repository.rows import ContentRow, UploadPartRow, UploadRow
from strongroom.repository.unit_of_work import Repository, Transaction
from strongroom.services.auth import Identity
from strongroom.services.publishing import PublishingService, PublishRequest
from strongroom.services.stored_files import StoredFiles

LIFETIME = timedelta(hours=24)
MAX_PARTS = 10_000
MAX_OPEN_PER_USER = 100


class UploadsService:
    """Collects the parts of big files and publishes them."""

    def __init__(
        self,
        repository: Repository,
        files: StoredFiles,
        publishing: PublishingService,
        clock: Clock,
    ) -> None:
        self._repository = repository
        self._files = files
        self._publishing = publishing
        self._clock = clock

    def start(self, identity: Identity) -> UploadRow:
        """Begin an upload.

        Raises:
            PermissionDeniedError: The user may not publish on the site.
        """
        permissions.check(identity.subject, Action.PUBLISH)
        now = format_utc(self._clock.now())
        row = UploadRow(ids.new_id(), identity.site.id, identity.user.id, now, now)
        with self._repository.transaction() as tx:
            mine = [
                one for one in tx.uploads.list_for_site(row.site_id) if one.user_id == row.user_id
            ]
            if len(mine) >= MAX_OPEN_PER_USER:
                raise StateError(
                    f"more than {MAX_OPEN_PER_USER} uploads are open",
                    hint="finish them, or wait until they expire",
                )
            return tx.uploads.insert(row)

    def begin_part(
        self, identity: Identity, upload_id: str, expected_bytes: int = 0
    ) -> "PartUpload":
        """Begin the next part.

        Raises:
            PermissionDeniedError: The user may no longer publish on the site.
            NotFoundError: No such upload of this user on this site.
        """
        permissions.check(identity.subject, Action.PUBLISH)
        with self._repository.reading() as tx:
            upload = _own(tx, identity, upload_id)
            if len(tx.uploads.parts(upload.id)) >= MAX_PARTS:
                raise UsageError(f"an upload has at most {MAX_PARTS} parts")
        return PartUpload(self, self._files, upload, expected_bytes)

    def publish(self, identity: Identity, request: PublishRequest, upload_id: str) -> ContentRow:
        """Publish what was uploaded; the parts are decrypted in order, in memory, into one envelope with a new data key.

        Raises:
            NotFoundError: No such upload of this user on this site.
        """
        with self._repository.reading() as tx:
            upload = _own(tx, identity, upload_id)
            parts = tx.uploads.parts(upload.id)
        if not parts:
            raise UsageError(f"upload {upload.id} has no part")
        size = sum(part.plaintext_bytes for part in parts)
        with self._publishing.begin(identity, request, size) as publication:
            for part in parts:
                with self._files.open(part, _placement(upload)) as reader:
                    for chunk in reader.iterate(0, reader.size):
                        publication.write(chunk)
            row = publication.finish()
        self._remove(upload)
        return row

    def expire(self) -> int:
        """Remove uploads that nobody continued for `LIFETIME`; returns how many."""
        before = format_utc(self._clock.now() - LIFETIME)
        with self._repository.reading() as tx:
            stale = tx.uploads.list_idle(before)
        for upload in stale:
            self._remove(upload)
        return len(stale)

    def count_part(self, upload: UploadRow, part: StoredFile) -> UploadRow:
        """A part is whole and synced: give it its row, and end its intent."""
        with self._repository.transaction() as tx:
            number = len(tx.uploads.parts(upload.id)) + 1
            tx.uploads.add_part(
                UploadPartRow(
                    upload.id,
                    number,
                    part.storage_key,
                    part.file_id,
                    part.mek_id,
                    part.plaintext_bytes,
                    part.stored_bytes,
                ),
                format_utc(self._clock.now()),
            )
            tx.intents.delete(part.storage_key)
            return tx.uploads.get(upload.id)

    def _remove(self, upload: UploadRow) -> None:
        with self._repository.transaction() as tx:
            keys = [part.storage_key for part in tx.uploads.parts(upload.id)]
            for key in keys:
                self._files.discard_later(tx, key)
            tx.uploads.delete(upload.id)
        for key in keys:
            self._files.discard(key)


class PartUpload:
    """One part on its way in; a context manager that leaves nothing behind unless it was finished."""

    def __init__(
        self, service: UploadsService, files: StoredFiles, upload: UploadRow, expected_bytes: int
    ) -> None:
        self._service = service
        self._files = files
        self._upload = upload
        self._writer = files.create(
            _placement(upload), encrypted=True, expected_bytes=expected_bytes
        )
        self._finished = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """The next bytes."""
        self._writer.write(data)

    def finish(self) -> UploadRow:
        """The part is whole: sync it and count it; returns the upload as it is then."""
        stored = self._writer.commit()
        try:
            upload = self._service.count_part(self._upload, stored)
        except StorageError:
            self._finished = True  # as in Publication.finish: the next start decides
            raise
        self._finished = True
        return upload

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if not self._finished:
            self._writer.abort()
            self._files.abandon(self._writer.planned.storage_key)


def _own(tx: Transaction, identity: Identity, upload_id: str) -> UploadRow:
    """The upload, if it is this user's on this site; to everybody else it does not exist."""
    upload = tx.uploads.find(upload_id)
    owner = (identity.site.id, identity.user.id)
    if upload is None or (upload.site_id, upload.user_id) != owner:
        raise NotFoundError(f"there is no upload {upload_id[:64]!r}")
    return upload


def _placement(upload: UploadRow) -> Placement:
    return Placement(upload.site_id, upload.id)
