"""A log, its checkpoint and the logs before it, of one moment."""

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import NamedTuple

from strongroom.eventlog.checkpoints import Newest
from strongroom.eventlog.logfile import Progress, Snapshot, Tail
from strongroom.eventlog.notes import Checkpoint


class State(NamedTuple):
    """A log and its checkpoint, of one moment.

    Attributes:
        log: The lines of the log; None if there is no log.
        tail: The last valid line; None if the end of the log holds no valid line.
        newest: The verified checkpoint; None if the log has no checkpoint that verifies.
        faults: Sentences on why the checkpoint is missing or does not verify.
        archives: The archived logs by the names of their files, if they were asked for.
    """

    log: Snapshot | None
    tail: Tail | None
    newest: Newest | None
    faults: tuple[str, ...]
    archives: Mapping[str, Snapshot] = MappingProxyType({})

    @property
    def signed(self) -> Checkpoint | None:
        """The checkpoint, if there is one that verifies."""
        return self.newest.checkpoint if self.newest else None

    @property
    def ends_signed(self) -> bool:
        """Whether the last line is that of the checkpoint; what stands before it was not read."""
        if self.newest is None or self.tail is None:
            return False
        return self.tail.head == (self.newest.checkpoint.size, self.newest.head)

    def lines(self, progress: Progress | None = None) -> Iterable[bytes]:
        """The lines of the log."""
        return () if self.log is None else self.log.lines(progress)
