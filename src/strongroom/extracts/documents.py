"""Reads the connections in published documents, .tds and .twb files, alone or within their packages.

The document is an untrusted XML file of a user. It is read in a single pass that keeps no tree; size, depth, number of
elements and names are bounded; and document types are refused, and with them entities and external references.
Documents contain no passwords.
"""

import struct
import zipfile
import zlib
from dataclasses import dataclass
from typing import IO, NoReturn, Protocol
from xml.parsers import expat

from strongroom.errors import FormatError
from strongroom.extracts.model import FileType
from strongroom.extracts.packages import check_method

# four times the size of the largest known workbooks
MAX_DOCUMENT_BYTES = 64 * 1024 * 1024
# a package of some KiB can unpack to any size, so the bound is smaller there
MAX_UNPACKED_BYTES = 32 * 1024 * 1024
MAX_ELEMENTS = 500_000
MAX_DEPTH = 256  # documents nest a level deeper for each joined table
MAX_TOKEN_BYTES = 1024 * 1024
MAX_NAMES = 10_000
MAX_CHARACTERS = 4096  # in an attribute of a connection that is shown; the longest ones are paths
MAX_CONNECTIONS = 1000
_ENDINGS = (".tds", ".twb")
# the class of an element that only groups connections, and is no connection itself
_FEDERATION = "federated"
_PIECE = 64 * 1024
_BROKEN_PACKAGES = (
    zipfile.BadZipFile,
    zlib.error,
    NotImplementedError,
    EOFError,
    RuntimeError,
    OSError,
    ValueError,
    OverflowError,
    struct.error,
)


@dataclass(frozen=True)
class Connection:
    """A connection of a data source.

    Attributes:
        kind: The class of the connection: `postgres`, `sqlserver`, `textscan` …
        datasource: The name of the data source within its document.
    """

    kind: str
    datasource: str = ""
    server: str = ""
    port: str = ""
    database: str = ""
    username: str = ""
    authentication: str = ""


class _Readable(Protocol):
    def read(self, size: int = -1, /) -> bytes: ...


def has_document(file_type: FileType) -> bool:
    """Whether files of this type have a document to read."""
    return file_type in {FileType.TDS, FileType.TWB, FileType.TDSX, FileType.TWBX}


def connections_of(file_type: FileType, file: IO[bytes]) -> list[Connection]:
    """The connections of a published file, in the order of its document.

    Raises:
        FormatError: The document is too large, or cannot be read.
    """
    if not has_document(file_type):
        return []
    if not file_type.is_package:
        return _connections(file, MAX_DOCUMENT_BYTES)
    try:
        with zipfile.ZipFile(file) as package:
            for entry in package.infolist():
                if "/" not in entry.filename and entry.filename.lower().endswith(_ENDINGS):
                    # a package that an earlier version accepted may use any method
                    check_method(entry)
                    with package.open(entry) as document:
                        return _connections(document, MAX_UNPACKED_BYTES)
    except _BROKEN_PACKAGES as error:
        raise FormatError("the package's document cannot be unpacked") from error
    return []


def _connections(document: _Readable, most: int) -> list[Connection]:
    reading, left = _Reading(), most
    try:
        while piece := document.read(_PIECE):
            left -= len(piece)
            if left < 0:
                raise FormatError(f"the published document is larger than {most} bytes")
            reading.feed(piece)
        reading.close()
    except (expat.ExpatError, ValueError, LookupError) as error:
        raise FormatError("the published document is no well-formed XML") from error
    return reading.found


@dataclass(frozen=True)
class _Place:
    """An open element, with the facts that its inner elements need, so that no search upwards is needed."""

    tag: str = ""
    datasource: str = ""
    in_extract: bool = False

    def within(self, tag: str, attributes: dict[str, str]) -> "_Place":
        name = self.datasource
        if tag == "datasource":
            caption = attributes.get("caption") or attributes.get("formatted-name")
            name = _bounded(caption or attributes.get("name") or "")
        return _Place(tag, name, self.in_extract or tag == "extract")

    @property
    def says_connections(self) -> bool:
        """Whether connection elements here are connections: those in <extract> describe the extract, deeper ones queries."""
        return not self.in_extract and self.tag in {"datasource", "named-connection"}


class _Reading:
    """A pass over a document that keeps only the open elements and the connections.

    Each element costs the same at any depth. Namespaces are not expanded: a document could otherwise declare a long one
    once and have it copied for every element.
    """

    def __init__(self) -> None:
        self.found: list[Connection] = []
        self._open = [_Place()]
        self._elements = 0
        self._events = 0
        self._silent = 0
        self._parser = expat.ParserCreate()
        self._parser.buffer_text = True
        self._parser.StartElementHandler = self._start
        self._parser.EndElementHandler = self._end
        self._parser.CharacterDataHandler = self._something
        self._parser.CommentHandler = self._something
        self._parser.ProcessingInstructionHandler = self._something
        # refusing document types excludes entities and external references
        self._parser.StartDoctypeDeclHandler = self._refuse

    def feed(self, piece: bytes) -> None:
        """Parse the next bytes."""
        before = self._events
        self._parser.Parse(piece, False)
        self._silent = self._silent + len(piece) if self._events == before else 0
        # the parser scans an unfinished token from its beginning with each piece, which takes time by the square of its
        # length
        if self._silent > MAX_TOKEN_BYTES:
            raise FormatError(
                f"the published document has a tag or comment of more than {MAX_TOKEN_BYTES} bytes"
            )
        if len(self._parser.intern) > MAX_NAMES:  # the parser keeps each distinct name in memory
            raise FormatError(f"the published document has more than {MAX_NAMES} different names")

    def close(self) -> None:
        """End the document."""
        self._parser.Parse(b"", True)

    def _start(self, tag: str, attributes: dict[str, str]) -> None:
        self._events += 1
        self._elements += 1
        if self._elements > MAX_ELEMENTS:
            raise FormatError(f"the published document has more than {MAX_ELEMENTS} elements")
        if len(self._open) > MAX_DEPTH:
            raise FormatError(f"the published document nests deeper than {MAX_DEPTH} elements")
        place = self._open[-1]
        if tag == "connection" and place.says_connections:
            self._add(place.datasource, attributes)
        self._open.append(place.within(tag, attributes))

    def _end(self, _: str) -> None:
        self._events += 1
        self._open.pop()

    def _something(self, *_: str) -> None:
        self._events += 1

    def _refuse(self, *_: object) -> NoReturn:
        raise FormatError("a document type or an entity in the published document is refused")

    def _add(self, datasource: str, attributes: dict[str, str]) -> None:
        if attributes.get("class", _FEDERATION) == _FEDERATION:
            return
        if len(self.found) >= MAX_CONNECTIONS:
            raise FormatError(f"the document has more than {MAX_CONNECTIONS} connections")
        self.found.append(_connection(datasource, attributes))


def _connection(datasource: str, attributes: dict[str, str]) -> Connection:
    def said(name: str) -> str:
        return _bounded(attributes.get(name, ""))

    return Connection(
        kind=said("class"),
        datasource=datasource,
        server=said("server"),
        port=said("port"),
        database=said("dbname"),
        username=said("username"),
        authentication=said("authentication"),
    )


def _bounded(text: str) -> str:
    """Refuse a text that is too long to be shown with a connection."""
    if len(text) > MAX_CHARACTERS:
        raise FormatError(
            f"a connection of the published document has more than {MAX_CHARACTERS} characters in one attribute"
        )
    return text
