"""Verifies a log outside a node, such as an archived log or a copy; takes no lock, changes nothing."""

from pathlib import Path

from strongroom.eventlog import audit, logfile
from strongroom.eventlog.logfile import Progress
from strongroom.eventlog.notes import Checkpoint
from strongroom.system import disk


def verify(path: Path, *kept: Checkpoint, progress: Progress | None = None) -> audit.Report:
    """Recompute the chain of a log outside a node, such as an archived log or a copy; takes no lock, changes nothing.

    Args:
        path: The log.
        kept: Checkpoints, verified, with which it must agree.
        progress: Called with the number of bytes to read; returns the callback for bytes read, or None.

    Raises:
        StorageError: The file cannot be read.
    """
    try:
        with logfile.snapshot(path) as found:
            return audit.verify(found.lines(progress), kept)
    except OSError as error:
        raise disk.problem(f"the event log {path} cannot be read", error) from error
