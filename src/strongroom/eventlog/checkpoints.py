"""Keeps the signed checkpoint beside an event log (format/events.md §5); every caller must hold the log's lock.

A checkpoint is the log's length, the root of a Merkle tree over its lines, and a signature. Only a node that opens the
signing key can make one, so somebody who may write to the log alone cannot change or cut it unseen. The file is written
after the lines that it covers are synced: a process killed in between leaves whole lines that no checkpoint covers, and
the next append signs them and says so by an event.
"""

import hashlib
import os
from collections.abc import Callable, Iterable
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from strongroom.errors import FormatError, IntegrityError, NotFoundError, StrongroomError
from strongroom.eventlog import checkpoint_form, notes
from strongroom.eventlog.base import Event
from strongroom.eventlog.chain import Head
from strongroom.eventlog.checkpoint_form import Stored
from strongroom.eventlog.events import log_events
from strongroom.eventlog.merkle import Frontier
from strongroom.eventlog.notes import Checkpoint, LogSigner
from strongroom.system import disk, durable

_MOST_BYTES = 2 * notes.MAX_NOTE_BYTES
#: Returns the signer of this log, or None while the node has no key that signs, as during its creation.
FindSigner = Callable[[], LogSigner | None]


class Signing(NamedTuple):
    """The state from which an append continues the checkpoint.

    Attributes:
        signer: The key that signs the next checkpoint.
        tree: The tree before the new lines.
        remarks: Events about the signing itself, which are written before the caller's events.
        rekeys: Whether this is the first checkpoint of a new key, which the former one signs too.
    """

    signer: LogSigner
    tree: Frontier
    remarks: tuple[Event, ...]
    rekeys: bool = False


class Newest(NamedTuple):
    """The newest checkpoint of a log, verified.

    Attributes:
        signer: The key that signed the checkpoint.
        checkpoint: Length and root hash of the log when it was signed.
        note: The signed note.
        head: Digest of the last signed line. The digest itself is not signed; it only shows quickly whether the log has
            grown since.
        tree: The tree over the signed lines, whose root is that of the checkpoint.
    """

    signer: LogSigner
    checkpoint: Checkpoint
    note: bytes
    head: str
    tree: Frontier


class Reading(NamedTuple):
    """Two ways to read the log that is compared with its checkpoint.

    Attributes:
        forwards: All its lines, the first one first.
        backwards: All its lines, the last one first.
    """

    forwards: Callable[[], Iterable[bytes]]
    backwards: Callable[[], Iterable[bytes]]


