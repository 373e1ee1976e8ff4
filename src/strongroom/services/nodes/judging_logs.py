"""Judges the event log of a node by the heads that others witnessed, without a line of it; pure.

The order is that of docs/format/log-heads.md 4. A head that contradicts a witness is a fault: the owner of the node cut
its log, forked it or put it back. What is not shown is no fault as long as there was no time to show it.
"""

from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Final, NamedTuple

from strongroom.clock import format_utc_ms
from strongroom.coordination.board import Posted
from strongroom.errors import FormatError, IntegrityError
from strongroom.eventlog import cosignatures, extending, notes
from strongroom.eventlog.cosignatures import Witness
from strongroom.eventlog.extending import Base
from strongroom.eventlog.merkle import Frontier
from strongroom.eventlog.notes import Checkpoint, Verifier
from strongroom.joining import log_heads
from strongroom.joining.log_heads import LogHeads, Seen
from strongroom.joining.registry import RegisteredNode
from strongroom.services.keys import log_signing

EVERY_MS: Final = 60_000
"""Milliseconds between two heads of a node."""
SILENT_MS: Final = 3 * EVERY_MS
"""The age from which on a note says nothing of now."""
SHOWN_MS: Final = 10_000
"""How long after a witness a node may post a note that was made before it."""


class LogState(StrEnum):
    """The states of an event log, in the eyes of a reader."""

    OK = "OK"
    CHANGED = "CHANGED"
    UNPROVED = "UNPROVED"


class Head(NamedTuple):
    """The head of a log, verified.

    Attributes:
        shown: The note in which it stands.
        checkpoint: The checkpoint that the node signed.
    """

    shown: LogHeads
    checkpoint: Checkpoint


class Known(NamedTuple):
    """A log as a witness knew it.

    Attributes:
        watcher: The witness.
        base: The log.
        at: The time of the cosignature, in words; empty before the first time.
        is_due: Whether the node had the time to show how its log goes on from there.
    """

    watcher: str
    base: Base
    at: str = ""
    is_due: bool = False

    @property
    def words(self) -> str:
        """The witness and the time, in words."""
        return f"{self.watcher} witnessed at {self.at}"


class WitnessSaid(NamedTuple):
    """The word of a witness on a log.

    Attributes:
        node_id: The witness.
        size: How many lines it witnessed last.
        at: When.
        is_contained: Whether the log goes on from there; None if that is not shown.
    """

    node_id: str
    size: int
    at: str
    is_contained: bool | None


class JudgedLog(NamedTuple):
    """An event log of a cluster, as it is proved from here.

    Attributes:
        node_id: The node.
        size: How many lines it signed, by its newest head; None if none is known.
        witnesses: The words of the others.
        faults: Sentences on what contradicts it.
        unproved: Sentences on what was not proved.
        at: The time of the head, by the node's clock; empty if there is none.
        is_renewed: Whether the head is not by the key that the registry names, as for a moment when that is renewed.
    """

    node_id: str
    size: int | None = None
    witnesses: tuple[WitnessSaid, ...] = ()
    faults: tuple[str, ...] = ()
    unproved: tuple[str, ...] = ()
    at: str = ""
    is_renewed: bool = False

    @property
    def state(self) -> LogState:
        """The state."""
        if self.faults:
            return LogState.CHANGED
        return LogState.UNPROVED if self.unproved else LogState.OK


class LogNotes(NamedTuple):
    """All that a reader has of the nodes' notes.

    Attributes:
        own: The node of the reader.
        installation_id: The installation.
        nodes: The nodes of the registry that are not gone.
        notes: The notes by their names.
        now_ms: The present, by the clock of the board.
        memory: The heads that the reader's node has witnessed, by node.
    """

    own: str
    installation_id: str
    nodes: Mapping[str, RegisteredNode]
    notes: Mapping[str, Posted]
    now_ms: int
    memory: Mapping[str, Seen]

    def posted(self, node_id: str) -> Posted | None:
        """The note of a node; None if nothing hangs there."""
        found = self.notes.get(log_heads.name_of(node_id))
        return found if found is not None and found.value else None

    def opened(self, node_id: str) -> LogHeads:
        """The note of a node, which is the node's own and hangs where it was made to hang.

        Raises:
            FormatError: The note is damaged.
            IntegrityError: Another one wrote it, or it was posted again.
        """
        posted = self.posted(node_id)
        if posted is None:
            raise IntegrityError("there is none")
        public = self.nodes[node_id].keys.signing
        found = log_heads.opened(posted.value, self.installation_id, node_id, public)
        if (found.born, found.version) != (posted.born, posted.version):
            raise IntegrityError(
                f"it was written to be version {found.version}, and hangs there as {posted.version}:"
                " an older one was posted again"
            )
        return found

    def head(self, found: LogHeads) -> Head:
        """The head of a node's log, by the note of the node.

        Raises:
            FormatError: The note has no checkpoint.
            IntegrityError: The checkpoint is not signed by the key that the registry names for that log.
        """
        node_id = found.node_id
        name = log_signing.origin(self.installation_id, node_id)
        return Head(found, notes.open_note(found.head, Verifier(name, self.nodes[node_id].log_key)))

    def known_by(self, watcher: str, node_id: str) -> Known | None:
        """A log as a witness says that it knew it; None if it says nothing that is believed.

        Raises:
            FormatError: The word of the witness is damaged.
            IntegrityError: The word is not of the witness, or on another log.
        """
        known = self.memory if watcher == self.own else self.opened(watcher).seen
        seen = known.get(node_id)
        return None if seen is None else self._checked(watcher, node_id, seen)

    def _checked(self, watcher: str, node_id: str, seen: Seen) -> Known:
        name = log_signing.origin(self.installation_id, watcher)
        if watcher == self.own:
            # of this node's own disk, and perhaps of a key that it had before
            seconds = cosignatures.told_at(seen.note, name)
        else:
            witness = Witness(name, self.nodes[watcher].keys.signing)
            seconds = cosignatures.check(seen.note, witness)
        told = notes.told_by(seen.note)
        tree = seen.base.tree
        wanted = (log_signing.origin(self.installation_id, node_id), tree.size, tree.root)
        if tuple(told) != wanted:
            raise IntegrityError("what it cosigned is the head of another log")
        own, other = self.posted(node_id), self.posted(watcher)
        is_due = own is not None and other is not None and own.at_ms > other.at_ms + SHOWN_MS
        return Known(watcher, seen.base, format_utc_ms(seconds * 1000), is_due)


