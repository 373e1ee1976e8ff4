"""Counts the lines of a log and makes the tree over them, most of it before the log's lock is taken. Pure reading."""

from typing import NamedTuple

from strongroom.eventlog.logfile import Snapshot
from strongroom.eventlog.merkle import Frontier


class Counted(NamedTuple):
    """The lines of a log up to a place.

    Attributes:
        tree: The tree over these lines.
        file: Device and inode of the log.
        end: The offset behind the last of these lines.
    """

    tree: Frontier
    file: tuple[int, int]
    end: int


def count(log: Snapshot) -> Counted:
    """The lines of a log; none of them if bytes behind the last valid line may still be set aside."""
    if log.is_torn:
        return Counted(Frontier(), log.file, 0)
    return Counted(_grown(Frontier(), log, 0), log.file, log.end)


def go_on(counted: Counted, log: Snapshot) -> Frontier:
    """The tree over all lines of a log of which some were counted before.

    Args:
        counted: The lines that were counted before.
        log: The log as it is now; the caller holds its lock.
    """
    is_longer = counted.file == log.file and counted.end <= log.end
    tree, start = (counted.tree, counted.end) if is_longer else (Frontier(), 0)
    return _grown(tree, log, start)


def _grown(tree: Frontier, log: Snapshot, start: int) -> Frontier:
    for line in log.lines(start=start):
        tree = tree.grown(line)
    return tree
