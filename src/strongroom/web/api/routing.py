"""What a handler gets and gives: one request parsed, one answer to render; and the table that ties paths to handlers.

Handlers are plain functions that run in a worker thread, call one service and know nothing of the web framework.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from strongroom.bootstrap import Node
from strongroom.errors import UsageError
from strongroom.services.auth import Identity
from strongroom.web.api import xml
from strongroom.web.api.errors import Noun


class Body(Protocol):
    """A request's body."""

    def read(self) -> bytes:
        """All of it; bounded, and only for routes that do not stream."""
        ...

    def chunks(self) -> Iterator[bytes]:
        """The bytes as they come in; only for routes that stream."""
        ...


@dataclass(frozen=True)
class Call:
    """One request.

    Attributes:
        node: The services.
        base_url: `http://host:port`, for links in answers.
        path: The variables of the path.
        query: The query, last value of each name.
        content_type: Never trusted to say whether there is a body: clients leave stale ones on GETs.
        token: The raw session token, or empty.
        body: The body.
        declared_bytes: Its Content-Length; the body may yet end before.
        signed_in: Who asks, once that is known.
    """

    node: Node
    base_url: str
    path: Mapping[str, str]
    query: Mapping[str, str]
    content_type: str
    token: str = field(repr=False)
    body: Body = field(repr=False)
    declared_bytes: int = 0
    signed_in: Identity | None = None

    @property
    def identity(self) -> Identity:
        """Who asks; routing has refused everybody else before a handler of a closed route runs."""
        if self.signed_in is None:
            raise UsageError("this route needs a signed-in user")
        return self.signed_in

    @property
    def actor(self) -> str:
        """Who asks, as events name them."""
        return self.identity.subject.actor

    def request(self) -> xml.Element:
        """The `<tsRequest>`; empty if nothing was sent."""
        return xml.parse_optional(self.body.read())


@dataclass(frozen=True)
class Answer:
    """An answer in XML; with 204 nothing is sent."""

    elements: Sequence[xml.Element] = ()
    status: int = 200


class OpenContent(Protocol):
    """A content that is open for reading; closing it lets its file go."""

    @property
    def size(self) -> int:
        """Plaintext bytes."""
        ...

    def iterate(self, start: int, stop: int, chunk: int) -> Iterator[bytes]:
        """Authenticated plaintext of a range."""
        ...

    def close(self) -> None:
        """Release the file."""
        ...


@dataclass(frozen=True)
class Download:
    """An answer that is a file."""

    filename: str
    content: OpenContent


Handler = Callable[[Call], Answer | Download]

NO_CONTENT = Answer(status=204)


@dataclass(frozen=True)
class Route:
    """One method of one path.

    Attributes:
        method: HTTP method; GET serves HEAD as well.
        path: Below `/api/{version}`, with `{name}` variables.
        handle: The handler.
        noun: What errors call the thing.
        is_open: Served without a token.
        streams: The handler reads the body as it comes.
    """

    method: str
    path: str
    handle: Handler
    noun: Noun = Noun.NOTHING
    is_open: bool = False
    streams: bool = False