def follow(head: Head, known: Known) -> Frontier | None:
    """The tree of a log that goes on from what a witness knew; None if that is not shown as yet.

    Raises:
        IntegrityError: The log does not go on from there; the message says why.
    """
    shown, size, base = head.shown, head.checkpoint.size, known.base
    if shown.lines < size:
        raise IntegrityError(
            f"it signed line {size}, and its log ends at line {shown.lines}:"
            f" {_missing(shown.lines, size)}"
        )
    if (size, head.checkpoint.root) == (base.tree.size, base.tree.root):
        return base.tree
    path = shown.paths.get(known.watcher)
    if path is not None and path.begins_at(base):
        try:
            return extending.followed(base, path.steps, head.checkpoint)
        except IntegrityError:
            raise IntegrityError(_contradiction(size, known)) from None
    if base.tree.size and shown.first == base.first and size <= base.tree.size:
        raise IntegrityError(_contradiction(size, known))
    if known.is_due:
        raise IntegrityError(
            f"it does not show that its log goes on from line {base.tree.size}, which {known.words}:"
            " the log was forked, put back or begun anew"
        )
    return None


def judge(board: LogNotes, node_id: str, head: Head) -> JudgedLog:
    """A log by its verified head, and by what every other node witnessed of it.

    Args:
        board: The notes of all nodes.
        node_id: The node.
        head: The head.
    """
    said, faults, unproved = list[WitnessSaid](), list[str](), list[str]()
    for watcher in board.nodes:
        if watcher == node_id:
            continue
        try:
            known = board.known_by(watcher, node_id)
        except (FormatError, IntegrityError) as error:
            unproved.append(f"what {watcher} says of it is not believed: {error.message}")
            continue
        if known is None:
            unproved.append(f"{watcher} has not witnessed it as yet")
            continue
        try:
            is_contained: bool | None = True if follow(head, known) is not None else None
        except IntegrityError as error:
            is_contained = False
            faults.append(error.message)
        if is_contained is None:
            unproved.append(f"that it goes on from what {known.words} is not shown as yet")
        said.append(WitnessSaid(watcher, known.base.tree.size, known.at, is_contained))
    return JudgedLog(
        node_id,
        head.checkpoint.size,
        tuple(said),
        tuple(dict.fromkeys(faults)),
        tuple(unproved),
        head.shown.at,
    )


def judge_shown(board: LogNotes, node_id: str) -> JudgedLog:
    """The log of another node, by the note that the node posted."""
    posted = board.posted(node_id)
    if posted is None:
        return JudgedLog(node_id, unproved=("it has never shown its event log",))
    if not board.nodes[node_id].log_key:
        words = "it has not said by which key it alone signs its event log"
        return JudgedLog(node_id, unproved=(words,))
    try:
        shown = board.opened(node_id)
    except (FormatError, IntegrityError) as error:
        return JudgedLog(node_id, faults=(f"its note is not believed: {error.message}",))
    try:
        head = board.head(shown)
    except (FormatError, IntegrityError) as error:
        # the node itself says that this is its head, and a moment after a regeneration its key is another one
        words = f"its head is not signed by the key that the registry names: {error.message}"
        return JudgedLog(node_id, unproved=(words,), at=shown.at, is_renewed=True)
    found = judge(board, node_id, head)
    if board.now_ms - posted.at_ms <= SILENT_MS:
        return found
    words = f"it does not answer: what it showed last is of {format_utc_ms(posted.at_ms)}"
    return found._replace(unproved=(words, *found.unproved))


def is_waiting(found: Iterable[JudgedLog]) -> bool:
    """Whether a log may be shown in a moment to go on from what was witnessed."""
    return any(
        log.is_renewed or any(one.is_contained is None for one in log.witnesses) for log in found
    )


def _contradiction(size: int, known: Known) -> str:
    base = known.base.tree.size
    if size < base:
        return f"it ends at line {size}, and {known.words} line {base}: {_missing(size, base)}"
    return f"its first {base} lines are not those that {known.words}: the log was forked"


def _missing(last: int, size: int) -> str:
    if size == last + 1:
        return f"line {size} is missing"
    return f"lines {last + 1} to {size} are missing"
