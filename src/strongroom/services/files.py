"""`strongroom encrypt`, `decrypt`, `rewrap`, `verify`, `inspect`: any file or stream, outside the file store.

Only these commands trust the placement that a header names, and say so. An output file appears when
all of it is written, or never; a pipe gets verified segments only. The event is in the log before the
result is visible.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from strongroom.crypto.secret import SecretBytes
from strongroom.crypto.workers import default_threads, page_buffer
from strongroom.envelope import spans, writer
from strongroom.envelope.header import Header, Placement
from strongroom.envelope.keys import EnvelopeKeys
from strongroom.envelope.reader import EnvelopeReader, StreamReader, read_header
from strongroom.envelope.spans import Progress, Sink
from strongroom.errors import ConflictError, UsageError
from strongroom.eventlog import events
from strongroom.eventlog.base import EventLog
from strongroom.filestore.blockfile import NewFile, OpenedFile
from strongroom.filestore.pipes import PipeSink, PipeSource

if TYPE_CHECKING:
    from strongroom.envelope.inspect import Inspection
    from strongroom.services.batches import Encrypted
    from strongroom.services.rewraps import Rewrapped

PIPE = "-"
_STDIN, _STDOUT = 0, 1
_ONE_THREAD = 1  # a pipe is written in order

Begin = Callable[[int | None], Progress | None]
"""Told the plaintext's size (None if unknown) when the work begins; gives whom to tell of progress."""


@dataclass(frozen=True)
class Output:
    """How an output is made.

    Attributes:
        name: A path, or `-` for standard output.
        overwrite: Replace an existing file.
        sync: Durable before success is reported.
    """

    name: str
    overwrite: bool = False
    sync: bool = True


@dataclass(frozen=True)
class Outcome:
    """What was done.

    Attributes:
        plaintext_bytes: How much.
        placement: Where the file belongs; as the header says.
        mek_id: The MEK of its newest slot.
    """

    plaintext_bytes: int
    placement: Placement
    mek_id: str


def no_progress(size: int | None) -> None:
    """For whoever wants no progress told."""
    del size


