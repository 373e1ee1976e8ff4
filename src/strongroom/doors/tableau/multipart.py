"""Multipart bodies, part by part, while they stream in (clients.md 1.4); nothing is ever collected or spooled.

The framework's form parser knows `form-data` alone and returns an empty form for what the real clients send. And
clients in many languages write what the documented example shows and RFC 2046 allows: a disposition without a type, a
preamble, lines that end with LF alone. A part is found by searching for its delimiter, so its bytes go through as they
are.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import Enum
from urllib.parse import unquote

from strongroom.errors import FormatError

MAX_PARTS = 16
MAX_HEADER_BYTES = 16 * 1024  # in a part; a file name of 255 letters takes 2 KiB at most
MAX_PREAMBLE_BYTES = 64 * 1024
MAX_TYPE_CHARACTERS = 1024
# in a header; the bound matters, since the search for a closing quotation mark runs to the end for each option
MAX_OPTIONS = 16
MAX_BOUNDARY_BYTES = 256  # RFC 2046 section 5.1.1 has 70
_ACCEPTED_TYPES = {"multipart/mixed", "multipart/form-data", "multipart/related"}
_AFTER_DELIMITER = b"-\r\n \t"
_CR = 0x0D
# a parameter of a header: a word, or a name with a value, which may be quoted in either way
_PARAMETER = re.compile(
    r"""\s*([^\s=;"']+)(?:\s*=\s*("(?:[^"\\]|\\.)*"|'[^';]*'(?=\s*(?:;|$))|[^;]*))?\s*(?:;|$)""",
    re.DOTALL,
)


class _Mark(Enum):
    PART_END = 1


@dataclass(frozen=True)
class PartHeader:
    """The name and file name in a part's header; texts of the client, never used as a path and never trusted."""

    name: str
    filename: str


_Event = _Mark | PartHeader | memoryview


def boundary_of(content_type: str) -> bytes:
    """The boundary that a Content-Type names.

    Raises:
        FormatError: Not multipart, or no boundary.
    """
    if len(content_type) > MAX_TYPE_CHARACTERS:
        raise FormatError("the request's Content-Type is too long")
    kind, options = _options(content_type)
    boundary = options.get("boundary", "").encode("latin-1", "replace")
    if kind.lower() not in _ACCEPTED_TYPES or not 0 < len(boundary) <= MAX_BOUNDARY_BYTES:
        raise FormatError("the request is not multipart/mixed with a boundary")
    return boundary


class Part:
    """A part; its bytes must be read before the next part is requested."""

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
            FormatError: The part is longer than `limit` bytes.
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
    events = _Scanner(chunks, boundary).events()
    for event in events:
        if isinstance(event, PartHeader):
            part = Part(event, events)
            yield part
            part.skip()


class _Scanner:
    """Holds no more than a chunk and the bytes before it in which a delimiter may have begun."""

    def __init__(self, chunks: Iterable[bytes], boundary: bytes) -> None:
        self._chunks = iter(chunks)
        self._buffer = b""
        self._line = b"--" + boundary
        self._delimiter = b"\n" + self._line
        self._strips_cr = True

    def events(self) -> Iterator[_Event]:
        """Each part as its header, its bytes and its end."""
        self._skip_preamble()
        parts = 0
        while self._begins_part():
            parts += 1
            if parts > MAX_PARTS:
                raise FormatError(f"the request has more than {MAX_PARTS} parts")
            yield _part_header(self._header_lines())
            yield from self._content()
            yield _Mark.PART_END
        for _ in self._chunks:  # an epilogue means nothing (RFC 2046 section 5.1)
            pass

    def _skip_preamble(self) -> None:
        """Up to behind the first delimiter, which stands at the beginning of a line."""
        seen = b"\n"
        while (at := seen.find(self._delimiter)) < 0:
            if len(seen) > MAX_PREAMBLE_BYTES:
                raise FormatError("the request's multipart body does not begin with its boundary")
            self._more()
            seen += self._buffer
            self._buffer = b""
        self._buffer = seen[at + len(self._delimiter) :]

    def _begins_part(self) -> bool:
        """Behind a delimiter: whether a part follows, and not the end."""
        while b"\n" not in self._buffer and not self._buffer.startswith(b"--"):
            if len(self._buffer) > MAX_HEADER_BYTES:
                raise _malformed()
            self._more()
        if self._buffer.startswith(b"--"):
            return False
        line, _, self._buffer = self._buffer.partition(b"\n")
        if line.strip(b" \t\r"):
            raise _malformed()
        # a client that ends lines with LF alone sends no CR before a delimiter, so a CR there belongs to the file
        self._strips_cr = line.endswith(b"\r")
        return True

    def _header_lines(self) -> list[str]:
        """The lines up to the empty one; one that begins with white space goes on with the line before."""
        lines: list[str] = []
        size = 0
        while True:
            while b"\n" not in self._buffer:
                if size + len(self._buffer) > MAX_HEADER_BYTES:
                    raise FormatError("the header of a part of the request is too long")
                self._more()
            line, _, self._buffer = self._buffer.partition(b"\n")
            size += len(line)
            if size > MAX_HEADER_BYTES:
                raise FormatError("the header of a part of the request is too long")
            text = line.removesuffix(b"\r").decode("utf-8", "replace")
            if not text:
                return lines
            if text[0] in " \t" and lines:
                lines[-1] += text
            else:
                lines.append(text)

    def _content(self) -> Iterator[memoryview]:
        """The bytes of a part, up to behind the delimiter that ends it."""
        size = len(self._delimiter)
        begin = 0
        if self._is_empty():
            return
        while True:
            at = self._buffer.find(self._delimiter, begin)
            if at < 0:
                ready = len(self._buffer) - size - 1  # a CR before it, too
                if ready > 0:
                    yield memoryview(self._buffer)[:ready]
                    self._buffer = self._buffer[ready:]
                begin = 0
                self._more()
            elif at + size == len(self._buffer):
                begin = at
                self._more()
            elif self._buffer[at + size] in _AFTER_DELIMITER:
                has_cr = self._strips_cr and at > 0 and self._buffer[at - 1] == _CR
                if at - has_cr > 0:
                    yield memoryview(self._buffer)[: at - has_cr]
                self._buffer = self._buffer[at + size :]
                return
            else:
                begin = at + 1  # a line of the file that begins like the delimiter

    def _is_empty(self) -> bool:
        """Whether the delimiter follows the header at once: some clients write an empty part so."""
        while len(self._buffer) <= len(self._line) and self._line.startswith(
            self._buffer[: len(self._line)]
        ):
            self._more()
        after = self._buffer[len(self._line) : len(self._line) + 1]
        if not self._buffer.startswith(self._line) or after not in _AFTER_DELIMITER:
            return False
        self._buffer = self._buffer[len(self._line) :]
        return True

    def _more(self) -> None:
        chunk = next(self._chunks, None)
        if chunk is None:
            raise FormatError("the request's multipart body ends before its last boundary")
        self._buffer += chunk


def _malformed() -> FormatError:
    return FormatError("the request's multipart body is malformed")


def _part_header(lines: list[str]) -> PartHeader:
    """Clients send file names as raw UTF-8; the extended form of RFC 8187 is understood as well."""
    headers: dict[str, str] = {}
    for line in lines:
        name, colon, value = line.partition(":")
        if not colon:
            raise _malformed()
        headers.setdefault(name.strip().lower(), value)
    _, options = _options(headers.get("content-disposition", ""))
    extended = options.get("filename*", "").rpartition("'")[2]
    filename = unquote(extended) if extended else options.get("filename", "").replace("%22", '"')
    return PartHeader(options.get("name", ""), filename)


def _options(header: str) -> tuple[str, dict[str, str]]:
    """The word that a header begins with, if any, and its parameters; of two of one name the first counts."""
    word, at = "", 0
    options: dict[str, str] = {}
    while at < len(header) and len(options) < MAX_OPTIONS:
        match = _PARAMETER.match(header, at)
        if match is None or match.end() == at:
            break
        at = match.end()
        if match[2] is None:
            word = word or match[1]
        else:
            options.setdefault(match[1].lower(), _unquoted(match[2].strip()))
    return word, options


def _unquoted(value: str) -> str:
    if len(value) > 1 and value[0] == value[-1] and value[0] in "\"'":
        return value[1:-1].replace('\\"', '"')
    return value
