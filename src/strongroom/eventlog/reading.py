"""Filters the records of a log by the bytes of their lines: a line that the query does not ask for is never parsed.

Nothing is held in memory but the records that are given, one at a time, or the last few where a query has a limit.
"""

import json
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from strongroom.errors import FormatError
from strongroom.eventlog import chain
from strongroom.eventlog.base import Query
from strongroom.eventlog.logfile import Snapshot

# A canonical line. Quotes inside a text are escaped, so an actor or a detail cannot imitate the members that follow it
# and make a line pass for one of another id or time.
_LINE = re.compile(
    rb'\{"actor":"(?P<actor>(?:[^"\\]|\\.)*)","details":\{.*\},"id":"(?P<id>[A-Z_]+)",'
    rb'"node":"[^"\\]*","prev":"[0-9a-f]{64}","seq":\d+,"time":"(?P<time>[0-9TZ:-]{20})","v":1\}'
)
Record = Mapping[str, object]


class Place(NamedTuple):
    """How far a log was read.

    Attributes:
        device: Number of the device that the file is on.
        inode: Number of the file on that device.
        end: The offset behind the last byte read.
    """

    device: int = 0
    inode: int = 0
    end: int = 0


def place_of(log: Snapshot) -> Place:
    """The end of a log."""
    return Place(log.status.st_dev, log.status.st_ino, log.end)


def chosen(log: Snapshot, query: Query, path: Path) -> Iterator[Record]:
    """The records that are asked for, the oldest first.

    Raises:
        FormatError: A line that was looked at is damaged.
    """
    of_log = f"of the event log {path}"
    if query.limit is None:
        yield from _parsed(log.lines(), query, lambda number: f"line {number} {of_log}")
        return
    backwards = log.lines_backwards()
    found = _parsed(backwards, query, lambda number: f"line {number} from the end {of_log}")
    yield from reversed(list(islice(found, query.limit)))


def later(logs: Sequence[Snapshot], place: Place, query: Query) -> Iterator[Record]:
    """The records behind a place, in its log and in those that came after that one.

    Raises:
        FormatError: A line is damaged.
    """
    files = [(place_of(log).device, place_of(log).inode) for log in logs]
    if (place.device, place.inode) in files:
        first = files.index((place.device, place.inode))
        starts = [place.end] + [0] * (len(logs) - first - 1)
    else:
        # the file that was read is gone, or no file was there: every line of the present log is new
        first, starts = len(logs) - 1, [0]
    for log, start in zip(logs[first:], starts, strict=bool(logs)):
        yield from _parsed(
            log.lines(start=start), query, lambda number: f"new line {number} of the event log"
        )


def of_events(logs: Iterable[Snapshot], ids: Collection[str]) -> Iterator[Record]:
    """The records of some events in several logs; lines that are damaged are left out, others are not parsed."""
    wanted = [f'"id":"{one}"'.encode("ascii") for one in ids]
    for log in logs:
        for line in log.lines():
            if any(one in line for one in wanted):
                with suppress(FormatError):
                    yield chain.parse_line(line)


def _parsed(lines: Iterable[bytes], query: Query, words: Callable[[int], str]) -> Iterator[Record]:
    is_wanted = _test(query)
    for number, line in enumerate(lines, 1):
        if not is_wanted(line):
            continue
        try:
            yield chain.parse_line(line)
        except FormatError as error:
            raise FormatError(
                f"{words(number)} is damaged", hint="run 'strongroom events verify'"
            ) from error


def _test(query: Query) -> Callable[[bytes], bool]:
    """A test whether the query asks for a line; a damaged line passes, so that the parser refuses it with its number."""
    if not any((query.since, query.until, query.ids, query.actor)):
        return lambda _: True
    ids = {one.encode() for one in query.ids}
    actor = json.dumps(query.actor)[1:-1].encode("ascii")
    # times of this form sort as texts
    since, until = query.since.encode(), query.until.encode() or b"~"

    def test(line: bytes) -> bool:
        found = _LINE.fullmatch(line)
        if found is None:
            return True
        return (
            since <= found["time"] <= until
            and (not ids or found["id"] in ids)
            and (not actor or found["actor"] == actor)
        )

    return test
