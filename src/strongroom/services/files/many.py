"""`strongroom encrypt|decrypt --into FOLDER FILE…`: many files, in batches that share syncs and appends to the event log.

A batch is committed as a group: the bytes of all its files are synced by one call, then their events by another, and
only then do the files get their names. A file that fails leaves nothing behind, and the others of its batch go on.
"""

import os
import unicodedata
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from strongroom.envelope import spans, writer
from strongroom.envelope.header import Header, Placement
from strongroom.envelope.keys import EnvelopeKeys, OpenedKey
from strongroom.envelope.reader import EnvelopeReader, read_header
from strongroom.errors import ConflictError, FormatError, StorageError, StrongroomError
from strongroom.eventlog.base import Event, EventLog
from strongroom.eventlog.events import extract_events
from strongroom.filestore.blockfile import NewFile, OpenedFile, sync_file_system
from strongroom.services.files.cut import cut_if_it_fails
from strongroom.services.files.pairs import Folders, Pair
from strongroom.services.files.sealed_already import refuse_sealed
from strongroom.services.files.sealed_outside import SealedOutside, retired
from strongroom.system import durable
from strongroom.system.positions import Progress

BATCH_FILES = 256
"""Files of a batch: each holds two open descriptors, three when decrypting, and a process may have 1024 by default."""
BATCH_BYTES: Final = 256 << 20
"""Bytes of a batch, so that an interrupted command loses little work; larger files make smaller batches."""


@dataclass(frozen=True)
class Outputs:
    """Options for the outputs of many files.

    Attributes:
        folder: The folder of the outputs, created if missing, with the folders below it; None if all folders exist.
        sync: Whether outputs are durable before success is reported.
        overwrite: Whether existing files are replaced.
        resume: Whether an existing output is left if it is as long as its input demands, and not older than that.
    """

    folder: str | None = None
    sync: bool = True
    overwrite: bool = False
    resume: bool = False


@dataclass
class Converted:
    """The result for one file.

    Attributes:
        source: Path of the input.
        target: Path of the output.
        plaintext_bytes: Bytes of plaintext.
        placement: The site and item to which an encrypted input belongs, by its header.
        mek_id: The MEK under which an output was encrypted.
        skipped: Whether the output existed already and was left.
        error: The error of this file, which then has no output.
        follow: Whether the input may be a link.
    """

    source: str
    target: str
    plaintext_bytes: int = 0
    placement: Placement = field(default_factory=Placement.standalone)
    mek_id: str = ""
    skipped: bool = False
    error: StrongroomError | None = None
    follow: bool = True

    def open_source(self) -> OpenedFile:
        """Open the input; a link is followed only if the user named it, not if it was found in a folder."""
        return OpenedFile(Path(self.source), follow=self.follow)


