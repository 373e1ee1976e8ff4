"""Stored extracts, encrypted or plain: create, open, encrypt, decrypt, re-encrypt, rewrap, verify.

It never changes a stored file but for its header page: each change writes a new storage key, synced
and read back; the caller switches its row and then deletes the old key.
"""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace

from strongroom.crypto.stream import Layout, SegmentSealer
from strongroom.crypto.workers import default_threads
from strongroom.envelope import spans, writer
from strongroom.envelope.header import DEFAULT_SEGMENT_BYTES, Header, Placement
from strongroom.envelope.keys import EnvelopeKeys
from strongroom.envelope.reader import EnvelopeReader, read_header
from strongroom.envelope.rewrap import Rewrap
from strongroom.errors import IntegrityError, StateError, StrongroomError
from strongroom.extracts.stored import StoredFile, VaultReader, VaultWriter
from strongroom.filestore.base import FileStore, PendingFile, ReadableFile
from strongroom.ids import new_id

Throttle = Callable[[int], None]
Intent = Callable[[StoredFile], None]

_SEALED, _PLAIN = ".sealed", ".plain"
_PLAIN_LAYOUT = Layout(
    DEFAULT_SEGMENT_BYTES
)  # plain files are copied and compared in the same units

__all__ = ["ExtractVault", "Intent", "StoredFile", "Throttle", "VaultReader", "VaultWriter"]


