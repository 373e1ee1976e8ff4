"""`strongroom encrypt --into FOLDER FILE…`: many files, in batches that share their syncs and their append to the event log.

Group commit: no file of a batch is visible before the bytes of all of them are on the disk and their events in the log. A
file that fails leaves nothing behind and stops nobody else.
"""

import os
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from strongroom import durable
from strongroom.envelope import writer
from strongroom.envelope.header import Placement
from strongroom.envelope.keys import EnvelopeKeys
from strongroom.errors import ConflictError, StrongroomError
from strongroom.eventlog import events
from strongroom.eventlog.base import Event, EventLog
from strongroom.filestore.blockfile import NewFile, OpenedFile, storage_errors, sync_file_system

BATCH_FILES = 256  # each holds two open descriptors; a process has 1024 unless told otherwise


@dataclass
class Encrypted:
    """One file's result.

    Attributes:
        source: The plain file.
        target: The envelope.
        plaintext_bytes: How much.
        error: Why it failed; there is then no target.
    """

    source: str
    target: str
    plaintext_bytes: int = 0
    error: StrongroomError | None = None


@dataclass(frozen=True)
class _Pending:
    """A file that is written and has no name yet."""

    result: Encrypted
    file: NewFile
    event: Event

    @property
    def folder(self) -> Path:
        return Path(self.result.target).parent


class BatchEncryption:
    """Encrypts many files of any size; small ones in a fraction of the time that each would take alone.

    Args:
        keys: Wraps data keys.
        log: Told of every file before it is visible.
        actor: Who asks.
        threads: How many seal one file.
        sync: Durable before success is reported.
    """

    def __init__(
        self, keys: EnvelopeKeys, log: EventLog, actor: str, *, threads: int, sync: bool = True
    ) -> None:
        self._keys, self._log, self._actor = keys, log, actor
        self._threads, self._sync = threads, sync

    def run(
        self, pairs: Sequence[tuple[str, str]], progress: Callable[[int], None] | None = None
    ) -> list[Encrypted]:
        """Encrypt each source into its target; a result for each, in their order. Progress counts files."""
        results = [Encrypted(source, target) for source, target in pairs]
        for start in range(0, len(results), BATCH_FILES):
            batch = results[start : start + BATCH_FILES]
            self._run_batch(batch)
            if progress is not None:
                progress(len(batch))
        return results

    def _run_batch(self, batch: Sequence[Encrypted]) -> None:
        with ExitStack() as files:
            works = []
            for result in batch:
                try:
                    works.append(self._seal(result, files))
                except StrongroomError as error:
                    result.error = error
            if works:
                self._publish(works)

    def _seal(self, result: Encrypted, files: ExitStack) -> _Pending:
        """Write one envelope, without a name."""
        if os.path.lexists(result.target):
            raise ConflictError(f"{result.target} exists already")
        header, dek = self._keys.new_envelope(Placement.standalone())
        with OpenedFile(Path(result.source)) as source:
            size = writer.stored_bytes(source.size, header.prelude.segment_bytes)
            file = NewFile(Path(result.target), expected_bytes=size, durable=False)
            files.enter_context(file)
            sealer = writer.new_sealer(header, dek)
            count = writer.seal_source(header, sealer, source, file, threads=self._threads)
            source.check_unchanged()
        result.plaintext_bytes = count
        file_id, mek_id = header.prelude.file_id.hex(), header.newest.mek_id
        event = events.file_encrypted(self._actor, file_id, mek_id, size=count)
        return _Pending(result, file, event)

    def _publish(self, works: Sequence[_Pending]) -> None:
        """All bytes, then all events, then all names."""
        folders = sorted({work.folder for work in works})
        if self._sync:
            for folder in _one_for_each_device(folders):
                sync_file_system(folder)
        self._log.append([work.event for work in works])
        for work in works:
            try:
                work.file.commit()
            except StrongroomError as error:
                work.result.error = error
        if self._sync:
            for folder in folders:
                with storage_errors(f"cannot write {folder}"):
                    durable.sync_folder(folder)


def _one_for_each_device(folders: Sequence[Path]) -> list[Path]:
    """A folder for each file system: one call syncs all of it."""
    return list({folder.stat().st_dev: folder for folder in folders}.values())
