"""Stored extracts, encrypted or plain: create, open, encrypt, decrypt, re-encrypt, rewrap, verify.

A stored file never changes except in its header page. Every other change writes a new file under a new storage key,
synced and read back; the caller then switches its row and deletes the old file, so that a crash leaves the old file or
the new one in force.
"""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from functools import partial

from strongroom.crypto.stream import Layout, SegmentSealer
from strongroom.crypto.workers import default_threads
from strongroom.envelope import spans, writer
from strongroom.envelope.header import DEFAULT_SEGMENT_BYTES, Header, Placement
from strongroom.envelope.keys import EnvelopeKeys
from strongroom.envelope.reader import EnvelopeReader, first_reads, read_header
from strongroom.envelope.rewrap import Steps
from strongroom.errors import IntegrityError, StateError, StrongroomError
from strongroom.extracts.stored import StoredFile, VaultReader, VaultWriter
from strongroom.filestore.base import FileStore, PendingFile, ReadableFile, StoredContent
from strongroom.ids import new_id
from strongroom.system.positions import Span

Throttle = Callable[[int], None]
Intent = Callable[[StoredFile], None]

_SEALED, _PLAIN = ".sealed", ".plain"
_PLAIN_LAYOUT = Layout(
    DEFAULT_SEGMENT_BYTES
)  # plain files are copied and compared in the same units

__all__ = ["ExtractVault", "Intent", "StoredFile", "Throttle", "VaultReader", "VaultWriter"]