class ExtractVault:
    """Everything that may be done to stored extracts.

    Args:
        files: Where they lie.
        keys: Who wraps their data keys.
        threads: How many seal and open one extract; as many as cores if not said.
        intent: Told of each new envelope (key, file id, MEK; sizes 0), and of the plain file of a
            decryption, before anything is written: so a MEK in use is never retired, and what a
            killed process leaves is known.
    """

    def __init__(
        self,
        files: FileStore,
        keys: EnvelopeKeys,
        *,
        threads: int | None = None,
        intent: Intent | None = None,
    ) -> None:
        self._files, self._keys, self._intent = files, keys, intent
        self._threads = threads or default_threads()

    def create(
        self, placement: Placement, *, encrypted: bool, expected_bytes: int = 0
    ) -> VaultWriter:
        """Begin a new file of unknown length; nothing is visible before its commit."""
        if not encrypted:
            planned = StoredFile(_new_key(placement, _PLAIN), "", "", 0, 0)
            return VaultWriter(planned, self._files.put(planned.storage_key), None)
        planned, header, sealer = self._new_envelope(placement)
        size = expected_bytes and writer.stored_bytes(expected_bytes, DEFAULT_SEGMENT_BYTES)
        pending = self._files.put(planned.storage_key, expected_bytes=size)
        try:
            sealing = writer.SealingWriter(header, sealer, pending, threads=self._threads)
        except BaseException:
            pending.abort()
            raise
        return VaultWriter(planned, pending, sealing)

    def open(self, stored: StoredFile, placement: Placement) -> VaultReader:
        """Open for random access.

        Raises:
            IntegrityError: It does not open, belongs elsewhere, or is not the file of the row.
            NotFoundError: There is no such file.
            KeyNotFoundError: Its MEK is not known.
        """
        file = self._files.open(stored.storage_key)
        try:
            source = self._source(file, stored, placement)
        except BaseException:
            file.close()
            raise
        return VaultReader(source, file)

    def encrypt(
        self, stored: StoredFile, placement: Placement, *, throttle: Throttle | None = None
    ) -> StoredFile:
        """A new envelope from a plain file."""
        if stored.encrypted:
            raise StateError(f"{stored.storage_key} is encrypted already")
        return self._seal_again(stored, placement, throttle)

    def decrypt(
        self, stored: StoredFile, placement: Placement, *, throttle: Throttle | None = None
    ) -> StoredFile:
        """A new plain file from an envelope."""
        if not stored.encrypted:
            raise StateError(f"{stored.storage_key} is not encrypted")
        size = stored.plaintext_bytes
        planned = StoredFile(_new_key(placement, _PLAIN), "", "", size, size)
        if self._intent is not None:
            self._intent(planned)  # a plain leftover of a killed process is the worst one

        def fill(source: VaultReader, pending: PendingFile) -> None:
            spans.copy(source, pending, _PLAIN_LAYOUT, threads=self._threads, progress=throttle)

        return self._replace(stored, planned, placement, fill, throttle)

    def reencrypt(
        self, stored: StoredFile, placement: Placement, *, throttle: Throttle | None = None
    ) -> StoredFile:
        """A new envelope with a new DEK from an envelope; no plaintext touches the disk."""
        if not stored.encrypted:
            raise StateError(f"{stored.storage_key} is not encrypted")
        return self._seal_again(stored, placement, throttle)

    def rewrap(self, stored: StoredFile, placement: Placement) -> StoredFile:
        """The same file with its DEK under the active MEK in both slots; returns the changed row.

        Raises:
            IntegrityError: No slot opens, or it belongs elsewhere, or is not the file of the row.
        """
        if not stored.encrypted:
            raise StateError(f"{stored.storage_key} is not encrypted")
        with self._files.replace_header(stored.storage_key) as page:
            work = Rewrap(page, self._keys, placement)
            _check_file_id(work.header, stored)
            return replace(stored, mek_id=work.run())

    def verify(
        self, stored: StoredFile, placement: Placement, *, throttle: Throttle | None = None
    ) -> int:
        """Authenticate every byte; returns the plaintext's size. A plain file is but read."""
        with self.open(stored, placement) as source:
            return spans.drain(source, _PLAIN_LAYOUT, threads=self._threads, progress=throttle)

    def delete(self, storage_key: str) -> None:
        """Remove a stored file; one that is not there is no error. Open readers may finish."""
        self._files.delete(storage_key)

    def mek_ids(self, storage_key: str) -> set[str]:
        """The MEKs that a stored file depends on, of both slots; empty if plain."""
        if not storage_key.endswith(_SEALED):
            return set()
        file = self._files.open(storage_key)
        try:
            return set(read_header(file).mek_ids)
        finally:
            file.close()

    def leftovers(self, known: set[str]) -> list[str]:
        """Storage keys that are in the store and not among the known ones."""
        return sorted(key for key in self._files.list() if key not in known)

    def _source(self, file: ReadableFile, stored: StoredFile, placement: Placement) -> ReadableFile:
        source: ReadableFile = file
        if stored.encrypted:
            header = read_header(file)
            _check_file_id(header, stored)
            source = EnvelopeReader(file, header, self._keys.open_envelope(header, placement))
        if source.size != stored.plaintext_bytes:
            raise IntegrityError
        return source

    def _new_envelope(self, placement: Placement) -> tuple[StoredFile, Header, SegmentSealer]:
        header, dek = self._keys.new_envelope(placement)
        file_id = header.prelude.file_id.hex()
        key = _new_key(placement, _SEALED)
        planned = StoredFile(key, file_id, header.newest.mek_id, 0, 0)
        if self._intent is not None:
            self._intent(planned)
        return planned, header, writer.new_sealer(header, dek)

    def _seal_again(
        self, stored: StoredFile, placement: Placement, throttle: Throttle | None
    ) -> StoredFile:
        planned, header, sealer = self._new_envelope(placement)
        planned = replace(
            planned,
            plaintext_bytes=stored.plaintext_bytes,
            stored_bytes=writer.stored_bytes(stored.plaintext_bytes, header.prelude.segment_bytes),
        )

        def fill(source: VaultReader, pending: PendingFile) -> None:
            writer.seal_source(
                header, sealer, source, pending, threads=self._threads, progress=throttle
            )

        return self._replace(stored, planned, placement, fill, throttle)

    def _replace(
        self,
        stored: StoredFile,
        planned: StoredFile,
        placement: Placement,
        fill: Callable[[VaultReader, PendingFile], None],
        throttle: Throttle | None,
    ) -> StoredFile:
        """Write the new file, sync it, read it back and compare it with the old one.

        The throttle hears of both passes: each is work for the disk, and each may be stopped.
        """
        with self.open(stored, placement) as old:
            pending = self._files.put(planned.storage_key, expected_bytes=planned.stored_bytes)
            try:
                fill(old, pending)
                pending.commit()
                with self.open(planned, placement) as new:
                    spans.compare(old, new, _PLAIN_LAYOUT, threads=self._threads, progress=throttle)
            except BaseException:
                pending.abort()
                with suppress(StrongroomError):  # the first error is the one to tell
                    self._files.delete(planned.storage_key)
                raise
        return planned


def _new_key(placement: Placement, suffix: str) -> str:
    name = new_id()
    return f"{placement.site_id or 'standalone'}/{name[:2]}/{name}{suffix}"


def _check_file_id(header: Header, stored: StoredFile) -> None:
    """A file that was put in the place of another, old backup or not, is not the row's file."""
    if header.prelude.file_id.hex() != stored.file_id:
        raise IntegrityError
