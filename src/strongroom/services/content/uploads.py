"""Chunked uploads: every part an envelope of its own, counted once it is synced and has its row (architecture, way 1).

A part whose connection breaks is deleted and sent again: an encrypted stream is never continued, which would risk using
a nonce twice. An upload belongs to one user on one site; a request of another user is answered as if it did not exist.
"""

import logging
from datetime import timedelta
from typing import Self

from strongroom import ids
from strongroom.clock import SKEW, Clock, format_utc
from strongroom.envelope.header import Placement
from strongroom.errors import (
    NotFoundError,
    OutcomeUnknown,
    StateError,
    StorageError,
    StrongroomError,
    UsageError,
)
from strongroom.extracts.vault import StoredFile, VaultReader
from strongroom.repository.gateways.base import PIECE
from strongroom.repository.reach import of_site
from strongroom.repository.rows import ContentRow, UploadPartRow, UploadRow
from strongroom.repository.unit_of_work import Repository, Transaction
from strongroom.services.content.publish import PublishingService, PublishRequest, check_may_publish
from strongroom.services.content.stored_files import StoredFiles
from strongroom.services.directory.sign_in import Identity

_log = logging.getLogger("backgrounder.Uploads")
LIFETIME = timedelta(hours=24)
MAX_PARTS = 10_000
MAX_OPEN_PER_USER = 100
_BLOCK_BYTES = 64 * 1024
_COMPARED_BYTES = 4 * 1024 * 1024


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
        check_may_publish(identity)
        now = format_utc(self._clock.now())
        row = UploadRow(ids.new_id(), identity.site.id, identity.user.id, now, now)
        with self._repository.transaction(of_site(row.site_id)) as tx:
            if tx.uploads.count_of_user(row.user_id, row.site_id) >= MAX_OPEN_PER_USER:
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
            NotFoundError: The user has no such upload on this site.
        """
        check_may_publish(identity)
        with self._repository.reading() as tx:
            upload = _own(tx, identity, upload_id)
            last = tx.uploads.last_part(upload.id)
            if last is not None and last.number >= MAX_PARTS:
                raise UsageError(f"an upload has at most {MAX_PARTS} parts")
        return PartUpload(self, self._files, upload, expected_bytes)

    def publish(self, identity: Identity, request: PublishRequest, upload_id: str) -> ContentRow:
        """Publish an upload: the parts are decrypted in order, in memory, into one envelope with a new data key.

        Raises:
            NotFoundError: The user has no such upload on this site.
        """
        with self._repository.reading() as tx:
            upload = _own(tx, identity, upload_id)
            parts = tx.uploads.parts(upload.id)
        if not parts:
            raise UsageError(f"upload {upload.id} has no part")
        size = sum(part.plaintext_bytes for part in parts)
        with self._publishing.begin(identity, request, size) as publication:
            for part in parts:
                with self._files.open_here(part, _placement(upload)) as reader:
                    for chunk in reader.iterate(0, reader.size):
                        publication.write(chunk)
            row = publication.finish()
        try:
            self._remove(upload)
        except StrongroomError as error:
            # the content is published, so an error here must not be answered as a failed publication (findings B4)
            _log.warning(
                "the parts of upload %s go when it expires: %s", upload.id, error.with_hint
            )
        return row

    def expire(self) -> int:
        """Delete uploads without a new part for `LIFETIME`; returns how many."""
        now, count = self._clock.now(), 0
        before, ahead = format_utc(now - LIFETIME), format_utc(now + SKEW)
        with self._repository.reading() as tx:
            stale = tx.uploads.list_idle(before, PIECE)
            is_any_ahead = tx.uploads.is_any_later(ahead)
        # These uploads carry a time in the future: the clock was ahead when they were touched, and was set back since.
        # Without a new time they would not expire until that future has come (findings K23).
        if is_any_ahead:
            with self._repository.transaction() as tx:
                tx.uploads.bring_back(ahead, format_utc(now))
        while stale:
            for upload in stale:
                self._remove(upload)
            count += len(stale)
            with self._repository.reading() as tx:
                stale = tx.uploads.list_idle(before, PIECE) if len(stale) == PIECE else []
        return count

    def count_part(self, upload: UploadRow, part: StoredFile) -> UploadRow:
        """Insert the row of a part that is whole and synced, and delete its intent, in one transaction."""
        with self._repository.transaction(of_site(upload.site_id)) as tx:
            last = tx.uploads.last_part(upload.id)
            tx.uploads.add_part(
                UploadPartRow(
                    upload.id,
                    last.number + 1 if last else 1,
                    part.storage_key,
                    part.file_id,
                    part.mek_id,
                    part.plaintext_bytes,
                    part.stored_bytes,
                ),
                format_utc(self._clock.now()),
            )
            self._files.arrived(tx, part)
            return tx.uploads.get(upload.id)

    def _remove(self, upload: UploadRow) -> None:
        with self._repository.transaction(of_site(upload.site_id)) as tx:
            keys = [part.storage_key for part in tx.uploads.parts(upload.id)]
            for key in keys:
                self._files.discard_later(tx, key)
            tx.uploads.delete(upload.id)
        for key in keys:
            self._files.discard(key)

    def last_part(self, upload: UploadRow) -> UploadPartRow | None:
        """The latest part of an upload; None if no part has come yet."""
        with self._repository.reading() as tx:
            return tx.uploads.last_part(upload.id)


class PartUpload:
    """A part in progress; a context manager that deletes the part's file unless `finish` succeeded.

    A client that got no answer sends its part again, and the API has no part number by which the server could notice.
    Two equal parts in a row may also be right (pages of a database, rows of a table). So every part is stored, and a
    part that equals the one before it is logged: an administrator who finds data twice in a file learns why (findings
    K17).
    """

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
        self._head = bytearray()

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Take the next bytes of the part."""
        if len(self._head) < _BLOCK_BYTES:
            self._head += data[: _BLOCK_BYTES - len(self._head)]
        self._writer.write(data)

    def finish(self) -> UploadRow:
        """End the part: sync it and insert its row; returns the upload with its new number of parts."""
        stored = self._writer.commit()
        before = self._service.last_part(self._upload)
        try:
            upload = self._service.count_part(self._upload, stored)
        except (StorageError, OutcomeUnknown):
            self._finished = True  # the commit may still be durable, as in `Publication.finish`
            self._files.doubt(stored.storage_key)
            raise
        self._finished = True
        if before is not None:
            self._log_if_alike(before, stored)
        return upload

    def _log_if_alike(self, before: UploadPartRow, stored: StoredFile) -> None:
        try:
            alike = self._has_same_bytes(before, stored)
        except StrongroomError as error:
            # the part is stored, so an error here must not be answered as a failed part
            _log.warning(
                "the parts of upload %s cannot be compared: %s", self._upload.id, error.with_hint
            )
            return
        if alike:
            _log.warning(
                "part %d of upload %s has the same %d bytes as the part before it; both are kept. "
                "If its client sent it again for want of an answer, begin the upload anew.",
                before.number + 1,
                self._upload.id,
                before.plaintext_bytes,
            )

    def _has_same_bytes(self, last: UploadPartRow, stored: StoredFile) -> bool:
        if last.plaintext_bytes != stored.plaintext_bytes:
            return False
        placement = _placement(self._upload)
        with self._files.open_here(last, placement) as before:
            # most parts have the same length, and differ in their first bytes: compare those before decrypting all
            if b"".join(before.iterate(0, min(before.size, _BLOCK_BYTES))) != self._head:
                return False
            with self._files.open(stored, placement) as now:
                return _are_alike(before, now)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if not self._finished:
            self._writer.abort()
            self._files.give_up(self._writer.planned.storage_key)


def _are_alike(one: VaultReader, other: VaultReader) -> bool:
    return all(
        b"".join(one.iterate(start, stop)) == b"".join(other.iterate(start, stop))
        for start in range(0, one.size, _COMPARED_BYTES)
        for stop in [min(one.size, start + _COMPARED_BYTES)]
    )


def _own(tx: Transaction, identity: Identity, upload_id: str) -> UploadRow:
    """The upload of an id, if it belongs to this user on this site; to others it does not exist, which tells them nothing."""
    upload = tx.uploads.find(upload_id)
    owner = (identity.site.id, identity.user.id)
    if upload is None or (upload.site_id, upload.user_id) != owner:
        raise NotFoundError(f"there is no upload {upload_id[:64]!r}", about="upload")
    return upload


def _placement(upload: UploadRow) -> Placement:
    return Placement(upload.site_id, upload.id)
