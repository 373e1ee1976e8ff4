"""Puts a new log in the place of one that is moved aside: old or new after a kill at any call (format/events.md §7).

The new log and its checkpoint are prepared as `.<log>.next` and `.<checkpoint>.next`. The commit is the rename of
`.<log>.next` to the log's name. A process killed before that rename leaves `.<log>.next` behind: the old log still
counts, and the next holder of the log's lock undoes the archiving. A process killed after it leaves only
`.<checkpoint>.next`: the new log counts, and the next holder of the lock puts its checkpoint in place. Either happens
before the log is used.
"""

import errno
import fcntl
import os
import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from strongroom.errors import FormatError, StrongroomError
from strongroom.eventlog import chain, checkpoint_form
from strongroom.eventlog.events import log_events
from strongroom.eventlog.logfile import BLOCK_BYTES, LogFile
from strongroom.system import durable

_STAMP = re.compile(r"\.\d{8}T\d{6}Z")
# the errors by which a file system without hard links refuses one
_NO_LINKS = {errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK, errno.EXDEV, errno.EINVAL}


class Archive:
    """The archived logs of one event log, and the move of the present log among them."""

    def __init__(self, log: LogFile, checkpoint: Path) -> None:
        self._log = log
        self._checkpoint = checkpoint
        self.next_log = _next(log.path)
        self.next_checkpoint = _next(checkpoint)

    def paths(self) -> list[Path]:
        """The archived logs, the oldest first."""
        name = self._log.path.name
        found = self._log.path.parent.glob(f"{name}.*Z")
        return sorted(path for path in found if _STAMP.fullmatch(path.name.removeprefix(name)))

    def is_unfinished(self) -> bool:
        """Whether a killed command left the log between old and new, or an earlier version left a second name of it."""
        if any(os.path.lexists(path) for path in (self.next_log, self.next_checkpoint)):
            return True
        try:
            return self._log.path.stat().st_nlink > 1 and bool(
                self._names_of(self._log.path.stat())
            )
        except FileNotFoundError:
            return False

    def replace(self, handle: int, aside: Path, log: bytes, checkpoint: bytes) -> None:
        """Move the log aside and put a new one in its place; writers that wait for the old log go on in the new one.

        Args:
            handle: The log, whose lock is held.
            aside: The path to which the log is moved.
            log: The new log's lines.
            checkpoint: The new log's checkpoint; empty if the node has no key that signs it.

        Raises:
            FileExistsError: There is a file of that name.
            OSError: The disk refused; nothing was changed, unless the log's path is the new file already.
            StorageError: As for `OSError`, where the call that failed is one of `durable`.
        """
        new = -1
        try:
            new = self._prepared(self.next_log, log)
            # the new log is locked before it gets the log's name: a writer that opens it by that name waits for its
            # checkpoint
            fcntl.flock(new, fcntl.LOCK_EX)
            os.close(self._prepared(self.next_checkpoint, checkpoint))
            _link(self._log.path, aside)
            durable.sync_folder(aside.parent)
            self.next_log.replace(self._log.path)
            durable.sync_folder(aside.parent)
            self._finish()
        except BaseException:
            # BaseException, for Ctrl-C leaves the same state as a failed call. If this clean-up fails too, the next
            # holder of the lock repeats it.
            with suppress(OSError, StrongroomError):
                self.settle(handle)
            raise
        finally:
            if new >= 0:
                os.close(new)

    def settle(self, handle: int) -> None:
        """Finish or undo what a killed command began. The caller holds the lock.

        Raises:
            OSError: The disk refused; the next caller tries again.
            StorageError: The same.
        """
        if os.path.lexists(self.next_log):
            self._undo(handle)
        elif os.path.lexists(self.next_checkpoint):
            self._finish()
        elif os.fstat(handle).st_nlink > 1:
            self._remove_names(handle)

    def _prepared(self, path: Path, data: bytes) -> int:
        handle = self._log.create(path)
        try:
            view = memoryview(data)
            while view:
                view = view[os.write(handle, view) :]
            os.fsync(handle)
        except BaseException:
            os.close(handle)
            raise
        return handle

    def _undo(self, handle: int) -> None:
        # remove the log's second name while `.<log>.next` still marks the archiving as unfinished: if that file went
        # first and we died, the present log would pass for an archived one
        self._remove_names(handle)
        aside = self._named_in(self.next_log)
        if aside is not None and _begins_with(self._log.path, aside):
            aside.unlink()  # a copy, where there are no hard links
        self.next_checkpoint.unlink(missing_ok=True)
        self.next_log.unlink()
        durable.sync_folder(self._log.path.parent)

    def _finish(self) -> None:
        aside = self._named_in(self._log.path)
        data = self.next_checkpoint.read_bytes()
        if aside is None or not self._is_of_log(data):
            self.next_checkpoint.unlink()  # the prepared log was removed by somebody else
            return
        with suppress(FileNotFoundError):
            self._checkpoint.rename(kept_checkpoint(aside))
        if data:
            self.next_checkpoint.replace(self._checkpoint)
        else:
            self.next_checkpoint.unlink()
        durable.sync_folder(self._log.path.parent)

    def _is_of_log(self, data: bytes) -> bool:
        """Whether a prepared checkpoint is that of the first lines of the present log."""
        if not data:
            return True
        try:
            stored = checkpoint_form.parse(data)
        except FormatError:
            return False
        heads = [_digest(line) for line in _first_lines(self._log.path)]
        return stored.head in heads

    def _named_in(self, log: Path) -> Path | None:
        """The archived log that a log names as the one before it."""
        for line in _first_lines(log):
            with suppress(FormatError):
                record = chain.parse_line(line)
                details = record["details"]
                if record["id"] == log_events.EVENT_LOG_ARCHIVED and isinstance(details, dict):
                    name, own = str(details["file"]), self._log.path.name
                    if name.startswith(own) and _STAMP.fullmatch(name.removeprefix(own)):
                        return self._log.path.with_name(name)
        return None

    def _names_of(self, status: os.stat_result) -> list[Path]:
        return [path for path in self.paths() if os.path.samestat(path.stat(), status)]

    def _remove_names(self, handle: int) -> None:
        """Take back second names of the log. Earlier revisions left them, and the log's checkpoint beside them."""
        for path in self._names_of(os.fstat(handle)):
            kept = kept_checkpoint(path)
            if kept.exists() and not self._checkpoint.exists():
                kept.rename(self._checkpoint)
            kept.unlink(missing_ok=True)
            path.unlink()