class _Batches:
    """The common part of encrypting and decrypting many files.

    Args:
        keys: Wraps and unwraps data keys.
        actor: The person or process that asks, for the events.
        threads: How many threads work on one file.
        outputs: Options for the outputs.
    """

    def __init__(
        self, keys: EnvelopeKeys, actor: str, *, threads: int, outputs: Outputs | None = None
    ) -> None:
        self._keys, self._actor = keys, actor
        self._threads, self._outputs = threads, outputs or Outputs()
        self._folders = Folders(self._outputs.folder) if self._outputs.folder is not None else None
        self._namesakes = Namesakes()

    def _work_on(
        self,
        pairs: Sequence[Pair | tuple[str, str]],
        progress: Progress | None,
        run_batch: "Callable[[Sequence[tuple[Converted, _Share]]], None]",
        most: int,
    ) -> list[Converted]:
        """Run the work in batches of at most `most` files; returns a result for each pair, in the given order."""
        named = [pair if isinstance(pair, Pair) else Pair(*pair) for pair in pairs]
        results = [Converted(pair.source, pair.target, follow=pair.follow) for pair in named]
        if self._outputs.overwrite:
            _refuse_to_replace_inputs(results)
        self._namesakes.check(results)
        for start, stop in _cuts(named, most):
            shares = [_Share(pair.size, progress) for pair in named[start:stop]]
            works = list(zip(results[start:stop], shares, strict=True))
            run_batch([work for work in works if work[0].error is None])
            for share in shares:
                share.finish()
        return results

    def _is_done(self, result: Converted, source: OpenedFile, *, sealing: bool) -> bool:
        """Whether the output exists and may be left; always false without the option `resume`."""
        if not self._outputs.resume:
            return False
        try:
            target = OpenedFile(Path(result.target), follow=False)
        except StrongroomError:
            return False
        with target:
            plain, sealed = (source, target) if sealing else (target, source)
            if target.changed_ns >= source.changed_ns and _belong_together(plain, sealed):
                result.skipped = True
        return result.skipped

    def _check_target(self, result: Converted) -> None:
        """Refuse an existing output before a key is used, rather than at the commit."""
        if not self._outputs.overwrite and os.path.lexists(result.target):
            raise ConflictError(
                f"{result.target} exists already", hint="use --overwrite to replace it"
            )

    def _new_file(self, result: Converted, expected_bytes: int, files: ExitStack) -> NewFile:
        """A new file for the output, which gets its name at the commit."""
        overwrite = self._outputs.overwrite
        if self._folders is not None:
            self._folders.provide(Path(result.target).parent)
        file = NewFile(
            Path(result.target), expected_bytes=expected_bytes, durable=False, replace=overwrite
        )
        return files.enter_context(file)

    def _publish(
        self,
        works: Sequence[tuple[Converted, NewFile]],
        tell: Callable[[], Collection[str]] = tuple,
    ) -> None:
        """Sync all bytes, write all events, then name the files, except those under a MEK that was retired meanwhile.

        A process killed in between leaves events of files that do not exist, which is harmless; a visible file without
        an event would let its MEK be retired.
        """
        if not works:
            return
        folders = sorted({Path(result.target).parent for result, _ in works})
        if self._outputs.sync:
            for folder in _one_for_each_device(folders):
                sync_file_system(folder)
        gone = tell()
        for result, file in works:
            with _keeping_the_error(result):
                if result.mek_id in gone:
                    raise retired(result.mek_id)
                self._namesakes.check_new(result)
                file.commit()
                self._namesakes.add(result)
        if self._outputs.sync:
            for folder in folders:
                _sync_names(folder)


class BatchEncryption(_Batches):
    """Encrypts many files of any size; small ones in a fraction of the time that each would take alone.

    Args:
        outside: Logs every file before it is visible.
        again: Whether an input that is encrypted already is encrypted once more.
    """

    def __init__(
        self,
        keys: EnvelopeKeys,
        outside: SealedOutside,
        actor: str,
        *,
        threads: int,
        outputs: Outputs | None = None,
        again: bool = False,
    ) -> None:
        super().__init__(keys, actor, threads=threads, outputs=outputs)
        self._outside, self._again = outside, again

    def run(
        self, pairs: Sequence[Pair | tuple[str, str]], progress: Progress | None = None
    ) -> list[Converted]:
        """Encrypt each source into its target; returns a result for each, in order. `progress` gets bytes."""
        return self._work_on(pairs, progress, self._run_batch, BATCH_FILES)

    def _run_batch(self, batch: "Sequence[tuple[Converted, _Share]]") -> None:
        with ExitStack() as files:
            works, new = list[tuple[Converted, NewFile]](), list[tuple[str, Event]]()
            for result, share in batch:
                with _keeping_the_error(result), result.open_source() as source:
                    if not self._again:
                        refuse_sealed(source, result.source)
                    if not self._is_done(result, source, sealing=True):
                        self._check_target(result)
                        file, event = self._seal(result, source, share, files)
                        works.append((result, file))
                        new.append((result.mek_id, event))
            self._publish(works, lambda: self._outside.tell(new))

    def _seal(
        self, result: Converted, source: OpenedFile, share: "_Share", files: ExitStack
    ) -> tuple[NewFile, Event]:
        """Write one envelope into a file without a name; returns the file and its event."""
        header, dek = self._keys.new_envelope(Placement.standalone())
        size = writer.stored_bytes(header.prelude, source.size)
        file = self._new_file(result, size, files)
        sealer = writer.new_sealer(header, dek)
        count = writer.seal_source(
            header, sealer, source, file, threads=self._threads, progress=share.add
        )
        source.check_unchanged()
        file_id, mek_id = header.prelude.file_id.hex(), header.newest.mek_id
        result.plaintext_bytes, result.mek_id = count, mek_id
        return file, extract_events.file_encrypted(self._actor, file_id, mek_id, size=count)


