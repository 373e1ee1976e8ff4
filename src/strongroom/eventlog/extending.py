"""Shows that a log goes on from an earlier head, to whoever has no line of it (docs/format/log-heads.md 3).

Whoever knew the log keeps the tree over the lines that it had then. The roots of the subtrees over the lines that came
since make of it the tree of today, and so prove that no line before was changed or removed. That is the consistency
proof of RFC 6962 2.1.2, whose other half the reader has already. A log that was archived goes on in the one that names
it, size and root, in its first lines.
"""

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Final, NamedTuple

from strongroom.errors import IntegrityError
from strongroom.eventlog import lineage, merkle
from strongroom.eventlog.logfile import Snapshot
from strongroom.eventlog.merkle import EMPTY, Frontier, Span
from strongroom.eventlog.notes import Checkpoint
from strongroom.eventlog.state import State

NO_LOG: Final = ""
"""The name of the log of whoever has not seen one."""


class Base(NamedTuple):
    """A log as somebody knew it.

    Attributes:
        first: SHA-256 of its first line, in hexadecimal digits, which tells it from those after it; empty if none was
            known.
        tree: The tree over its lines.
    """

    first: str = NO_LOG
    tree: Frontier = EMPTY


class Step(NamedTuple):
    """The lines that one log got.

    Attributes:
        opening: The first lines of the log, of which one names the log before; none where the base is of this very log.
        span: The roots over those behind the opening, or behind the base.
    """

    opening: tuple[bytes, ...]
    span: Span


class Shown(NamedTuple):
    """A log, as its node shows it to others.

    Attributes:
        note: The newest checkpoint, signed; empty if there is none.
        first: As in `Base`.
        lines: How many lines there are.
        paths: The steps from each base that was asked for; none for a base that the log does not go on from.
    """

    note: bytes
    first: str
    lines: int
    paths: Mapping[str, tuple[Step, ...]]


def show(state: State, bases: Mapping[str, Base]) -> Shown:
    """The log of one moment, to those who knew it at their bases.

    Args:
        state: The log, its checkpoint and the archived logs.
        bases: The log as each of them knew it, by their names.
    """
    if state.log is None or state.tail is None or state.newest is None:
        return Shown(b"", NO_LOG, 0, {})
    first = first_of(state.log)
    paths = dict[str, tuple[Step, ...]]()
    if state.tail.head.seq >= state.newest.checkpoint.size:
        for name, base in bases.items():
            path = _path(state, base, first)
            if path is not None:
                paths[name] = path
    return Shown(state.newest.note, first, state.tail.head.seq, paths)


def followed(base: Base, path: Sequence[Step], head: Checkpoint) -> Frontier:
    """The tree of a log, once its steps lead from a base to a head that was signed.

    Raises:
        IntegrityError: The steps do not lead there: lines that the base has are gone, or others.
    """
    tree = base.tree
    for number, step in enumerate(path):
        if number:
            link = lineage.link_of(step.opening)
            if link is None or link.lines is None or link.lines[1:] != (tree.size, tree.root):
                raise IntegrityError("the log that was begun does not name the one before")
            tree = EMPTY
            for line in step.opening:
                tree = tree.grown(line)
        tree = tree.followed_by(step.span)
    if (tree.size, tree.root) != (head.size, head.root):
        raise IntegrityError("the lines that came do not lead to the head that is signed")
    return tree


def first_of(log: Snapshot) -> str:
    """SHA-256 of the first line of a log, in hexadecimal digits; empty if it has none."""
    return next((hashlib.sha256(line).hexdigest() for line in log.lines()), NO_LOG)


# ---- inside ----------------------------------------------------------------------------------------


def _path(state: State, base: Base, first: str) -> tuple[Step, ...] | None:
    """The steps from a base to the checkpoint; None if the log does not have as many lines, or is not known."""
    newest, log = state.newest, state.log
    if newest is None or log is None or state.tail is None:
        return None
    size = newest.checkpoint.size
    if base.tree.size == 0:
        return (Step((), Span(0, size, newest.tree.nodes)),)
    if base.first == first:
        if base.tree.size > size:
            return None
        behind = state.tail.head.seq - size
        return (Step((), _span(log, base.tree.size, size, behind)),)
    earlier = _before(log, base.first, state.archives)
    if earlier is None:
        return None
    return _through([*earlier, log], base.tree.size, size)


def _before(log: Snapshot, first: str, archives: Mapping[str, Snapshot]) -> list[Snapshot] | None:
    """The archived logs from the one with this first line up to the one before `log`; None if none of them is that."""
    found, seen = list[Snapshot](), set[str]()
    link = lineage.link_of(log.lines())
    while link is not None and link.file in archives and link.file not in seen:
        seen.add(link.file)
        found.insert(0, archives[link.file])
        if first_of(found[0]) == first:
            return found
        link = lineage.link_of(found[0].lines())
    return None


def _through(logs: Sequence[Snapshot], begin: int, last: int) -> tuple[Step, ...]:
    steps = list[Step]()
    for number, log in enumerate(logs):
        opening = tuple(islice(log.lines(), lineage.FIRST_LINES)) if number else ()
        skipped = len(opening) if number else begin
        end = last if number == len(logs) - 1 else None
        steps.append(Step(opening, merkle.span(skipped, islice(log.lines(), skipped, end))))
    return tuple(steps)


def _span(log: Snapshot, begin: int, end: int, behind: int) -> Span:
    """The span of a log's lines from one to another; read from the end if those are the lesser part."""
    count = end - begin
    if count > begin:
        return merkle.span(begin, islice(log.lines(), begin, end))
    backwards: Iterator[bytes] = islice(log.valid_backwards(), behind, behind + count)
    return merkle.span(begin, _turned(backwards))


def _turned(lines: Iterable[bytes]) -> Iterable[bytes]:
    return reversed(list(lines))
