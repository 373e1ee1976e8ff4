"""Follows a log through the archived logs before it, to the first one (format/events.md §7.2).

The first lines of a log that follows an archived one name that one, with the size and the root of the tree over its
lines. So the present log, which a checkpoint signs, speaks for the one before it, and that one for the one before.
"""

from collections.abc import Iterable, Mapping
from itertools import islice
from typing import NamedTuple

from strongroom.errors import FormatError, IntegrityError
from strongroom.eventlog import anchored, audit, chain
from strongroom.eventlog.chain import Head
from strongroom.eventlog.events import log_events
from strongroom.eventlog.late import Doubt
from strongroom.eventlog.logfile import Progress, Snapshot
from strongroom.eventlog.merkle import HASH_BYTES, Frontier
from strongroom.eventlog.notes import Checkpoint
from strongroom.eventlog.state import State

FIRST_LINES = 2
"""A log that follows an archived one names that one in one of so many first lines."""


class Link(NamedTuple):
    """The log before, as the log after it names it.

    Attributes:
        file: The name of its file.
        last: Number and digest of its last valid line.
        lines: How many lines the log had, and the root over them; None where an earlier release archived it.
        whole: Whether the log verified when it was archived; True where an earlier release archived it.
    """

    file: str
    last: Head
    lines: Checkpoint | None
    whole: bool

    def fits(self, found: audit.Report) -> bool:
        """Whether a log that was read is the one that is meant."""
        if self.lines is None:
            return found.head == self.last
        return found.tree.size == self.lines.size and not found.faults

    def was_whole(self, found: audit.Report) -> bool:
        """Whether the log that was read verified when it was archived."""
        return self.whole and not found.breaks


class Lineage(NamedTuple):
    """The result of following a log to the first one.

    Attributes:
        files: The names of the archived logs that were verified, the newest first.
        faults: Sentences on archived logs that are not those that the next ones name.
        doubts: Findings that only an administrator can know to be right.
        acknowledged: The names that the archived logs say to be acknowledged.
    """

    files: tuple[str, ...] = ()
    faults: tuple[str, ...] = ()
    doubts: tuple[Doubt, ...] = ()
    acknowledged: frozenset[str] = frozenset()


def link_of(lines: Iterable[bytes]) -> Link | None:
    """The log before the one that begins with these lines; None if it names none."""
    for line in islice(lines, FIRST_LINES):
        try:
            record = chain.parse_line(line)
            details = record["details"]
            if record["id"] == log_events.EVENT_LOG_ARCHIVED and isinstance(details, dict):
                return _link(details)
        except (FormatError, KeyError, TypeError, ValueError):
            continue
    return None


def follow(
    link: Link | None, archives: Mapping[str, Snapshot], progress: Progress | None = None
) -> Lineage:
    """Verify each archived log by the one after it.

    Args:
        link: The log before the present one, as the present one names it.
        archives: The archived logs that are there, by the names of their files.
        progress: Called with the number of bytes of each; returns the callback for bytes read, or None.
    """
    files, faults, doubts = list[str](), list[str](), list[Doubt]()
    acknowledged = set[str]()
    while link is not None and link.file not in files:
        found = archives.get(link.file)
        if found is None:
            doubts.append(Doubt(link.file, f"the archived log {link.file} is not here"))
            break
        report = audit.verify(found.lines(progress), (link.lines,) if link.lines else ())
        files.append(link.file)
        if not link.fits(report):
            faults.append(f"the archived log {link.file} is not the one that the next log names")
            break
        if not link.was_whole(report):
            words = f"the archived log {link.file} was changed before it was archived"
            doubts.append(Doubt(link.file, words))
        doubts += [_of_archive(link.file, one) for one in report.unacknowledged]
        acknowledged |= report.acknowledged
        link = link_of(found.lines())
    strange = sorted(archives.keys() - set(files)) if not faults else ()
    doubts += [Doubt(name, f"no log names the archived log {name}") for name in strange]
    return Lineage(tuple(files), tuple(faults), tuple(doubts), frozenset(acknowledged))


def signed_since(before: Frontier, state: State) -> Frontier:
    """The tree over the signed lines of a log that goes on from an earlier state, or that follows one that does.

    Args:
        before: The tree over the signed lines, as it was.
        state: The log, its checkpoint and the archived logs now.

    Raises:
        IntegrityError: Lines that were signed are gone or others, or the log is not signed any more.
    """
    newest, log, tail = state.newest, state.log, state.tail
    if newest is None or log is None or tail is None:
        why = state.faults[0] if state.faults else "it is not signed any more"
        raise IntegrityError(f"the event log had {before.size} signed lines, and now {why}")
    signed = newest.checkpoint
    unsigned = tail.head.seq - signed.size
    backwards = islice(log.valid_backwards(), max(0, unsigned), None)
    if unsigned >= 0 and anchored.goes_on(before, backwards, (signed.size, signed.root)):
        return newest.tree
    # Only the log's first lines say which one it follows: all lines must be those that were signed.
    link = None if audit.fault(log.lines(), signed) else link_of(log.lines())
    if _leads_to(before, link, state.archives):
        return newest.tree
    raise IntegrityError(
        f"the event log had {before.size} signed lines, and does not go on from them: it was put back, or cut"
    )


def _leads_to(before: Frontier, link: Link | None, archives: Mapping[str, Snapshot]) -> bool:
    """Whether an archived log goes on from an earlier state, of those that a verified log names one behind the other."""
    seen = set[str]()
    while link is not None and link.lines is not None and link.file not in seen:
        seen.add(link.file)
        size, root = link.lines.size, link.lines.root
        if (before.size, before.root) == (size, root):
            return True  # also where the archived log was moved away since
        found = archives.get(link.file)
        if found is None:
            return False
        if anchored.goes_on(before, found.lines_backwards(), (size, root)):
            return True
        link = None if audit.fault(found.lines(), link.lines) else link_of(found.lines())
    return False


def added(report: audit.Report, found: Lineage) -> audit.Report:
    """The report on the present log together with what was found of those before it."""
    return report._replace(
        faults=(*report.faults, *found.faults),
        archives=found.files,
        doubts=found.doubts,
        acknowledged=report.acknowledged | found.acknowledged,
    )


def _of_archive(file: str, doubt: Doubt) -> Doubt:
    return Doubt(f"{file}:{doubt.name}", f"of the archived log {file}, {doubt.text}")


def _link(details: Mapping[str, object]) -> Link:
    """Raises KeyError or ValueError where the details are not those of our event."""
    last = Head(_number(details["last"]), str(details["sha256"]))
    if "root" not in details:
        return Link(str(details["file"]), last, None, whole=True)
    root = bytes.fromhex(str(details["root"]))
    if len(root) != HASH_BYTES:
        raise ValueError(root)
    lines = Checkpoint("", _number(details["size"]), root)
    return Link(str(details["file"]), last, lines, whole=details["whole"] is True)


def _number(value: object) -> int:
    if not isinstance(value, int):
        raise TypeError(value)
    return value
