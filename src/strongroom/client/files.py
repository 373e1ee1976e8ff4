"""Encrypted files as Python file objects, read at any offset or written as bytes come (format/envelope.md).

No byte is returned before its segment is verified. A new file appears under its path once all of it is written, or
never.
"""

import io
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Self

from strongroom.client.key_service import KeyService, generated, unwrapped
from strongroom.crypto.workers import default_threads
from strongroom.envelope import inspect as inspection
from strongroom.envelope import spans, writer
from strongroom.envelope.header import DEFAULT_SEGMENT_BYTES, Header
from strongroom.envelope.inspect import Inspection
from strongroom.envelope.reader import EnvelopeReader, read_header
from strongroom.envelope.writer import SealingWriter
from strongroom.errors import StateError
from strongroom.filestore.blockfile import NewFile, OpenedFile
from strongroom.system.compat import override
from strongroom.system.positions import Source
from strongroom.system.source_file import SourceFile


class EnvelopeFile(SourceFile):
    """The plaintext of an encrypted file: a seekable binary file for reading, and a context manager.

    `read`, `readinto`, `seek` and `tell` are those of Python's binary files, for one thread at a time; `read_at` serves
    any number of threads. Each read verifies what it gives and raises IntegrityError where the file was changed.

    Attributes:
        header: The header of the file. The data key authenticates its prelude, and nothing that stands in its key slots.
    """

    def __init__(self, source: Source, keys: KeyService, held: ExitStack) -> None:
        """Have the data key unwrapped, and verify the last segment.

        Args:
            source: The whole file, header page and body.
            keys: The key service that unwraps the data key.
            held: Closes what the source stands on; once the file is open, the file takes this over and closes it.
        """
        self.header: Header = read_header(source)
        dek = unwrapped(keys, self.header)
        self._reader = held.enter_context(EnvelopeReader(source, self.header, dek))
        super().__init__(self._reader, held.pop_all().close)

    def read_at(self, offset: int, count: int) -> bytes:
        """Up to `count` verified bytes from this offset, whatever the file's position is; fewer only at the end.

        Raises:
            IntegrityError: A segment does not verify.
        """
        target = memoryview(bytearray(max(0, min(count, self.size - offset))))
        return bytes(target[: self._reader.read_into_at(offset, target)])

    def copy_to(self, target: Path, *, replace: bool = False) -> int:
        """Decrypt the whole file into a new one, with as many threads as there are cores; returns the number of bytes.

        Raises:
            ConflictError: The target exists already, and `replace` is False.
            IntegrityError: A segment does not verify; no target is left behind.
            StorageError: The target cannot be written.
        """
        with NewFile(target, expected_bytes=self.size, replace=replace) as new:
            layout = self._reader.layout
            count = spans.copy(self._reader, new, layout, threads=default_threads())
            new.commit()
        return count

    @override
    def __enter__(self) -> Self:
        return self


class NewEnvelope(io.RawIOBase):
    """A file that is encrypted as it is written; `create_file` makes it, and finishes it when its `with` block ends well.

    A `close` inside the block discards what was written. So a wrapper around the file, such as `io.TextIOWrapper`, must
    be detached, not closed; Python also closes a wrapper that is no longer referenced.
    """

    def __init__(self, sealing: SealingWriter) -> None:
        self._sealing = sealing

    @override
    def writable(self) -> bool:
        """Whether the file can be written: always."""
        return True

    @override
    def tell(self) -> int:
        """The number of plaintext bytes written so far."""
        return self._sealing.plaintext_bytes

    @override
    def write(self, data: object) -> int:
        """Take all bytes of a piece of plaintext; returns their number.

        Raises:
            StorageError: Some bytes, of this call or of an earlier one, could not be written to the disk.
            StateError: The file is finished, or was closed.
        """
        return self._sealing.write(memoryview(data))  # type: ignore[arg-type]  # typeshed names no buffer protocol before 3.12

    def finish(self) -> None:
        """Encrypt the last segment; no more can be written afterwards.

        Raises:
            StateError: The file was closed inside the block, so plaintext may be missing.
        """
        if self.closed:
            raise StateError(
                "the new encrypted file was closed before its block ended",
                hint="detach the wrapper around it (such as io.TextIOWrapper) instead of closing the wrapper",
            )
        self._sealing.finish()


