"""The event log of one node as a file of JSON lines (format/events.md), hash-chained, only ever appended (C-23).

Each line carries the digest of the line before, so a changed line breaks the chain; the signed checkpoint beside the
file shows a log whose end was cut, or that was written anew as a whole. Appending reads the end of the file, never the
whole of it. Threads that append at the same time share one write, one sync and one signature (`groups`).
"""

import hashlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from pathlib import Path

from strongroom.clock import Clock, format_utc
from strongroom.errors import (
    ConflictError,
    FormatError,
    NotFoundError,
    StorageError,
    StrongroomError,
)
from strongroom.eventlog import (
    audit,
    chain,
    checkpoints,
    counting,
    extending,
    lineage,
    logfile,
    reading,
)
from strongroom.eventlog.archiving import Archive
from strongroom.eventlog.base import ALL, Event, Query
from strongroom.eventlog.checkpoints import CheckpointFile, FindSigner, Newest, Reading
from strongroom.eventlog.events import log_events
from strongroom.eventlog.extending import Base, Shown
from strongroom.eventlog.groups import Append, Groups, Take
from strongroom.eventlog.logfile import LogFile, Progress, Snapshot, Tail
from strongroom.eventlog.merkle import EMPTY, Frontier
from strongroom.eventlog.notes import Checkpoint
from strongroom.eventlog.state import State
from strongroom.eventlog.summary import SecretTimes, Summary
from strongroom.system import disk, durable

_REPORTED = "nothing was reported as done"
_NO_CHECKPOINT = "there is no checkpoint, though there is a key that signs them"