class ExtractVault:
    """The operations on stored extracts.

    Args:
        files: The file store.
        keys: Wraps and unwraps data keys.
        threads: How many threads work on one extract; None for as many as cores.
        intent: Called with each new envelope (storage key, file id, MEK; sizes 0), and with the plain file of a
            decryption, before any byte is written, so that the caller can write an intent: the MEK will not be retired,
            and the file of a killed process will be found.
        check_usable: Called with the MEK of a rewrap before the slot of the MEK before goes; raises if the new one is
            being retired, and then the file keeps both slots.
    """

    def __init__(
        self,
        files: FileStore,
        keys: EnvelopeKeys,
        *,
        threads: int | None = None,
        intent: Intent | None = None,
        check_usable: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._files, self._keys, self._intent = files, keys, intent
        self._check_usable = check_usable
        self._threads = threads or default_threads()

    def create(
        self, placement: Placement, *, encrypted: bool, expected_bytes: int = 0
    ) -> VaultWriter:
        """Begin a new file of unknown length, which is invisible before its commit."""
        if not encrypted:
            planned = StoredFile(_new_key(placement, _PLAIN), "", "", 0, 0)
            return VaultWriter(planned, self._files.put(planned.storage_key), None)
        planned, header, sealer = self._new_envelope(placement)
        size = expected_bytes and writer.stored_bytes(header.prelude, expected_bytes)
        pending = self._files.put(planned.storage_key, expected_bytes=size)
        try:
            sealing = writer.SealingWriter(header, sealer, pending, threads=self._threads)
        except BaseException:
            pending.abort()
            raise
        return VaultWriter(planned, pending, sealing)

    def open(
        self, stored: StoredFile, placement: Placement, wanted: Span | None = None
    ) -> VaultReader:
        """Open a file for random access.

        Args:
            stored: The description of the file.
            placement: The item to which it belongs.
            wanted: The part of the plaintext that will be read first, if one is known: a store far away is asked for it
                at once, together with what shows that the file is whole.

        Raises:
            IntegrityError: The file does not open, belongs to another item, or is not the file that the row describes.
            NotFoundError: The file store has no such file.
            KeyNotFoundError: The file's MEK is unknown.
        """
        file = self._files.open(stored.storage_key)
        try:
            source = self._source(file, stored, placement, wanted)
        except BaseException:
            file.close()
            raise
        return VaultReader(source, file)

    def encrypt(
        self, stored: StoredFile, placement: Placement, *, throttle: Throttle | None = None
    ) -> StoredFile:
        """Encrypt a plain file to a new envelope."""
        if stored.encrypted:
            raise StateError(f"{stored.storage_key} is encrypted already")
        return self._seal_again(stored, placement, throttle)

    def decrypt(
        self, stored: StoredFile, placement: Placement, *, throttle: Throttle | None = None
    ) -> StoredFile:
        """Decrypt an envelope to a new plain file."""
        if not stored.encrypted:
            raise StateError(f"{stored.storage_key} is not encrypted")
        size = stored.plaintext_bytes
        planned = StoredFile(_new_key(placement, _PLAIN), "", "", size, size)
        if self._intent is not None:
            self._intent(planned)  # a killed process must not leave plaintext that no start finds

        def fill(source: VaultReader, pending: PendingFile) -> None:
            spans.copy(source, pending, _PLAIN_LAYOUT, threads=self._threads, progress=throttle)

        return self._replace(stored, planned, placement, fill, throttle)

    def reencrypt(
        self, stored: StoredFile, placement: Placement, *, throttle: Throttle | None = None
    ) -> StoredFile:
        """Re-encrypt an envelope to a new one with a new data key; no plaintext touches the disk."""
        if not stored.encrypted:
            raise StateError(f"{stored.storage_key} is not encrypted")
        return self._seal_again(stored, placement, throttle)

    def rewrap(self, stored: StoredFile, placement: Placement) -> StoredFile:
        """Wrap a file's data key by the active MEK in both slots; returns the description with the MEK of the slots.

        Raises:
            IntegrityError: No slot opens, or the file belongs to another item, or is not the file that the row
                describes.
            StateError: The active MEK is being retired, which this process does not know yet.
        """
        if not stored.encrypted:
            raise StateError(f"{stored.storage_key} is not encrypted")

        check = partial(_check_file_id, stored=stored)
        steps = Steps(self._keys, placement, check, self._check_usable)
        self._files.swap_header(stored.storage_key, steps)
        # the MEK that was written, and not the active one: keys may have been rotated since
        return replace(stored, mek_id=steps.mek_id)

    def verify(
        self, stored: StoredFile, placement: Placement, *, throttle: Throttle | None = None
    ) -> int:
        """Authenticate every byte of an envelope, or read a plain file to its end; returns the length of the plaintext."""
        with self.open(stored, placement) as source:
            return spans.drain(source, _PLAIN_LAYOUT, threads=self._threads, progress=throttle)

    def delete(self, storage_key: str) -> None:
        """Delete a stored file; a missing file is no error, and open readers may finish."""
        self._files.delete(storage_key)

    def mek_ids(self, storage_key: str) -> set[str]:
        """The MEKs in both slots of a stored file, on which it depends; empty for a plain file."""
        if not storage_key.endswith(_SEALED):
            return set()
        file = self._files.open(storage_key)
        try:
            return set(read_header(file).mek_ids)
        finally:
            file.close()

    def leftovers(self, known: set[str]) -> list[str]:
        """Storage keys of files in the store that are not among the known ones."""
        return sorted(key for key in self._files.list() if key not in known)

    def _source(
        self, file: StoredContent, stored: StoredFile, placement: Placement, wanted: Span | None
    ) -> ReadableFile:
        source: ReadableFile = file
        if stored.encrypted:
            header = read_header(file)
            _check_file_id(header, stored)
            file.expect(first_reads(header, file.size, wanted))
            source = EnvelopeReader(file, header, self._keys.open_envelope(header, placement).dek)
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
            stored_bytes=writer.stored_bytes(header.prelude, stored.plaintext_bytes),
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
        """Write the new file, sync it, read it back and compare its plaintext with that of the old one.

        The throttle is called in both passes, since each is work for the disk, and each must stop when the job is
        cancelled.
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
                # an error here must not replace the one that is being raised
                with suppress(StrongroomError):
                    self._files.delete(planned.storage_key)
                raise
        return planned


def _new_key(placement: Placement, suffix: str) -> str:
    name = new_id()
    return f"{placement.site_id or 'standalone'}/{name[:2]}/{name}{suffix}"


def _check_file_id(header: Header, stored: StoredFile) -> None:
    """Refuse a file with another file id than the row's: an older copy, put in the place of the present file, opens too."""
    if header.prelude.file_id.hex() != stored.file_id:
        raise IntegrityError
