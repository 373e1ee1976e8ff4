"""`strongroom encrypt`, `decrypt`, `rewrap`, `verify`, `inspect`: any file or stream, outside the file store.

A file of a site carries the site and item that it belongs to in its header. Inside the server that placement is
compared with the row; these commands have no row, accept the header's, and show it. An output file appears when all of
it is written, or never; a pipe gets verified segments only. The event is in the log before the result is visible.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from strongroom.crypto.secret import SecretBytes
from strongroom.crypto.workers import default_threads, page_buffer
from strongroom.envelope import spans, writer
from strongroom.envelope.header import MAX_HEADER_BYTES, Header, KeySlot, Placement
from strongroom.envelope.keys import EnvelopeKeys, OpenedKey
from strongroom.envelope.pages import is_envelope
from strongroom.envelope.reader import EnvelopeReader, StreamReader, read_header
from strongroom.errors import ConflictError
from strongroom.eventlog.base import EventLog
from strongroom.eventlog.events import extract_events
from strongroom.filestore import targets
from strongroom.filestore.blockfile import NewFile, OpenedFile
from strongroom.filestore.pipes import PipeSink, PipeSource
from strongroom.services.files.cut import cut_if_it_fails
from strongroom.services.files.sealed_already import check_not_sealed, sealed_already
from strongroom.services.files.sealed_outside import Changing, SealedOutside
from strongroom.system.positions import Progress, Sink

if TYPE_CHECKING:
    from strongroom.envelope.inspect import Inspection
    from strongroom.services.files.many import Converted, Outputs
    from strongroom.services.files.pairs import Pair
    from strongroom.services.files.rewrap import Rewrapped

PIPE = "-"
_STDIN, _STDOUT = 0, 1
_ONE_THREAD = 1  # a pipe is written in order

Begin = Callable[[int | None], Progress | None]
"""Called at the beginning with the plaintext's size (None if unknown); returns the progress callback, or None."""


@dataclass(frozen=True)
class Output:
    """An output and its options.

    Attributes:
        name: A path, or `-` for standard output.
        overwrite: Whether an existing file is replaced.
        sync: Whether the output is durable before success is reported.
    """

    name: str
    overwrite: bool = False
    sync: bool = True


@dataclass(frozen=True)
class Outcome:
    """The result for one file.

    Attributes:
        plaintext_bytes: Bytes of plaintext.
        placement: The site and item to which the file belongs, by its header.
        mek_id: The MEK that wraps the data key, of the slot that opened.
    """

    plaintext_bytes: int
    placement: Placement
    mek_id: str


def no_progress(size: int | None) -> None:
    """A `Begin` that reports no progress."""
    del size