class JsonlEventLog:
    """Appends to one file and reads it back."""

    def __init__(
        self,
        path: Path,
        node_id: str,
        clock: Clock,
        file_modes: durable.FileModes = durable.PRIVATE,
        find_signer: FindSigner = lambda: None,
        compare: Callable[[], object] = lambda: None,
    ) -> None:
        """Take the ports; nothing is opened.

        Args:
            path: The file.
            node_id: The node that writes this log.
            clock: Gives the time of each line.
            file_modes: Modes and group of new files.
            find_signer: Returns the key that signs the checkpoints, or None while the node has none.
            compare: Called before the first append of this object; raises if the log is not the one that was known.
        """
        self.path = path
        self.checkpoints = CheckpointFile(
            path.with_suffix(".checkpoint"),
            find_signer,
            file_modes,
            partial(logfile.lines_of, path),
        )
        self._file = LogFile(path, file_modes)
        self._summary = Summary(path.with_suffix(".summary"))
        self._archive = Archive(self._file, self.checkpoints.path)
        self._node_id = node_id
        self._clock = clock
        self._file_modes = file_modes
        self._groups = Groups(self._write)
        self._compare: Callable[[], object] | None = compare
        self._left: logfile.Left | None = None

    def append(self, new: Sequence[Event]) -> None:
        """Write all events, in order, synced to the disk when it returns.

        Raises:
            StorageError: The log cannot be written; the operation must then not report success.
            IntegrityError: The log is not the one that was known (anchor.md 5.6); nothing was written.
        """
        if new:
            if self._compare is not None:
                self._compare()
                self._compare = None
            self._groups.append(new)

    def take_as_it_is(self) -> None:
        """Append from now on without comparing the log with what was known of it: that was told, or is decided."""
        self._compare = None

    # ---- reading ---------------------------------------------------------------------------------

    def read(self, query: Query = ALL) -> Iterator[Mapping[str, object]]:
        """The records that the query asks for, the oldest first, one in memory at a time; a torn end is left out.

        Raises:
            FormatError: A line that was looked at is damaged.
        """
        with self._translated("be read"), ExitStack() as stack:
            found = self._snapshot(stack)
            if found is not None:
                yield from reading.chosen(found, query, self.path)

    def follow(self, query: Query, wait: Callable[[], object]) -> Iterator[Mapping[str, object]]:
        """The records that the query asks for, then those that are appended later, for ever, across archived logs.

        Args:
            query: The filter; its limit bounds the present records only, not those to come.
            wait: Called whenever no record is left to give; may raise to end the iteration.
        """
        with self._translated("be read"):
            place = reading.Place()
            with ExitStack() as stack:
                found = self._snapshot(stack)
                if found is not None:
                    place = reading.place_of(found)
                    yield from reading.chosen(found, query, self.path)
            while True:
                wait()
                with ExitStack() as stack:
                    later = self._snapshots(stack)
                    yield from reading.later(later, place, query)
                    place = reading.place_of(later[-1]) if later else place

    def secret_times(self) -> SecretTimes:
        """When each secret was changed and shown, by the archived logs and this one."""
        with self._translated("be read"), ExitStack() as stack:
            found = self._snapshots(stack)
            times, data = self._summary.brought_up(found, self.checkpoints.signer())
        if data:
            # the summary only saves time: if it cannot be written, the next call derives it from the logs again
            with suppress(OSError, StorageError), self._locked():
                durable.replace_unsynced(self._summary.path, data, self._file_modes)
        return times

    def history(self, *ids: str) -> Iterator[Mapping[str, object]]:
        """The records of some events in the archived logs, the oldest first, and in this one; damaged lines are left out."""
        with self._translated("be read"), ExitStack() as stack:
            yield from reading.of_events(self._snapshots(stack), ids)

    # ---- verifying -------------------------------------------------------------------------------

    def verify(self, *kept: Checkpoint, progress: Progress | None = None) -> audit.Report:
        """Recompute the whole chain, compare the tree with the checkpoint of this log, and verify the archived logs by it.

        No writer waits for this: the present end of the log is read under the lock, and everything up to that end is
        verified after the lock is released (R4).

        Args:
            kept: Checkpoints from elsewhere, verified, with which the log must agree too.
            progress: Called with the number of bytes to read; returns the callback for bytes read, or None.
        """
        with self._translated("be read"), ExitStack() as stack:
            state = self._state(stack, with_archives=True)
            own = kept if state.signed is None else (state.signed, *kept)
            report = audit.verify(state.lines(progress), own)
            before = lineage.follow(lineage.link_of(state.lines()), state.archives, progress)
        return lineage.added(report.with_checkpoint(state.signed, state.faults), before)

    def problems(self) -> tuple[str, ...]:
        """Sentences on how the signed lines contradict their checkpoint; reads all of them, without the lock.

        Raises:
            StrongroomError: The key that signed the lines cannot be opened, so nothing can be verified.
        """
        self.checkpoints.try_key()
        with self._translated("be read"), ExitStack() as stack:
            state = self._state(stack)
            words = "" if state.signed is None else audit.fault(state.lines(), state.signed)
        return (*state.faults, *([words] if words else []))

    def sign(self) -> tuple[str, ...]:
        """Sign the lines that a killed writer left behind the checkpoint, if the lines before them are as signed (R10).

        Returns:
            Sentences on the lines that contradict the checkpoint. If there are any, nothing is signed: a signature
            would cover up a change.

        Raises:
            StrongroomError: The key that signs cannot be opened.
        """
        self.checkpoints.try_key()
        with self._translated("be read"), ExitStack() as stack:
            state = self._state(stack)
        if state.faults or state.signed is None or state.ends_signed:
            return state.faults
        found = self.problems()
        if not found:
            with self._translated("be written"), self._locked() as handle:
                self._catch_up(handle)
        return found

    def acknowledge(
        self, actor: str, reason: str, *, progress: Progress | None = None
    ) -> audit.Report:
        """Say by an event that an administrator has read the lines that were signed late, and why they are right.

        Lines that a killed writer left are signed first. Nothing is written if the log was changed.

        Returns:
            The report on the log as it was before the event; its `unacknowledged` lines are those of the event.

        Raises:
            StrongroomError: The key that signs cannot be opened, or the event cannot be written.
        """
        self.sign()
        report = self.verify(progress=progress)
        if report.unacknowledged and not report.is_changed:
            names = [one.name for one in report.unacknowledged]
            self.append(log_events.event_log_acknowledged(actor, acknowledged=names, reason=reason))
        return report

    def signed_since(self, before: Frontier) -> Frontier:
        """The tree over all signed lines, once it is proved that lines were only added to an earlier state, or archived.

        Raises:
            NotFoundError: The node has no key that signs as yet.
            IntegrityError: The log, or its checkpoint, is not that of a log that goes on from there.
            StrongroomError: The key that signs cannot be opened.
        """
        self.checkpoints.try_key()
        with self._translated("be read"), ExitStack() as stack:
            return lineage.signed_since(before, self._state(stack, with_archives=True))

    def show(self, bases: Mapping[str, Base]) -> Shown:
        """The log, and for each of these how it goes on from what that one knew of it (docs/format/log-heads.md 3).

        Raises:
            StrongroomError: The key that signs cannot be opened, or the log cannot be read.
        """
        self.checkpoints.try_key()
        with self._translated("be read"), ExitStack() as stack:
            return extending.show(self._state(stack, with_archives=True), bases)

    def extent(self) -> tuple[int, int | None]:
        """How many lines the log has, and how many its checkpoint signs; None without a checkpoint that counts.

        Raises:
            StrongroomError: The key that signs cannot be opened.
        """
        self.checkpoints.try_key()
        with self._translated("be read"), ExitStack() as stack:
            state = self._state(stack)
        lines = 0 if state.tail is None else state.tail.head.seq
        return lines, None if state.newest is None else state.newest.checkpoint.size

    def newest_checkpoint(self) -> Newest | None:
        """The newest checkpoint; None if the node has a key, and the log no checkpoint.

        Raises:
            NotFoundError: The node has no key that signs as yet.
            StrongroomError: The key cannot be opened, or the checkpoint is damaged or does not verify.
        """
        with self._translated("be read"), ExitStack() as stack:
            self._shared(stack)
            return self.checkpoints.newest()

    # ---- archiving -------------------------------------------------------------------------------

    def archive(self, actor: str, reason: str, faults: Sequence[str] = ()) -> Path:
        """Move log and checkpoint aside and begin a new log, whose first lines name the old one, its size and its root.

        Args:
            actor: The person or process that asks, for the event.
            reason: The administrator's reason.
            faults: Sentences of others than the checkpoint against the log.

        Returns:
            The path of the archived log.

        Raises:
            NotFoundError: There is no log.
            ConflictError: A log was archived in this very second, so the name is taken.
            StorageError: The log cannot be moved; its path holds the old log still, or the whole new one.
            StrongroomError: The key that signs cannot be opened now: the new log would begin without a checkpoint.
        """
        if not self.path.exists():
            raise NotFoundError(f"there is no event log {self.path}")
        # most of the log is read before its lock is taken, or writers would wait for that
        is_whole, counted = not (faults or self.problems()), self._counted()
        with self._translated("be moved"), self._locked() as handle:
            self._catch_up(handle)
            last = self._last(handle)
            with logfile.snapshot(self.path) as now:
                tree = counting.go_on(counted, now)
            stamp = format_utc(self._clock.now()).replace(":", "").replace("-", "")
            aside = self.path.with_name(f"{self.path.name}.{stamp}")
            archived = log_events.event_log_archived(
                actor,
                file=aside.name,
                seq=last.seq,
                sha256=last.digest,
                size=tree.size,
                root=tree.root.hex(),
                whole=is_whole,
                reason=reason,
            )
            try:
                self._archive.replace(handle, aside, *self._new_log(archived))
            except FileExistsError as error:
                raise ConflictError(
                    f"there is a file {aside} already", hint="wait a second"
                ) from error
            except (OSError, StorageError) as error:
                if self._file.is_present(handle):
                    raise
                raise disk.problem(
                    f"the event log was moved to {aside}, and a new one has begun, "
                    "but the disk did not confirm it",
                    error,
                    always="'strongroom events verify' shows whether both are whole",
                ) from error
        return aside

    def remove_leftovers(self) -> bool:
        """Finish or undo what killed writers left; True if they had left anything.

        Raises:
            StorageError: A leftover file cannot be removed.
        """
        written = (self.checkpoints.path, self.path, self._summary.path)
        leftovers = [path for path in map(durable.temp_path, written) if os.path.lexists(path)]
        if not leftovers and not self._archive.is_unfinished():
            return False
        # without the lock these could be the files of a writer that is alive, and removing them would fail its append
        with self._translated("be brought in order"), self._locked():
            for path in leftovers:
                try:
                    path.unlink(missing_ok=True)
                except OSError as error:
                    raise disk.problem(f"cannot remove {path}", error) from error
        return True

    # ---- inside ----------------------------------------------------------------------------------

    def _counted(self) -> counting.Counted:
        with self._translated("be read"), ExitStack() as stack:
            found = self._snapshot(stack)
            return counting.Counted(EMPTY, (0, 0), 0) if found is None else counting.count(found)

    @contextmanager
    def _translated(self, done: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise disk.problem(
                f"the event log {self.path} cannot {done}", error, always=_REPORTED
            ) from error

    @contextmanager
    def _locked(self) -> Iterator[int]:
        """The log under its lock; what a killed command left between old and new is finished or undone first."""
        with self._file.locked() as handle:
            self._archive.settle(handle)
            yield handle

    def _shared(self, stack: ExitStack) -> int | None:
        """The log's handle under its shared lock, so that nobody writes; None if there is no log."""
        if self._archive.is_unfinished():
            with self._locked():
                pass
        try:
            return stack.enter_context(self._file.shared())
        except FileNotFoundError:
            return None

    def _snapshot(self, stack: ExitStack) -> Snapshot | None:
        with ExitStack() as held:
            handle = self._shared(held)
            return None if handle is None else stack.enter_context(logfile.snapshot(self.path))

    def _snapshots(self, stack: ExitStack) -> list[Snapshot]:
        """The archived logs, the oldest first, and this one, as they are in one moment."""
        with ExitStack() as held:
            handle = self._shared(held)
            present = () if handle is None else (self.path,)
            paths = (*self._archive.paths(), *present)
            return [stack.enter_context(logfile.snapshot(path)) for path in paths]

    def _state(self, stack: ExitStack, *, with_archives: bool = False) -> State:
        # The checkpoint is written after its lines. Both are read under the lock, or a reader that comes in between
        # would report lines as unsigned that their writer is about to sign.
        with ExitStack() as held:
            handle = self._shared(held)
            newest, faults = self._checkpoint()
            paths = self._archive.paths() if with_archives else []
            archives = {one.name: stack.enter_context(logfile.snapshot(one)) for one in paths}
            if handle is None:
                return State(None, None, newest, faults, archives)
            log = stack.enter_context(logfile.snapshot(self.path))
            return State(log, logfile.tail(handle), newest, faults, archives)

    def _checkpoint(self) -> tuple[Newest | None, tuple[str, ...]]:
        try:
            newest = self.checkpoints.newest()
        except NotFoundError:
            return None, ()
        except StrongroomError as error:
            # without the key a good checkpoint and a forged one look alike
            return None, (error.message,)
        return newest, () if newest else (_NO_CHECKPOINT,)

    def _write(self, take: Take) -> None:
        with self._translated("be written"), self._locked() as handle:
            self._append(handle, take())

    def _append(self, handle: int, group: Sequence[Append]) -> None:
        """Append, sync and sign, in this order: a signature never covers lines that a power cut can still take back."""
        end = self._tail(handle)
        signing = self.checkpoints.begin(end.head, self._reading(handle, end))
        first = [*(signing.remarks if signing else ())]
        if end.end < end.size:
            torn = os.pread(handle, end.size - end.end, end.end)
            first.insert(0, self._set_aside(torn, end.end))
        lines, head = self._lines_of(first, end.head)
        for one in group:
            try:
                more, head = self._lines_of(one.events, head)
            except FormatError as error:
                # raised to the caller of this event only; the other callers' events are written
                one.error = error
            else:
                lines += more
        if not lines:
            return
        self._left = None
        self._left = logfile.write_at(handle, end, b"\n".join(lines) + b"\n", head)
        if signing is not None:
            self.checkpoints.finish(signing, lines, head)

    def _catch_up(self, handle: int) -> None:
        """Sign lines that were left unsigned and log that; a log that contradicts its checkpoint is left as it is."""
        end = logfile.tail(handle)
        if end is None:
            return
        signing = self.checkpoints.begin(end.head, self._reading(handle, end))
        if signing and {one.id for one in signing.remarks} & {log_events.EVENT_LOG_UNSIGNED}:
            self._append(handle, ())

    def _reading(self, handle: int, end: Tail) -> Reading:
        return Reading(
            lambda: logfile.lines_up_to(self.path, end.end),
            lambda: logfile.lines_backwards(handle, end.end),
        )

    def _new_log(self, archived: Event) -> tuple[bytes, bytes]:
        """The lines of a new log that begins with this event, and its checkpoint, which is empty without a key."""
        signing = self.checkpoints.new_log()
        first = [*(signing.remarks if signing else ()), archived]
        lines, head = self._lines_of(first, chain.Head())
        checkpoint = checkpoints.signed(signing, lines, head) if signing else b""
        return b"\n".join(lines) + b"\n", checkpoint

    def _tail(self, handle: int) -> Tail:
        if self._left is not None and self._left.state == logfile.state_of(handle):
            return self._left.tail
        found = logfile.tail(handle)
        if found is None:
            raise StorageError(
                f"the event log {self.path} has no valid line at its end",
                hint="'strongroom events archive' keeps it and begins a new one",
            )
        return found

    def _last(self, handle: int) -> chain.Head:
        """The last valid line, however much stands behind it."""
        found = logfile.tail(handle)
        if found is not None:
            return found.head
        for line in logfile.lines_backwards(handle, os.fstat(handle).st_size):
            with suppress(FormatError):
                return chain.head_of(line)
        return chain.Head()

    def _set_aside(self, torn: bytes, offset: int) -> Event:
        """Keep bytes that are no valid line in a file of their own, as evidence (format/events.md §3)."""
        digest = hashlib.sha256(torn).hexdigest()
        aside = self.path.with_name(f"{self.path.name}.torn-{offset}-{digest[:8]}")
        durable.write_file(aside, torn, self._file_modes)
        return log_events.event_log_torn(
            offset=offset, size=len(torn), sha256=digest, file=aside.name
        )

    def _lines_of(self, batch: Sequence[Event], head: chain.Head) -> tuple[list[bytes], chain.Head]:
        return chain.make_lines(batch, head, time=format_utc(self._clock.now()), node=self._node_id)
