"""Reads and verifies logs without their lock, such as archived logs and copies; changes nothing."""

from pathlib import Path

from strongroom.eventlog import audit, logfile
from strongroom.eventlog.logfile import Progress
from strongroom.eventlog.notes import Checkpoint
from strongroom.system import disk


def read_checkpoint(path: Path) -> bytes:
    """The checkpoint beside a log that a node may be writing: as it was in one moment, though it is written over in place.

    Raises:
        OSError: The file cannot be read.
    """
    data = path.read_bytes()
    while (again := path.read_bytes()) != data:
        data = again
    return data


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
