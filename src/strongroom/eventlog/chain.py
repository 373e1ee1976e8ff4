"""Lines of the event log: made, parsed and verified (format/events.md §1, §5); no file IO."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from json.encoder import encode_basestring_ascii as _quoted
from typing import NamedTuple

from strongroom import canonical
from strongroom.errors import FormatError
from strongroom.eventlog.base import Event

VERSION = 1
MAX_LINE_BYTES = 16_384
FIRST_PREV = "0" * 64
_FIELDS = {"v", "seq", "prev", "time", "node", "actor", "id", "details"}


class Head(NamedTuple):
    """The end of a chain: number and digest of its last line."""

    seq: int = 0
    digest: str = FIRST_PREV


class Break(NamedTuple):
    """A line where the chain does not hold.

    Attributes:
        line: The line's number in the file, from 1.
        what: A description of the fault.
    """

    line: int
    what: str


class Report(NamedTuple):
    """The result of verifying a chain.

    Attributes:
        head: The last good line.
        breaks: Every line that does not continue the one before.
    """

    head: Head
    breaks: tuple[Break, ...]


def make_line(event: Event, head: Head, *, time: str, node: str) -> bytes:
    """The line of an event, without its newline.

    Raises:
        FormatError: The line would be too long, or a detail is neither text, whole number, boolean nor null.
    """
    # the spelling of `_canonical`, in a third of the time: the log of a busy door is made of these lines
    details = ",".join(
        [
            f"{_quoted(name)}:{_detail(event, value)}"
            for name, value in sorted(event.details.items())
        ]
    )
    line = (
        f'{{"actor":{_quoted(event.actor)},"details":{{{details}}},"id":{_quoted(event.id)},'
        f'"node":{_quoted(node)},"prev":{_quoted(head.digest)},"seq":{head.seq + 1},'
        f'"time":{_quoted(time)},"v":{VERSION}}}'
    ).encode("ascii")
    if len(line) >= MAX_LINE_BYTES:
        raise FormatError(f"the event {event.id} has over {MAX_LINE_BYTES} bytes")
    return line


def make_lines(
    events: Iterable[Event], head: Head, *, time: str, node: str
) -> tuple[list[bytes], Head]:
    """The lines of some events behind a line, and the last one's head.

    Raises:
        FormatError: As for one line; then there is none of them.
    """
    lines = []
    for event in events:
        line = make_line(event, head, time=time, node=node)
        head = Head(head.seq + 1, hashlib.sha256(line).hexdigest())
        lines.append(line)
    return lines, head


def _detail(event: Event, value: object) -> str:
    if isinstance(value, str):
        return _quoted(value)
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, int):
        return int.__repr__(value)
    raise FormatError(f"a detail of the event {event.id} is no text and no whole number")


def parse_line(line: bytes) -> Mapping[str, object]:
    """The record of a line.

    Raises:
        FormatError: The line is not canonical, or of another version.
    """
    try:
        record = json.loads(line)
        is_canonical = _canonical(record) == line
    except (ValueError, RecursionError) as error:
        raise FormatError("not a line of the event log") from error
    if not is_canonical or not isinstance(record, dict) or record.keys() != _FIELDS:
        raise FormatError("not a line of the event log")
    if record["v"] != VERSION or not isinstance(record["seq"], int):
        raise FormatError("a line of an unknown version")
    return record


def head_of(line: bytes) -> Head:
    """The end of the chain after this line.

    Raises:
        FormatError: The bytes are not a line of the event log.
    """
    return _head(parse_line(line), line)


def _head(record: Mapping[str, object], line: bytes) -> Head:
    seq = record["seq"]
    return Head(seq if isinstance(seq, int) else 0, hashlib.sha256(line).hexdigest())


def verify(lines: Iterable[bytes]) -> Report:
    """Recompute a chain from its lines, without their newlines."""
    head, breaks = Head(), []
    for number, line in enumerate(lines, 1):
        try:
            record = parse_line(line)
        except FormatError as error:
            breaks.append(Break(number, error.message))
            continue
        if record["prev"] != head.digest:
            breaks.append(Break(number, "it does not follow from the line before"))
        elif record["seq"] != head.seq + 1:
            breaks.append(Break(number, f"its number is {record['seq']}, not {head.seq + 1}"))
        head = _head(record, line)
    return Report(head, tuple(breaks))


def _canonical(record: object) -> bytes:
    return canonical.dumps(record, canonical.ASCII)
