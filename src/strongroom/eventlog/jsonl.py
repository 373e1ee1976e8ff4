"""The event log of one node as a file of JSON lines, hash-chained, only ever appended (C-23).

format/events.md. Appending reads the end of the file, never the whole of it.
"""

import fcntl
import hashlib
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path

from strongroom import durable
from strongroom.clock import Clock, format_utc
from strongroom.errors import (
    ConflictError,
    FormatError,
    NotFoundError,
    StorageError,
    StrongroomError,
)
from strongroom.eventlog import audit, chain, events
from strongroom.eventlog.base import Event
from strongroom.eventlog.checkpoints import CheckpointFile, FindSigner, Signing
from strongroom.eventlog.notes import Checkpoint

_TAIL_BYTES = 65_536  # holds at least three of the longest lines
_HINT = "check the disk's space and health; nothing was reported as done"


class JsonlEventLog:
    """Appends to one file and reads it back."""

    def __init__(
        self,
        path: Path,
        node_id: str,
        clock: Clock,
        access: durable.Access = durable.PRIVATE,
        find_signer: FindSigner = lambda: None,
    ) -> None:
        """Take the ports; nothing is opened.

        Args:
            path: The file.
            node_id: Whose events these are.
            clock: Gives the time of each line.
            access: Modes and group of new files.
            find_signer: Gives who signs the checkpoints, or None.
        """
        self.path = path
        self.checkpoints = CheckpointFile(path.with_suffix(".checkpoint"), find_signer, access)
        self._node_id = node_id
        self._clock = clock
        self._access = access

    def append(self, new: Sequence[Event]) -> None:
        """Write all events, in order, synced to the disk when it returns.

        Raises:
            StorageError: The log cannot be written; the operation must then not report success.
        """
        if not new:
            return
        try:
            with self._locked() as handle:
                self._append(handle, new)
        except OSError as error:
            raise StorageError(
                f"the event log {self.path} cannot be written: {error.strerror}", hint=_HINT
            ) from error

    def read(self) -> Iterator[Mapping[str, object]]:
        """Every record from the first on, as stored; a torn end is left out.

        Raises:
            FormatError: A line in the middle is damaged.
        """
        for number, line in enumerate(self._lines(), 1):
            try:
                yield chain.parse_line(line)
            except FormatError as error:
                raise FormatError(
                    f"line {number} of the event log {self.path} is damaged",
                    hint="run 'strongroom events verify'",
                ) from error

    def history(self) -> Iterator[Mapping[str, object]]:
        """Every record of the archived logs, oldest first, and of this one; damaged lines are left out."""
        for path in (*sorted(self.path.parent.glob(f"{self.path.name}.*Z")), self.path):
            for line in self._lines(path):
                with suppress(FormatError):
                    yield chain.parse_line(line)

    def verify(self, *kept: Checkpoint) -> audit.Report:
        """Recompute the whole chain, and compare the tree with the checkpoint of this log.

        Args:
            kept: Checkpoints from elsewhere, verified, with which the log must agree too.
        """
        # a writer is between its lines and their checkpoint for a moment
        with self._locked() if self.path.exists() else nullcontext():
            signed, faults = self._checkpoint()
            report = audit.verify(self._lines(), kept if signed is None else (signed, *kept))
        return report.with_checkpoint(signed, faults)

    def _checkpoint(self) -> tuple[Checkpoint | None, tuple[str, ...]]:
        try:
            newest = self.checkpoints.newest()
        except NotFoundError:
            return None, ()
        except StrongroomError as error:  # a key that does not open proves nothing, for or against
            return None, (error.message,)
        if newest is None:
            return None, ("there is no checkpoint, though there is a key that signs them",)
        return newest[1], ()

    def archive(self, actor: str, reason: str) -> Path:
        """Move log and checkpoint aside and begin a new chain that names them.

        Returns:
            Where the log lies now.

        Raises:
            NotFoundError: There is no log.
            StorageError: It cannot be moved.
        """
        if not self.path.exists():
            raise NotFoundError(f"there is no event log {self.path}")
        with self._locked():
            last = deque(self._heads(), maxlen=1).pop()
            stamp = format_utc(self._clock.now()).replace(":", "").replace("-", "")
            aside = self.path.with_name(f"{self.path.name}.{stamp}")
            told = events.event_log_archived(
                actor, file=aside.name, seq=last.seq, sha256=last.digest, reason=reason
            )
            try:
                self._begin_anew(aside, told)
            except FileExistsError as error:
                raise ConflictError(
                    f"there is a file {aside} already", hint="wait a second"
                ) from error
            except OSError as error:
                raise StorageError(
                    f"the event log {self.path} cannot be moved: {error.strerror}", hint=_HINT
                ) from error
        return aside

    def remove_leftovers(self) -> bool:
        """Remove the checkpoint that a killed writer was writing; says whether there was one.

        Raises:
            StorageError: It cannot be removed.
        """
        leftover = durable.temp_path(self.checkpoints.path)
        if not leftover.exists():
            return False
        with self._locked():  # else it may be a living writer's
            try:
                leftover.unlink(missing_ok=True)
            except OSError as error:
                raise StorageError(f"cannot remove {leftover}: {error.strerror}") from error
        return True

    def _heads(self) -> Iterator[chain.Head]:
        yield chain.Head()
        for line in self._lines():
            try:
                yield chain.head_of(line)
            except FormatError:
                continue

    def _begin_anew(self, aside: Path, told: Event) -> None:
        """Put a log of one event in this one's place by one rename; whoever waits for this one goes on there."""
        temp, checkpoint = durable.temp_path(self.path), self.checkpoints.path
        temp.unlink(missing_ok=True)
        os.link(self.path, aside)
        handle = self._create(temp)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            if checkpoint.exists():
                checkpoint.rename(aside.with_name(f"{aside.name}.checkpoint"))
            signing, lines = self._write(handle, [told], lambda: ())
            temp.replace(self.path)
            durable.sync_folder(aside.parent)
            self._sign(signing, lines)
        finally:
            os.close(handle)

    def _lines(self, path: Path | None = None) -> Iterator[bytes]:
        path = path or self.path
        try:
            with path.open("rb") as file:
                while line := file.readline(chain.MAX_LINE_BYTES + 1):
                    if line.endswith(b"\n"):
                        yield line[:-1]
                    elif len(line) > chain.MAX_LINE_BYTES:
                        yield line
        except FileNotFoundError:
            return
        except OSError as error:
            raise StorageError(f"the event log {path} cannot be read: {error.strerror}") from error

    @contextmanager
    def _locked(self) -> Iterator[int]:
        handle = self._open()
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            while not self._is_present(handle):  # archived while we waited
                os.close(handle)
                handle = self._open()
                fcntl.flock(handle, fcntl.LOCK_EX)
            yield handle
        finally:
            os.close(handle)

    def _is_present(self, handle: int) -> bool:
        try:
            return os.path.samestat(os.fstat(handle), self.path.stat())
        except FileNotFoundError:
            return False

    def _open(self) -> int:
        try:
            return os.open(self.path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
        except FileNotFoundError:
            durable.make_folder(self.path.parent, self._access)
        handle = self._create(self.path)
        durable.sync_folder(self.path.parent)
        return handle

    def _create(self, path: Path) -> int:
        flags = os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_CREAT
        handle = os.open(path, flags, 0o600)
        if self._access.group is not None:
            os.fchown(handle, -1, self._access.group)
        os.fchmod(handle, self._access.file_mode)
        return handle

    def _append(self, handle: int, new: Sequence[Event]) -> None:
        self._sign(*self._write(handle, new, self._lines))

    def _write(
        self, handle: int, new: Sequence[Event], present: Callable[[], Iterable[bytes]]
    ) -> tuple[Signing | None, list[bytes]]:
        """Append and sync; gives what is to be signed now."""
        size = os.fstat(handle).st_size
        start = max(0, size - _TAIL_BYTES)
        head, good = self._last_good(os.pread(handle, _TAIL_BYTES, start), whole=start == 0)
        offset = start + good
        batch = list(new)
        signing = self.checkpoints.begin(head, present)
        if signing is not None:
            batch = [*signing.told, *batch]
        if offset < size:
            batch.insert(0, self._set_aside(os.pread(handle, size - offset, offset), offset))
        lines = self._lines_of(batch, head)
        data = b"\n".join(lines) + b"\n"
        written = 0
        while written < len(data):
            written += os.pwrite(handle, data[written:], offset + written)
        if offset + len(data) < size:
            os.ftruncate(handle, offset + len(data))
        os.fdatasync(handle)
        return signing, lines

    def _sign(self, signing: Signing | None, lines: list[bytes]) -> None:
        if signing is not None:
            self.checkpoints.finish(signing, lines, chain.head_of(lines[-1]))

    def _last_good(self, tail: bytes, *, whole: bool) -> tuple[chain.Head, int]:
        """The last valid line in the tail, and where it ends there."""
        end = tail.rfind(b"\n")
        while end >= 0:
            begin = tail.rfind(b"\n", 0, end) + 1
            try:
                return chain.head_of(tail[begin:end]), end + 1
            except FormatError:
                end = begin - 1
        if whole and (not tail or b"\n" not in tail):
            return chain.Head(), 0
        raise StorageError(
            f"the event log {self.path} has no valid line at its end",
            hint="move it away and keep it: a new chain then begins",
        )

    def _set_aside(self, torn: bytes, offset: int) -> Event:
        """Keep what is no valid line in a file of its own (format/events.md §3)."""
        digest = hashlib.sha256(torn).hexdigest()
        aside = self.path.with_name(f"{self.path.name}.torn-{offset}-{digest[:8]}")
        durable.write_file(aside, torn, self._access)
        return events.event_log_torn(offset=offset, size=len(torn), sha256=digest, file=aside.name)

    def _lines_of(self, batch: Sequence[Event], head: chain.Head) -> list[bytes]:
        time = format_utc(self._clock.now())
        lines = []
        for event in batch:
            line = chain.make_line(event, head, time=time, node=self._node_id)
            head = chain.Head(head.seq + 1, hashlib.sha256(line).hexdigest())
            lines.append(line)
        return lines
