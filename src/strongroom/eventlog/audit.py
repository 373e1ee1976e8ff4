"""Verifies a log as a whole: its chain, and the checkpoints that it must agree with (format/events.md §6). Pure."""

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from strongroom.errors import FormatError
from strongroom.eventlog import chain
from strongroom.eventlog.chain import Break, Head
from strongroom.eventlog.late import Doubt, Late, Remarks
from strongroom.eventlog.merkle import EMPTY, Frontier
from strongroom.eventlog.notes import Checkpoint


class Report(NamedTuple):
    """The result of verifying a log.

    Attributes:
        head: The last good line.
        breaks: Lines that do not continue the one before.
        faults: Sentences on checkpoints that the lines contradict, or that are missing or damaged.
        late: Lines that were signed later than they were written.
        tree: The tree over all lines.
        acknowledged: The names of what the log says to be acknowledged.
        archives: The names of the archived logs before this one that were verified, too, the newest first.
        doubts: Findings on archived logs that only an administrator can know to be right.
        signed: How many lines this log's own checkpoint covers; None if it is not signed.
        unsigned: How many lines stand behind those.
        since: When the first unsigned line was written; empty if every line is signed, or none is.
    """

    head: Head
    breaks: tuple[Break, ...]
    faults: tuple[str, ...] = ()
    late: tuple[Late, ...] = ()
    tree: Frontier = EMPTY
    acknowledged: frozenset[str] = frozenset()
    archives: tuple[str, ...] = ()
    doubts: tuple[Doubt, ...] = ()
    signed: int | None = None
    unsigned: int = 0
    since: str = ""

    @property
    def is_changed(self) -> bool:
        """Whether the log was tampered with: lines were changed, removed or inserted, or the checkpoint was changed."""
        return bool(self.breaks or self.faults)

    @property
    def is_whole(self) -> bool:
        """Whether nothing was changed, and the log is signed to its end if any line is signed."""
        return not self.is_changed and not self.unsigned

    @property
    def unacknowledged(self) -> tuple[Doubt, ...]:
        """Lines that were signed late, and findings on archived logs, which no administrator has acknowledged."""
        late = (Doubt(one.name, one.text) for one in self.late if not one.acknowledged)
        return (*late, *(one for one in self.doubts if one.name not in self.acknowledged))

    def with_checkpoint(self, own: Checkpoint | None, faults: Sequence[str]) -> "Report":
        """The report completed by the log's own checkpoint, which must be the first that `verify` was given."""
        found = self._replace(faults=(*self.faults, *faults))
        if own is None:
            return found._replace(since="")
        behind = max(0, self.head.seq - own.size)
        return found._replace(
            signed=min(own.size, self.head.seq),
            unsigned=behind,
            since=self.since if behind else "",
        )


class _Reader:
    """Passes lines on to the chain's verifier, and meanwhile builds the tree and collects remarks for the report."""

    def __init__(self, checkpoints: Sequence[Checkpoint]) -> None:
        self.tree = Frontier()
        self.remarks = Remarks()
        self.since = ""
        self._last = checkpoints[0].size if checkpoints else -1
        self._sizes = {checkpoint.size for checkpoint in checkpoints}
        self.roots = {0: self.tree.root}

    def pass_on(self, lines: Iterable[bytes]) -> Iterator[bytes]:
        for line in lines:
            self.tree = self.tree.grown(line)
            if self.tree.size in self._sizes:
                self.roots[self.tree.size] = self.tree.root
            if self.tree.size == self._last + 1:
                self.since = _time_of(line)
            self.remarks.take(line, self.tree.size)
            yield line


def verify(lines: Iterable[bytes], checkpoints: Sequence[Checkpoint]) -> Report:
    """Recompute chain and tree.

    Args:
        lines: All lines, without their newlines.
        checkpoints: Checkpoints with which the log must agree; the caller has verified their signatures.
    """
    reader = _Reader(checkpoints)
    report = chain.verify(reader.pass_on(lines))
    faults = [words for one in checkpoints if (words := _fault(one, reader))]
    return Report(
        head=report.head,
        breaks=report.breaks,
        faults=tuple(faults),
        late=reader.remarks.late(),
        tree=reader.tree,
        acknowledged=reader.remarks.acknowledged(),
        since=reader.since,
    )


def fault(lines: Iterable[bytes], checkpoint: Checkpoint) -> str:
    """A sentence on how the lines contradict a checkpoint; empty if they agree.

    Only the tree is computed and no line is parsed, which is much quicker than `verify`.
    """
    tree = Frontier()
    for line in lines:
        if tree.size == checkpoint.size:
            break
        tree = tree.grown(line)
    return _words(checkpoint, tree.size, tree.root)


def _time_of(line: bytes) -> str:
    try:
        return str(chain.parse_line(line)["time"])
    except FormatError:
        return ""


def _fault(checkpoint: Checkpoint, reader: _Reader) -> str:
    root = reader.roots.get(checkpoint.size, b"")
    return _words(checkpoint, reader.tree.size, root)


def _words(checkpoint: Checkpoint, lines: int, root: bytes) -> str:
    if checkpoint.size > lines:
        cut = checkpoint.size - lines
        return f"{cut} of the {checkpoint.size} lines that were signed are missing at the end"
    if root != checkpoint.root:
        return f"the first {checkpoint.size} lines are not those that were signed"
    return ""