class StandaloneFiles:
    """Encrypts and decrypts files that belong to no site.

    Args:
        keys: Wraps and unwraps data keys.
        log: Every use of a key leaves an event there.
        threads: How many seal and open one file; as many as cores if not said.
    """

    def __init__(self, keys: EnvelopeKeys, log: EventLog, *, threads: int | None = None) -> None:
        self._keys, self._log = keys, log
        self._threads = threads or default_threads()

    def encrypt(
        self, source: str, output: Output, *, actor: str, begin: Begin = no_progress
    ) -> Outcome:
        """Encrypt a file or standard input.

        Raises:
            ConflictError: The output exists, or the input changed meanwhile.
        """
        _check_output(output)
        header, dek = self._keys.new_envelope(Placement.standalone())
        if source == PIPE:
            size = self._seal_pipe(header, dek, output, actor, begin)
        else:
            size = self._seal_file(header, dek, source, output, actor=actor, begin=begin)
        return _outcome(header, size)

    def encrypt_many(
        self,
        pairs: Sequence[tuple[str, str]],
        *,
        actor: str,
        sync: bool = True,
        progress: Progress | None = None,
    ) -> "list[Encrypted]":
        """Encrypt files into new ones, in batches that share their syncs; progress counts files."""
        from strongroom.services.batches import BatchEncryption

        work = BatchEncryption(self._keys, self._log, actor, threads=self._threads, sync=sync)
        return work.run(pairs, progress)

    def decrypt(
        self, source: str, output: Output, *, actor: str, begin: Begin = no_progress
    ) -> Outcome:
        """Decrypt a file or standard input.

        Raises:
            IntegrityError: It does not verify; a pipe has got what came before and did.
            FormatError: It is no envelope.
            ConflictError: The output exists.
        """
        _check_output(output)
        if source == PIPE:
            return self._open_pipe(output, actor, begin)
        with self._reader(source) as (header, reader):
            self._log_decrypted(header, actor)
            with _sink(output, reader.size) as (sink, threads):
                spans.copy(
                    reader,
                    sink,
                    reader.layout,
                    threads=min(threads, self._threads),
                    progress=begin(reader.size),
                )
            return _outcome(header, reader.size)

    def verify(self, source: str, *, begin: Begin = no_progress) -> Outcome:
        """Authenticate every byte of a file.

        Raises:
            IntegrityError: It does not verify.
            FormatError: It is no envelope.
        """
        with self._reader(source) as (header, reader):
            spans.drain(reader, reader.layout, threads=self._threads, progress=begin(reader.size))
            return _outcome(header, reader.size)

    def reveal_data_key(self, source: str, *, actor: str) -> SecretBytes:
        """The data key of a file, for any other Tink; audited before it is given."""
        with OpenedFile(Path(source)) as file:
            header = read_header(file)
        dek = self._keys.open_envelope(header, None)
        file_id = header.prelude.file_id.hex()
        self._log.append([events.data_key_revealed(actor, file_id, header.newest.mek_id)])
        return dek

    def rewrap(
        self, names: Sequence[str], *, actor: str, progress: Progress | None = None
    ) -> "list[Rewrapped]":
        """Bring files under the active MEK; progress counts files."""
        from strongroom.services import rewraps

        return rewraps.rewrap_files(names, self._keys, self._log, actor=actor, progress=progress)

    @contextmanager
    def _reader(self, source: str) -> Iterator[tuple[Header, EnvelopeReader]]:
        with OpenedFile(Path(source)) as file:
            header = read_header(file)
            dek = self._keys.open_envelope(header, None)
            with EnvelopeReader(file, header, dek) as reader:
                yield header, reader

    def _seal_file(
        self,
        header: Header,
        dek: SecretBytes,
        source: str,
        output: Output,
        *,
        actor: str,
        begin: Begin,
    ) -> int:
        with OpenedFile(Path(source)) as file:
            size = writer.stored_bytes(file.size, header.prelude.segment_bytes)
            with _sink(output, size) as (sink, threads):
                writer.seal_source(
                    header,
                    writer.new_sealer(header, dek),
                    file,
                    sink,
                    threads=min(threads, self._threads),
                    progress=begin(file.size),
                )
                file.check_unchanged()
                self._log_encrypted(header, actor, file.size)
            return file.size

    def _seal_pipe(
        self, header: Header, dek: SecretBytes, output: Output, actor: str, begin: Begin
    ) -> int:
        pipe, piece = PipeSource(_STDIN), page_buffer(spans.UNIT_BYTES)
        with _sink(output, 0) as (sink, threads):
            sealing = writer.SealingWriter(
                header,
                writer.new_sealer(header, dek),
                sink,
                threads=min(threads, self._threads),
                progress=begin(None),
            )
            with sealing:
                while count := pipe.read_into(piece):
                    sealing.write(piece[:count])
                size = sealing.finish()
            self._log_encrypted(header, actor, size)
        return size

    def _open_pipe(self, output: Output, actor: str, begin: Begin) -> Outcome:
        stream = StreamReader(PipeSource(_STDIN).read_into)
        dek = self._keys.open_envelope(stream.header, None)
        self._log_decrypted(stream.header, actor)
        progress, done = begin(None), 0
        with _sink(output, 0) as (sink, _):
            for piece in stream.plaintext(dek):
                sink.write_at(done, piece)
                done += len(piece)
                if progress is not None:
                    progress(len(piece))
        return _outcome(stream.header, done)

    def _log_encrypted(self, header: Header, actor: str, size: int) -> None:
        file_id, mek_id = header.prelude.file_id.hex(), header.newest.mek_id
        self._log.append([events.file_encrypted(actor, file_id, mek_id, size=size)])

    def _log_decrypted(self, header: Header, actor: str) -> None:
        """Before the first byte goes out: whoever got any of it is in the log."""
        file_id, mek_id = header.prelude.file_id.hex(), header.newest.mek_id
        self._log.append([events.file_decrypted(actor, file_id, mek_id)])


def inspect_file(source: str) -> "Inspection":
    """What a file's header says; needs no key, and is unauthenticated."""
    from strongroom.envelope import inspect as inspection

    with OpenedFile(Path(source)) as file:
        return inspection.inspect(read_header(file), file.size)


def _outcome(header: Header, size: int) -> Outcome:
    newest = header.newest
    return Outcome(size, newest.placement, newest.mek_id)


def _check_output(output: Output) -> None:
    """Refuse early what would be refused at the end."""
    if output.name == PIPE:
        return
    path = Path(output.name)
    if path.is_dir():
        raise UsageError(f"{path} is a directory", hint="name the file to write")
    if not output.overwrite and os.path.lexists(path):
        raise ConflictError(f"{path} exists already", hint="use --overwrite to replace it")


@contextmanager
def _sink(output: Output, expected_bytes: int) -> Iterator[tuple[Sink, int]]:
    """Where to write, and how many threads may; a file is committed if the block ends well."""
    if output.name == PIPE:
        yield PipeSink(_STDOUT), _ONE_THREAD
        return
    with NewFile(
        Path(output.name),
        expected_bytes=expected_bytes,
        durable=output.sync,
        replace=output.overwrite,
    ) as file:
        yield file, default_threads()
        file.commit()
