"""`multipart/mixed` bodies, part by part, while they stream in (clients.md 1.4); nothing is ever collected or spooled.

The framework's form parser knows `form-data` alone and returns an empty form for what the real clients send, so the streaming
parser of python-multipart is driven by hand.
"""

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from strongroom.errors import FormatError

if TYPE_CHECKING:
    from python_multipart.multipart import MultipartCallbacks

MAX_PARTS = 16
_ACCEPTED_TYPES = {"multipart/mixed", "multipart/form-data", "multipart/related"}


class _Mark(Enum):
    PART_END = 1


@dataclass(frozen=True)
class PartHeader:
    """What a part says of itself; text of the client, never a path and never trusted."""

    name: str
    filename: str


_Event = _Mark | PartHeader | memoryview


def boundary_of(content_type: str) -> bytes:
    """The boundary that a Content-Type names.

    Raises:
        FormatError: Not multipart, or no boundary.
    """
    kind, options = parse_options_header(content_type)
    boundary = options.get(b"boundary", b"")
    if kind.decode("latin-1") not in _ACCEPTED_TYPES or not boundary:
        raise FormatError("the request is not multipart/mixed with a boundary")
    return boundary


class Part:
    """One part; its bytes must be read before the next part is asked for."""

    def __init__(self, header: PartHeader, events: Iterator[_Event]) -> None:
        self.name = header.name
        self.filename = header.filename
        self._events = events
        self._ended = False

    def chunks(self) -> Iterator[memoryview]:
        """The part's bytes as they come; each view is valid until the next is asked for."""
        while not self._ended:
            event = next(self._events)
            if isinstance(event, memoryview):
                yield event
            else:
                self._ended = True

    def read(self, limit: int) -> bytes:
        """The whole part.

        Raises:
            FormatError: It is longer than `limit` bytes.
        """
        content = bytearray()
        for chunk in self.chunks():
            content += chunk
            if len(content) > limit:
                raise FormatError(f"part {self.name!r} is longer than {limit} bytes")
        return bytes(content)

    def skip(self) -> None:
        """Read what is left, and forget it."""
        for _ in self.chunks():
            pass


def read_parts(chunks: Iterable[bytes], boundary: bytes) -> Iterator[Part]:
    """The parts of a body that arrives in chunks of any size.

    Raises:
        FormatError: The body breaks the multipart rules or ends before its last boundary.
    """
    events = _events(chunks, boundary)
    for event in events:
        if isinstance(event, PartHeader):
            part = Part(event, events)
            yield part
            part.skip()


def _events(chunks: Iterable[bytes], boundary: bytes) -> Iterator[_Event]:
    collector = _Collector()
    try:
        parser = MultipartParser(boundary, collector.callbacks())
        for chunk in chunks:
            parser.write(chunk)
            yield from collector.take()
    except FormParserError as error:
        raise FormatError("the request's multipart body is malformed") from error
    if not collector.ended:
        raise FormatError("the request's multipart body ends before its last boundary")


class _Collector:
    """Turns the parser's callbacks into events; holds what one `write` produced, which is views, not copies."""

    def __init__(self) -> None:
        self._events: deque[_Event] = deque()
        self._field = bytearray()
        self._value = bytearray()
        self._headers: dict[str, str] = {}
        self._parts = 0
        self.ended = False

    def callbacks(self) -> "MultipartCallbacks":
        """For the parser."""
        return {
            "on_part_begin": self._on_part_begin,
            "on_header_field": self._on_header_field,
            "on_header_value": self._on_header_value,
            "on_header_end": self._on_header_end,
            "on_headers_finished": self._on_headers_finished,
            "on_part_data": self._on_part_data,
            "on_part_end": self._on_part_end,
            "on_end": self._on_end,
        }

    def take(self) -> Iterator[_Event]:
        """What has come since the last call."""
        while self._events:
            yield self._events.popleft()

    def _on_part_begin(self) -> None:
        self._parts += 1
        if self._parts > MAX_PARTS:
            raise FormatError(f"the request has more than {MAX_PARTS} parts")
        self._headers = {}

    def _on_header_field(self, data: bytes, start: int, end: int) -> None:
        self._field += data[start:end]

    def _on_header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _on_header_end(self) -> None:
        self._headers[self._field.decode("latin-1").lower()] = self._value.decode(
            "utf-8", "replace"
        )
        self._field.clear()
        self._value.clear()

    def _on_headers_finished(self) -> None:
        self._events.append(_part_header(self._headers.get("content-disposition", "")))

    def _on_part_data(self, data: bytes, start: int, end: int) -> None:
        self._events.append(memoryview(data)[start:end])

    def _on_part_end(self) -> None:
        self._events.append(_Mark.PART_END)

    def _on_end(self) -> None:
        self.ended = True


def _part_header(disposition: str) -> PartHeader:
    """Clients send file names as raw UTF-8, which the option parser knows as Latin-1 only."""
    _, options = parse_options_header(disposition.encode("utf-8").decode("latin-1"))
    name = options.get(b"name", b"").decode("utf-8", "replace")
    filename = options.get(b"filename", b"").decode("utf-8", "replace")
    return PartHeader(name, filename.replace("%22", '"'))