def kept_checkpoint(aside: Path) -> Path:
    """Where an archived log's checkpoint lies."""
    return aside.with_name(f"{aside.name}.checkpoint")


def _next(path: Path) -> Path:
    return path.with_name(f".{path.name}.next")


def _digest(line: bytes) -> str:
    try:
        return chain.head_of(line).digest
    except FormatError:
        return ""


def _first_lines(path: Path) -> list[bytes]:
    """The first two lines of a log: a log that follows an archived one names that one in either of them."""
    try:
        with path.open("rb") as file:
            return [file.readline(chain.MAX_LINE_BYTES + 1).removesuffix(b"\n") for _ in range(2)]
    except FileNotFoundError:
        return []


def _link(log: Path, aside: Path) -> None:
    """Give the log a second name by a hard link, or copy it where the file system has no hard links."""
    try:
        os.link(log, aside)
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        _copy(log, aside)


def _copy(log: Path, aside: Path) -> None:
    mode = log.stat().st_mode & 0o777
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    handle = os.open(aside, flags, 0o600)
    try:
        for block in _blocks(log):
            view = memoryview(block)
            while view:
                view = view[os.write(handle, view) :]
        os.fchown(handle, -1, log.stat().st_gid)
        os.fchmod(handle, mode)
        os.fsync(handle)
    finally:
        os.close(handle)


def _blocks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while block := file.read(BLOCK_BYTES):
            yield block


def _begins_with(log: Path, other: Path) -> bool:
    """Whether the log begins with all bytes of another file, so that removing that file loses nothing."""
    try:
        with log.open("rb") as file:
            return all(file.read(len(block)) == block for block in _blocks(other))
    except FileNotFoundError:
        return False