@dataclass(frozen=True)
class _Opened:
    """An encrypted file whose data key is known, with the slot that it came from."""

    result: Converted
    share: "_Share"
    source: OpenedFile
    header: Header
    key: OpenedKey


class BatchDecryption(_Batches):
    """Decrypts many files: each whole or not at all.

    Args:
        event_log: Gets an event for every file before a byte of its plaintext is written.
    """

    def __init__(
        self,
        keys: EnvelopeKeys,
        event_log: EventLog,
        actor: str,
        *,
        threads: int,
        outputs: Outputs | None = None,
    ) -> None:
        super().__init__(keys, actor, threads=threads, outputs=outputs)
        self._event_log = event_log

    def run(
        self, pairs: Sequence[Pair | tuple[str, str]], progress: Progress | None = None
    ) -> list[Converted]:
        """Decrypt each source into its target; returns a result for each, in order. `progress` gets bytes."""
        return self._work_on(pairs, progress, self._run_batch, max(BATCH_FILES // 2, 1))

    def _run_batch(self, batch: "Sequence[tuple[Converted, _Share]]") -> None:
        with ExitStack() as files:
            opened: list[_Opened] = []
            for result, share in batch:
                with _keeping_the_error(result):
                    opened += self._open(result, share, files)
            # The events come before any plaintext: even a file without a name can be read from the disk after a crash.
            if opened:
                self._event_log.append([self._event(one) for one in opened])
            works = []
            for one in opened:
                with _keeping_the_error(one.result):
                    works.append((one.result, self._write(one, files)))
            self._publish(works)

    def _open(self, result: Converted, share: "_Share", files: ExitStack) -> list[_Opened]:
        source = files.enter_context(result.open_source())
        header = read_header(source)
        if self._is_done(result, source, sealing=False):
            return []
        self._check_target(result)
        key = self._keys.open_envelope(header, None)
        result.placement = key.slot.placement
        return [_Opened(result, share, source, header, key)]

    def _event(self, one: _Opened) -> Event:
        file_id = one.header.prelude.file_id.hex()
        return extract_events.file_decrypted(self._actor, file_id, one.key.slot.mek_id)

    def _write(self, one: _Opened, files: ExitStack) -> NewFile:
        with cut_if_it_fails():
            reader = EnvelopeReader(one.source, one.header, one.key.dek)
        with reader:
            file = self._new_file(one.result, reader.size, files)
            spans.copy(reader, file, reader.layout, threads=self._threads, progress=one.share.add)
            one.result.plaintext_bytes = reader.size
        return file


class _Share:
    """The part of one file in the progress of all; in the end exactly its size, even if the file failed early."""

    def __init__(self, size: int, progress: Progress | None) -> None:
        self._left, self._progress = size, progress

    def add(self, count: int) -> None:
        self._left -= count
        if self._progress is not None:
            self._progress(count)

    def finish(self) -> None:
        if self._progress is not None and self._left > 0:
            self._progress(self._left)


@contextmanager
def _keeping_the_error(result: Converted) -> Iterator[None]:
    """Store an error in the result of its file, so that the other files go on."""
    try:
        yield
    except StrongroomError as error:
        result.error, result.plaintext_bytes = error, 0


def _belong_together(plain: OpenedFile, sealed: OpenedFile) -> bool:
    """Whether an envelope is as long as a plaintext of that length demands."""
    try:
        header = read_header(sealed)
    except FormatError:
        return False
    return writer.stored_bytes(header.prelude, plain.size) == sealed.size


def _cuts(pairs: Sequence[Pair], most: int) -> Iterator[tuple[int, int]]:
    """Start and end of each batch: at most `most` files, and at most `BATCH_BYTES` unless a single file is longer."""
    start, size = 0, 0
    for number, pair in enumerate(pairs):
        if number > start and (number - start == most or size + pair.size > BATCH_BYTES):
            yield start, number
            start, size = number, 0
        size += pair.size
    if start < len(pairs):
        yield start, len(pairs)


class Namesakes:
    """Finds outputs whose names the file system takes for the same, as FAT and some folders of ext4 ignore letter case.

    Two inputs that differ in case only would become one file, and all but the last of them would be lost.
    """

    def __init__(self) -> None:
        self._made: dict[str, Converted] = {}

    def check(self, results: Sequence[Converted]) -> None:
        """Set an error in each result whose output exists already as the output of an earlier one."""
        first: dict[str, Converted] = {}
        for result in results:
            earlier = first.setdefault(_folded(result.target), result)
            if earlier is not result and result.error is None and _are_one(earlier, result):
                result.error = _one_file(earlier, result)

    def check_new(self, result: Converted) -> None:
        """Refuse an output that would replace another output of this run.

        Raises:
            ConflictError: The file system takes both names for one.
        """
        earlier = self._made.get(_folded(result.target))
        if earlier is not None and _are_one(earlier, result):
            raise _one_file(earlier, result)

    def add(self, result: Converted) -> None:
        """Remember an output that was made."""
        self._made.setdefault(_folded(result.target), result)


def _folded(target: str) -> str:
    """A form that is equal for all names that any file system might take for the same; `_are_one` then asks this one."""
    alike = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", target).casefold())
    return "/".join(part.rstrip(". ") or part for part in alike.split("/"))


def _are_one(earlier: Converted, later: Converted) -> bool:
    place = _place(earlier.target, os.lstat)
    return place is not None and place == _place(later.target, os.lstat)


def _one_file(earlier: Converted, later: Converted) -> ConflictError:
    return ConflictError(
        f"{later.target} and {earlier.target}, which {earlier.source} becomes, are one file there:"
        " that file system does not tell the two names apart",
        hint="have the inputs in two folders, or one of them with another --suffix",
    )


def _refuse_to_replace_inputs(results: Sequence[Converted]) -> None:
    """Set an error in each result whose output is the input of another, which would be replaced before it is read."""
    inputs: dict[tuple[int, int], str] = {}
    for result in results:
        place = _place(result.source, os.stat)
        if place is not None:
            inputs[place] = result.source
    for result in results:
        place = _place(result.target, os.lstat)
        if place in inputs and place != _place(result.source, os.stat):
            result.error = ConflictError(
                f"{result.target} is one of the inputs: it is not replaced",
                hint="name another folder --into",
            )


def _place(name: str, look: Callable[[str], os.stat_result]) -> tuple[int, int] | None:
    try:
        status = look(name)
    except OSError:
        return None  # opening the file will fail too, and report the reason
    return status.st_dev, status.st_ino


def _sync_names(folder: Path) -> None:
    try:
        durable.sync_folder(folder)
    except StorageError as error:
        raise StorageError(
            f"the files in {folder} were written, but not their names: {error.message}",
            hint=error.hint,
        ) from error


def _one_for_each_device(folders: Sequence[Path]) -> list[Path]:
    """A folder of each file system among these, since a single call syncs a whole file system."""
    return list({folder.stat().st_dev: folder for folder in folders}.values())
