"""Keeps the signed checkpoint beside an event log (format/events.md §5). The log's lock is the caller's."""

import base64
import json
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from strongroom import durable
from strongroom.errors import FormatError, IntegrityError, NotFoundError, StrongroomError
from strongroom.eventlog import chain, events, notes
from strongroom.eventlog.base import Event
from strongroom.eventlog.chain import Head
from strongroom.eventlog.merkle import Frontier
from strongroom.eventlog.notes import Checkpoint, LogSigner

#: The signer of this log; None while there is none, as before a node has its keys.
FindSigner = Callable[[], LogSigner | None]


class Stored(NamedTuple):
    """A checkpoint as it lies in its file.

    Attributes:
        frontier: The tree at its size.
        head: Digest of its last line.
        note: The signed note.
    """

    frontier: Frontier
    head: str
    note: bytes


class Signing(NamedTuple):
    """What an append has to do about the checkpoint.

    Attributes:
        signer: Who signs.
        tree: The tree before the new lines.
        told: Events that must come first.
    """

    signer: LogSigner
    tree: Frontier
    told: tuple[Event, ...]


class CheckpointFile:
    """The newest checkpoint of one log."""

    def __init__(self, path: Path, find_signer: FindSigner, access: durable.Access) -> None:
        self.path = path
        self._find_signer = find_signer
        self._access = access
        self._signer: LogSigner | None = None
        self._verified: bytes | None = None

    def begin(self, head: Head, lines: Callable[[], Iterable[bytes]]) -> Signing | None:
        """Compare the log with its checkpoint, before new lines (§5.4).

        Args:
            head: The log's last good line.
            lines: Reads all its lines; called only if they are needed.

        Returns:
            None if nothing is to be signed: there is no key, or the log was cut.
        """
        signer = self.signer()
        if signer is None:
            return None
        try:
            stored = self.load(signer)
        except (FormatError, IntegrityError, OSError):
            stored = None
        if stored is None:
            tree = Frontier()
            for line in lines():
                tree = tree.grown(line)
            return Signing(signer, tree, (events.event_log_signed(signer.verifier.text, head.seq),))
        if (stored.frontier.size, stored.head) == (head.seq, head.digest):
            return Signing(signer, stored.frontier, ())
        return _caught_up(signer, stored, head, lines())

    def finish(self, signing: Signing, new: Iterable[bytes], head: Head) -> None:
        """Sign the log with its new lines, which are synced already."""
        tree = signing.tree
        for line in new:
            tree = tree.grown(line)
        note = signing.signer.sign(tree.size, tree.root)
        state = {
            "frontier": [base64.b64encode(node).decode("ascii") for node in tree.nodes],
            "head": head.digest,
        }
        data = json.dumps(state, sort_keys=True, separators=(",", ":")).encode() + b"\n" + note
        durable.replace_unsynced(self.path, data, self._access)
        self._verified = data

    def load(self, signer: LogSigner) -> Stored | None:
        """The checkpoint, verified; None if there is no file.

        Raises:
            FormatError: It is damaged.
            IntegrityError: It does not verify.
        """
        try:
            data = self.path.read_bytes()
        except FileNotFoundError:
            return None
        state, _, note = data.partition(b"\n")
        stored = _parse_state(state, note)
        if data != self._verified:
            checkpoint = notes.open_note(note, signer.verifier)
            if (checkpoint.size, checkpoint.root) != (stored.frontier.size, stored.frontier.root):
                raise IntegrityError("the state of the checkpoint is not that of its note")
            self._verified = data
        return stored

    def newest(self) -> tuple[LogSigner, Checkpoint, bytes] | None:
        """Signer, checkpoint and note; None if there is a key, and no checkpoint.

        Raises:
            NotFoundError: There is no key as yet.
            StrongroomError: The key cannot be opened, or the checkpoint is damaged or does not verify.
        """
        signer = self._signer or self._find_signer()
        if signer is None:
            raise NotFoundError(
                "the event log is not signed as yet", hint="there is no key that signs it"
            )
        stored = self.load(signer)
        if stored is None:
            return None
        return signer, notes.open_note(stored.note, signer.verifier), stored.note

    def signer(self) -> LogSigner | None:
        """Who signs; None if the key cannot be opened: events must be kept all the same."""
        if self._signer is None:
            with suppress(StrongroomError):
                self._signer = self._find_signer()
        return self._signer


def _caught_up(
    signer: LogSigner, stored: Stored, head: Head, lines: Iterable[bytes]
) -> Signing | None:
    """The tree with the lines that came behind the checkpoint; None if they do not follow it."""
    size = stored.frontier.size
    if head.seq < size:
        return None
    tree = Frontier()
    for line in lines:
        tree = tree.grown(line)
        if tree.size == size and tree.root != stored.frontier.root:
            return None
    late = (events.event_log_unsigned(first=size + 1, last=tree.size),) if tree.size > size else ()
    return Signing(signer, tree, late)


def _parse_state(state: bytes, note: bytes) -> Stored:
    message = "the checkpoint of the event log is damaged"
    try:
        members = json.loads(state)
        nodes = tuple(base64.b64decode(node, validate=True) for node in members["frontier"])
        size = int(note.split(b"\n", 2)[1])
        stored = Stored(Frontier(size, nodes), str(members["head"]), note)
    except (ValueError, TypeError, KeyError, IndexError, RecursionError) as error:
        raise FormatError(message) from error
    if size < 0 or not stored.frontier.is_sound or len(stored.head) != len(chain.FIRST_PREV):
        raise FormatError(message)
    return stored
