"""Verifies a log as a whole: its chain, and the checkpoints that it must agree with (format/events.md §6). Pure."""

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from strongroom.errors import FormatError
from strongroom.eventlog import chain, events
from strongroom.eventlog.chain import Break, Head
from strongroom.eventlog.merkle import Frontier
from strongroom.eventlog.notes import Checkpoint


class Report(NamedTuple):
    """What verifying found.

    Attributes:
        head: The last good line.
        breaks: Lines that do not continue the one before.
        faults: What does not fit a checkpoint, in words.
        late: Lines that were signed later than written, and where signing began again; in words.
        signed: How many lines this log's own checkpoint covers; None if it is not signed.
        unsigned: How many lines stand behind it.
    """

    head: Head
    breaks: tuple[Break, ...]
    faults: tuple[str, ...] = ()
    late: tuple[str, ...] = ()
    signed: int | None = None
    unsigned: int = 0

    @property
    def is_whole(self) -> bool:
        """Whether nothing was changed, and all of it is signed if any is."""
        return not self.breaks and not self.faults and not self.unsigned

    def with_checkpoint(self, own: Checkpoint | None, faults: Sequence[str]) -> "Report":
        """The report with what is known of the log's own checkpoint."""
        if own is None:
            return self._replace(faults=(*self.faults, *faults))
        behind = max(0, self.head.seq - own.size)
        return self._replace(
            faults=(*self.faults, *faults), signed=min(own.size, self.head.seq), unsigned=behind
        )


class _Reader:
    """Passes lines on and keeps what is to be said about them."""

    def __init__(self, checkpoints: Iterable[Checkpoint]) -> None:
        self.tree = Frontier()
        self.late: list[str] = []
        self._signings = 0
        self._sizes = {checkpoint.size for checkpoint in checkpoints}
        self.roots = {0: self.tree.root}

    def pass_on(self, lines: Iterable[bytes]) -> Iterator[bytes]:
        for line in lines:
            self.tree = self.tree.grown(line)
            if self.tree.size in self._sizes:
                self.roots[self.tree.size] = self.tree.root
            self._note(line)
            yield line

    def _note(self, line: bytes) -> None:
        # most lines are not about the log itself, and are parsed once only
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
        checkpoints: What the log must begin with; their signatures were verified.
    """
    reader = _Reader(checkpoints)
    report = chain.verify(reader.pass_on(lines))
    faults = [fault for one in checkpoints if (fault := _fault(one, reader))]
    return Report(report.head, report.breaks, tuple(faults), tuple(reader.late))


def _fault(checkpoint: Checkpoint, reader: _Reader) -> str:
    if checkpoint.size > reader.tree.size:
        cut = checkpoint.size - reader.tree.size
        return f"{cut} of the {checkpoint.size} lines that were signed are missing at the end"
    if reader.roots[checkpoint.size] != checkpoint.root:
        return f"the first {checkpoint.size} lines are not those that were signed"
    return ""