class StandaloneFiles:
    """Encrypts and decrypts files that belong to no site.

    Args:
        keys: Wraps and unwraps data keys.
        event_log: The log to which each use of a key is appended.
        changing: The lock under which keys change.
        threads: How many threads work on one file; None for as many as cores.
    """

    def __init__(
        self,
        keys: EnvelopeKeys,
        event_log: EventLog,
        changing: Changing,
        *,
        threads: int | None = None,
    ) -> None:
        self._keys, self._event_log = keys, event_log
        self._outside = SealedOutside(keys, event_log, changing)
        self._threads = threads or default_threads()

    def encrypt(
        self,
        source: str,
        output: Output,
        *,
        actor: str,
        begin: Begin = no_progress,
        again: bool = False,
    ) -> Outcome:
        """Encrypt a file or standard input.

        Args:
            source: A path, or `-`.
            output: The output and its options.
            actor: The person or process that asks, for the event.
            begin: Called with the size when the work begins.
            again: Whether an input that is encrypted already is encrypted once more.

        Raises:
            ConflictError: The output exists, the input changed meanwhile, or is encrypted already; or the MEK was
                retired meanwhile.
        """
        _check_output(output)
        if source != PIPE and not again:
            check_not_sealed(source)
        header, dek = self._keys.new_envelope(Placement.standalone())
        if source == PIPE:
            size = self._seal_pipe(header, dek, output, actor, begin, again=again)
        else:
            size = self._seal_file(header, dek, source, output, actor=actor, begin=begin)
        return _outcome(header.newest, size)

    def encrypt_many(
        self,
        pairs: "Sequence[Pair | tuple[str, str]]",
        *,
        actor: str,
        outputs: "Outputs | None" = None,
        progress: Progress | None = None,
        again: bool = False,
    ) -> "list[Converted]":
        """Encrypt files into new ones, in batches that share their syncs; progress counts bytes."""
        from strongroom.services.files.many import BatchEncryption

        work = BatchEncryption(
            self._keys,
            self._outside,
            actor,
            threads=self._threads,
            outputs=outputs,
            again=again,
        )
        return work.run(pairs, progress)

    def decrypt_many(
        self,
        pairs: "Sequence[Pair | tuple[str, str]]",
        *,
        actor: str,
        outputs: "Outputs | None" = None,
        progress: Progress | None = None,
    ) -> "list[Converted]":
        """Decrypt files into new ones, each whole or not at all; progress counts bytes."""
        from strongroom.services.files.many import BatchDecryption

        work = BatchDecryption(
            self._keys, self._event_log, actor, threads=self._threads, outputs=outputs
        )
        return work.run(pairs, progress)

    def decrypt(
        self, source: str, output: Output, *, actor: str, begin: Begin = no_progress
    ) -> Outcome:
        """Decrypt a file or standard input.

        Raises:
            IntegrityError: A segment does not verify; if the output is a pipe, the verified segments before are
                written.
            FormatError: The input is no envelope.
            ConflictError: The output exists.
        """
        _check_output(output)
        if source == PIPE:
            return self._open_pipe(output, actor, begin)
        with self._reader(source) as (header, slot, reader):
            self._log_decrypted(header, slot, actor)
            with _sink(output, reader.size) as (sink, threads):
                spans.copy(
                    reader,
                    sink,
                    reader.layout,
                    threads=min(threads, self._threads),
                    progress=begin(reader.size),
                )
            return _outcome(slot, reader.size)

    def verify(self, source: str, *, begin: Begin = no_progress) -> Outcome:
        """Authenticate every byte of a file.

        Raises:
            IntegrityError: A part of the file does not verify.
            FormatError: The file is no envelope.
        """
        with self._reader(source) as (_, slot, reader):
            spans.drain(reader, reader.layout, threads=self._threads, progress=begin(reader.size))
            return _outcome(slot, reader.size)

    def reveal_data_key(self, source: str, *, actor: str) -> OpenedKey:
        """The data key of a file and the slot that it came from, for another implementation of Tink; an event precedes it."""
        with OpenedFile(Path(source)) as file:
            header = read_header(file)
        opened = self._keys.open_envelope(header, None)
        file_id, mek_id = header.prelude.file_id.hex(), opened.slot.mek_id
        self._event_log.append([extract_events.data_key_revealed(actor, file_id, mek_id)])
        return opened

    def rewrap(
        self, names: Sequence[str], *, actor: str, progress: Progress | None = None
    ) -> "list[Rewrapped]":
        """Wrap the data keys of files by the active MEK; `progress` gets the number of files."""
        from strongroom.services.files import rewrap as rewraps

        return rewraps.rewrap_files(
            names, self._keys, self._outside, actor=actor, progress=progress
        )

    @contextmanager
    def _reader(self, source: str) -> Iterator[tuple[Header, KeySlot, EnvelopeReader]]:
        with OpenedFile(Path(source)) as file:
            header = read_header(file)
            opened = self._keys.open_envelope(header, None)
            with cut_if_it_fails():
                reader = EnvelopeReader(file, header, opened.dek)
            with reader:
                yield header, opened.slot, reader

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
            size = writer.stored_bytes(header.prelude, file.size)
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
        self,
        header: Header,
        dek: SecretBytes,
        output: Output,
        actor: str,
        begin: Begin,
        *,
        again: bool,
    ) -> int:
        pipe, piece = PipeSource(_STDIN), page_buffer(spans.UNIT_BYTES)
        count = pipe.read_into(piece)
        if not again and is_envelope(bytes(piece[:MAX_HEADER_BYTES][:count])):
            raise sealed_already("standard input")
        with _sink(output, 0) as (sink, threads):
            sealing = writer.SealingWriter(
                header,
                writer.new_sealer(header, dek),
                sink,
                threads=min(threads, self._threads),
                progress=begin(None),
            )
            with sealing:
                while count:
                    sealing.write(piece[:count])
                    count = pipe.read_into(piece)
                size = sealing.finish()
            self._log_encrypted(header, actor, size)
        return size

    def _open_pipe(self, output: Output, actor: str, begin: Begin) -> Outcome:
        stream = StreamReader(PipeSource(_STDIN).read_into)
        opened = self._keys.open_envelope(stream.header, None)
        self._log_decrypted(stream.header, opened.slot, actor)
        progress, done = begin(None), 0
        with _sink(output, 0) as (sink, _):
            pieces = stream.plaintext(opened.dek)
            while True:
                with cut_if_it_fails():
                    piece = next(pieces, None)
                if piece is None:
                    break
                sink.write_at(done, piece)
                done += len(piece)
                if progress is not None:
                    progress(len(piece))
        return _outcome(opened.slot, done)

    def _log_encrypted(self, header: Header, actor: str, size: int) -> None:
        file_id, mek_id = header.prelude.file_id.hex(), header.newest.mek_id
        event = extract_events.file_encrypted(actor, file_id, mek_id, size=size)
        self._outside.tell_one(mek_id, event)

    def _log_decrypted(self, header: Header, slot: KeySlot, actor: str) -> None:
        """Append the event of a decryption, before the first byte of plaintext leaves this process."""
        file_id = header.prelude.file_id.hex()
        self._event_log.append([extract_events.file_decrypted(actor, file_id, slot.mek_id)])


def inspect_file(source: str) -> "Inspection":
    """The content of a file's header; needs no key, and nothing in it is authenticated."""
    from strongroom.envelope import inspect as inspection

    with OpenedFile(Path(source)) as file:
        return inspection.inspect(read_header(file), file.size)


def _outcome(slot: KeySlot, size: int) -> Outcome:
    return Outcome(size, slot.placement, slot.mek_id)


def _check_output(output: Output) -> None:
    """Refuse an existing output or a link before the work, rather than at the commit."""
    if output.name == PIPE:
        return
    path = Path(output.name)
    if path.is_symlink() and not output.overwrite:
        raise ConflictError(
            f"{path} exists already: it is a link", hint="links are not followed; name a file"
        )
    if targets.look(path) is targets.Kind.FILE and not output.overwrite:
        raise ConflictError(f"{path} exists already", hint="use --overwrite to replace it")


@contextmanager
def _sink(output: Output, expected_bytes: int) -> Iterator[tuple[Sink, int]]:
    """The sink of an output, and how many threads may write to it; a file is committed if the block ends without error."""
    if output.name == PIPE:
        yield PipeSink(_STDOUT), _ONE_THREAD
        return
    path = Path(output.name)
    if targets.look(path) is targets.Kind.PIPE:
        with targets.feeding(path) as pipe:
            yield pipe, _ONE_THREAD
        return
    with NewFile(
        path,
        expected_bytes=expected_bytes,
        durable=output.sync,
        replace=output.overwrite,
    ) as file:
        yield file, default_threads()
        file.commit()
