"""Verifies a log as a whole: its chain, and the checkpoints that it must agree with (format/events.md §6). Pure."""

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from strongroom.errors import FormatError
from strongroom.eventlog import chain, events
from strongroom.eventlog.chain import Break, Head
from strongroom.eventlog.merkle import Frontier
from strongroom.eventlog.notes import Checkpoint


class Report(NamedTuple):
    """The result of verifying a log.

    Attributes:
        head: The last good line.
        breaks: Lines that do not continue the one before.
        faults: Sentences on checkpoints that the lines contradict, or that are missing or damaged.
        late: Lines that were signed later than written, and where signing began again; in words.
        signed: How many lines this log's own checkpoint covers; None if it is not signed.
        unsigned: How many lines stand behind those.
        since: When the first unsigned line was written; empty if every line is signed, or none is.
    """

    head: Head
    breaks: tuple[Break, ...]
    faults: tuple[str, ...] = ()
    late: tuple[str, ...] = ()
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
        self.late: list[str] = []
        self.since = ""
        self._last = checkpoints[0].size if checkpoints else -1
        self._signings = 0
        self._sizes = {checkpoint.size for checkpoint in checkpoints}
        self.roots = {0: self.tree.root}

    def pass_on(self, lines: Iterable[bytes]) -> Iterator[bytes]:
        for line in lines:
            self.tree = self.tree.grown(line)
            if self.tree.size in self._sizes:
                self.roots[self.tree.size] = self.tree.root
            if self.tree.size == self._last + 1:
                self.since = _time_of(line)
            self._note(line)
            yield line

    def _note(self, line: bytes) -> None:
        # parsing is slow and the chain parses each line anyway: only lines about the log itself are parsed here as well
        if b'"id":"EVENT_LOG_' not in line:
            return
        try:
            record = chain.parse_line(line)
        except FormatError:
            return
        details = record["details"]
        if record["id"] == events.EVENT_LOG_UNSIGNED and isinstance(details, dict):
            self.late.append(
                f"lines {details['first']} to {details['last']} were signed only with line "
                f"{record['seq']}: their writer was killed, the power failed, or it was not us"
            )
        if record["id"] == events.EVENT_LOG_SIGNED:
            self._signings += 1
            if self._signings > 1:
                self.late.append(
                    f"signing began again at line {record['seq']}: the checkpoint was gone"
                )


def verify(lines: Iterable[bytes], checkpoints: Sequence[Checkpoint]) -> Report:
    """Recompute chain and tree.

    Args:
        lines: All lines, without their newlines.
        checkpoints: Checkpoints with which the log must agree; the caller has verified their signatures.
    """
    reader = _Reader(checkpoints)
    report = chain.verify(reader.pass_on(lines))
    faults = [words for one in checkpoints if (words := _fault(one, reader))]
    return Report(report.head, report.breaks, tuple(faults), tuple(reader.late), since=reader.since)


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