def open_file(path: Path | str, keys: KeyService) -> EnvelopeFile:
    """Open an encrypted file for reading.

    Args:
        path: A regular file.
        keys: The key service that unwraps the file's data key, by one request.

    Raises:
        NotFoundError: No file exists at the path.
        FormatError: The file is not an encrypted file of strongroom.
        IntegrityError: The file was changed or cut, or is an extract of a site.
        StrongroomError: The key service failed or refused.
    """
    with ExitStack() as held:
        file = held.enter_context(OpenedFile(Path(path)))
        return EnvelopeFile(file, keys, held)


def open_source(source: Source, keys: KeyService) -> EnvelopeFile:
    """Open an encrypted file that is not in a file system: in an object store, in an archive, or in memory.

    Args:
        source: The whole file by position; closing the returned file does not close the source.
        keys: The key service that unwraps the file's data key, by one request.

    Raises:
        FormatError: The source is not an encrypted file of strongroom.
        IntegrityError: The source was changed or cut, or is an extract of a site.
        StrongroomError: The key service failed or refused; errors of the source pass through as they are.
    """
    with ExitStack() as held:
        return EnvelopeFile(source, keys, held)


@contextmanager
def create_file(
    path: Path | str,
    keys: KeyService,
    *,
    replace: bool = False,
    segment_bytes: int = DEFAULT_SEGMENT_BYTES,
) -> Iterator[NewEnvelope]:
    """A new encrypted file, for a `with` block that writes it.

    The file appears under its path, synced to disk, when the block ends well; when the block raises, nothing is left.

    Args:
        path: The path of the new file, which gets mode 0600.
        keys: The key service that generates the file's data key, by one request.
        replace: Replace an existing file.
        segment_bytes: The size of the file's segments, a power of two from 4096 to 4194304.

    Raises:
        ConflictError: The path exists already, and `replace` is False.
        StorageError: The file cannot be written.
        StrongroomError: The key service failed or refused.
    """
    with NewFile(Path(path), replace=replace) as file:
        header, dek = generated(keys, segment_bytes)
        sealer = writer.new_sealer(header, dek)
        with SealingWriter(header, sealer, file, threads=default_threads()) as sealing:
            made = NewEnvelope(sealing)
            yield made
            made.finish()
        file.commit()


def encrypt_file(
    source: Path | str, target: Path | str, keys: KeyService, *, replace: bool = False
) -> int:
    """Encrypt a whole file into a new one, with as many threads as there are cores.

    Returns:
        The number of plaintext bytes.

    Raises:
        NotFoundError: The source does not exist.
        ConflictError: The target exists already, and `replace` is False; or the source changed while it was read.
        StorageError: The target cannot be written.
        StrongroomError: The key service failed or refused.
    """
    segments = DEFAULT_SEGMENT_BYTES
    with (
        OpenedFile(Path(source)) as file,
        NewFile(Path(target), expected_bytes=file.size, replace=replace) as new,
    ):
        header, dek = generated(keys, segments)
        sealer = writer.new_sealer(header, dek)
        count = writer.seal_source(header, sealer, file, new, threads=default_threads())
        file.check_unchanged()
        new.commit()
    return count


def decrypt_file(
    source: Path | str, target: Path | str, keys: KeyService, *, replace: bool = False
) -> int:
    """Decrypt a whole file into a new one, with as many threads as there are cores.

    Returns:
        The number of plaintext bytes.

    Raises:
        NotFoundError: The source does not exist.
        ConflictError: The target exists already, and `replace` is False.
        FormatError: The source is not an encrypted file of strongroom.
        IntegrityError: The source was changed or cut, or is an extract of a site; no target is left behind.
        StorageError: The target cannot be written.
        StrongroomError: The key service failed or refused.
    """
    with open_file(source, keys) as opened:
        return opened.copy_to(Path(target), replace=replace)


def inspect_file(path: Path | str) -> Inspection:
    """The fields in the header of an encrypted file; they are not authenticated, since no key is asked for.

    Raises:
        NotFoundError: No file exists at the path.
        FormatError: The file is not an encrypted file of strongroom.
    """
    with OpenedFile(Path(path)) as file:
        return inspection.inspect(read_header(file), file.size)