class CheckpointFile:
    """The newest checkpoint of one log.

    Args:
        path: The file.
        find_signer: Returns the key that signs.
        file_modes: Modes and group of a new file.
        lines: Reads the lines of the log, the first one first.
    """

    def __init__(
        self,
        path: Path,
        find_signer: FindSigner,
        file_modes: durable.FileModes,
        lines: Callable[[], Iterable[bytes]] = tuple,
    ) -> None:
        self.path = path
        self._find_signer = find_signer
        self._file_modes = file_modes
        self._lines = lines
        self._signer: LogSigner | None = None
        self._verified: tuple[bytes, Stored] | None = None

    def begin(self, head: Head, log: Reading) -> Signing | None:
        """Compare the log with its checkpoint, before new lines (§5.4).

        Args:
            head: The log's last good line.
            log: Reads the log where head and checkpoint differ; where they agree, no line is read.

        Returns:
            None if the append must not be signed: the node has no key, or the log does not contain the lines that were
            signed. A new signature would then hide that lines are missing.
        """
        try:
            data = self._data()
        except OSError:
            data = b""
        signer = self._present_signer(data)
        if signer is None:
            return None
        try:
            stored = self._loaded(signer, data)
        except (FormatError, IntegrityError, OSError):
            stored = None
        if stored is None:
            return Signing(signer, _grown(Frontier(), log.forwards()), _began(signer, head))
        if (stored.frontier.size, stored.head) == (head.seq, head.digest):
            found: Signing | None = Signing(signer, stored.frontier, ())
        else:
            found = _caught_up(signer, stored, head, log)
        return found and _rekeyed(found, stored, head)

    def new_log(self) -> Signing | None:
        """The state from which the first append to a new log makes its checkpoint; None if the node has no key."""
        signer = self.signer()
        return Signing(signer, Frontier(), _began(signer, Head())) if signer else None

    def finish(self, signing: Signing, new: Iterable[bytes], head: Head) -> None:
        """Sign the log with its new lines, which are synced already."""
        stored = _signed(signing, new, head)
        data = checkpoint_form.render(*stored)
        if not self._written_over(data):
            durable.replace_unsynced(self.path, data, self._file_modes)
        self._verified = data, stored

    def load(self, signer: LogSigner) -> Stored | None:
        """The checkpoint, verified; None if there is no file.

        Raises:
            FormatError: The checkpoint file is damaged.
            IntegrityError: The signature, or the stored tree beside it, does not verify.
        """
        return self._loaded(signer, self._data())

    def _data(self) -> bytes | None:
        try:
            handle = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
        try:
            return os.read(handle, _MOST_BYTES)
        finally:
            os.close(handle)

    def _loaded(self, signer: LogSigner, data: bytes | None) -> Stored | None:
        if data is None:
            return None
        if self._verified is None or data != self._verified[0]:
            stored = checkpoint_form.parse(data)
            checkpoint = signer.open(stored.note)
            if (checkpoint.size, checkpoint.root) != (stored.frontier.size, stored.frontier.root):
                stored = self._counted_again(data, stored, checkpoint)
            self._verified = data, stored
        return self._verified[1]

    def newest(self) -> Newest | None:
        """The newest checkpoint; None if the node has a key, and the log no checkpoint.

        Raises:
            NotFoundError: The node has no key that signs as yet.
            StrongroomError: The key cannot be opened, or the checkpoint is damaged or does not verify.
        """
        data = self._data()
        if self._knows_not_all(data):
            self.forget_signer()
        signer = self._signer or self._find_signer()
        if signer is None:
            raise NotFoundError(
                "the event log is not signed as yet", hint="there is no key that signs it"
            )
        stored = self._loaded(signer, data)
        if stored is None:
            return None
        checkpoint = signer.open(stored.note)
        return Newest(signer, checkpoint, stored.note, stored.head, stored.frontier)

    def sync(self) -> None:
        """Make the checkpoint durable, if there is one: what relies on it must find it after a power failure.

        Raises:
            StorageError: The disk refused.
        """
        try:
            handle = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
            try:
                os.fsync(handle)
            finally:
                os.close(handle)
        except FileNotFoundError:
            return
        except OSError as error:
            raise disk.problem(f"cannot sync {self.path}", error) from error
        durable.sync_folder(self.path.parent)

    def try_key(self) -> None:
        """Open the key that signs, if there is one.

        Raises:
            StrongroomError: The signing key exists and cannot be opened.
        """
        self._signer = self._signer or self._find_signer()

    def forget_signer(self) -> None:
        """Ask for the key that signs again at the next append: it was replaced."""
        self._signer = None

    def _written_over(self, data: bytes) -> bool:
        """Write over the file in place, if it is one for that: a name less to change at each append, and no new file."""
        if len(data) != checkpoint_form.FILE_BYTES:
            return False
        try:
            handle = os.open(self.path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
        except FileNotFoundError:
            return False
        except OSError as error:
            raise disk.problem(f"cannot write {self.path}", error) from error
        try:
            mark = checkpoint_form.MARK
            is_fit = (
                os.fstat(handle).st_size == len(data) and os.pread(handle, len(mark), 0) == mark
            )
            return is_fit and os.pwrite(handle, data, 0) == len(data)
        except OSError as error:
            raise disk.problem(f"cannot write {self.path}", error) from error
        finally:
            os.close(handle)

    def _counted_again(self, data: bytes, stored: Stored, checkpoint: Checkpoint) -> Stored:
        """The checkpoint with the tree that its note signs, after a power failure left nodes of another one beside it.

        Raises:
            IntegrityError: The log has not the lines that were signed, or the state was changed.
        """
        tree = Frontier()
        if checkpoint_form.is_written_over(data):
            with suppress(FileNotFoundError):
                tree = _grown(tree, islice(self._lines(), checkpoint.size))
        if (tree.size, tree.root) != (checkpoint.size, checkpoint.root):
            raise IntegrityError("the state of the checkpoint is not that of its note")
        return stored._replace(frontier=tree)

    def _present_signer(self, data: bytes | None) -> LogSigner | None:
        """The signer, asked for anew if another process signed with a key that replaced the one in memory."""
        if self._knows_not_all(data):
            self.forget_signer()
        return self.signer()

    def _knows_not_all(self, data: bytes | None) -> bool:
        """Whether the checkpoint has a signature of our name by a key that the signer in memory does not know."""
        if self._signer is None or data is None:
            return False
        if self._verified is not None and data == self._verified[0]:
            return False
        try:
            ids = notes.key_ids(checkpoint_form.parse(data).note, self._signer.verifier.name)
        except FormatError:
            return False
        return not ids <= self._signer.key_ids

    def signer(self) -> LogSigner | None:
        """The signer; None if the key cannot be opened: an event without a signature is better than a lost event."""
        if self._signer is None:
            with suppress(StrongroomError):
                self._signer = self._find_signer()
        return self._signer


def signed(signing: Signing, new: Iterable[bytes], head: Head) -> bytes:
    """The checkpoint, as its file holds it, of a log with its new lines."""
    return checkpoint_form.render(*_signed(signing, new, head))


def _signed(signing: Signing, new: Iterable[bytes], head: Head) -> Stored:
    tree = signing.tree.grown(*new)
    note = signing.signer.sign(tree.size, tree.root, with_former=signing.rekeys)
    return Stored(tree, head.digest, note)


def _grown(tree: Frontier, lines: Iterable[bytes]) -> Frontier:
    for line in lines:
        tree = tree.grown(line)
    return tree


def _began(signer: LogSigner, head: Head) -> tuple[Event, ...]:
    return (log_events.event_log_signed(signer.verifier.text, head.seq),)


def _rekeyed(signing: Signing, stored: Stored, head: Head) -> Signing:
    """The same, with the event of a new key if the stored checkpoint is by the former one alone."""
    signer = signing.signer
    if signer.former is None:
        return signing
    if signer.verifier.key_id in notes.key_ids(stored.note, signer.verifier.name):
        return signing
    event = log_events.event_log_rekeyed(signer.verifier.text, signer.former.text, head.seq)
    return signing._replace(remarks=(*signing.remarks, event), rekeys=True)


def _caught_up(signer: LogSigner, stored: Stored, head: Head, log: Reading) -> Signing | None:
    """The state of a log that has grown behind its checkpoint; None if the log lacks lines that were signed."""
    size = stored.frontier.size
    if head.seq < size:
        return None
    behind = _behind(stored, head.seq - size, log.backwards())
    if behind is None:
        # The checkpoint's last line is not where it must stand: lines were inserted, changed, or cut. Only the whole
        # tree shows whether the signed lines are still there, in order.
        tree = Frontier()
        for line in log.forwards():
            tree = tree.grown(line)
            if tree.size == size and tree.root != stored.frontier.root:
                return None
        if tree.size < size:
            # the log was cut, and its last line claims a higher number than it has: a signature would hide the loss
            return None
    else:
        tree = _grown(stored.frontier, behind)
    late = (
        (log_events.event_log_unsigned(first=size + 1, last=tree.size),) if tree.size > size else ()
    )
    return Signing(signer, tree, late)


def _behind(stored: Stored, count: int, backwards: Iterable[bytes]) -> list[bytes] | None:
    """The last `count` lines; None if the checkpoint's last line does not stand right before them."""
    found: list[bytes] = []
    for line in backwards:
        if len(found) == count:
            is_last = hashlib.sha256(line).hexdigest() == stored.head
            return found[::-1] if is_last else None
        found.append(line)
    return found[::-1] if stored.frontier.size == 0 and len(found) == count else None
