"""The parsed request that a handler gets, the answer that it returns, and the table that ties paths to handlers.

Handlers are plain functions that run in a worker thread, call one service and know nothing of the web framework.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from strongroom.doors.tableau import form
from strongroom.doors.tableau.errors import Noun
from strongroom.doors.tableau.message import Element
from strongroom.doors.tableau.ports import TableauServices
from strongroom.doors.tableau.shape import NOTHING, Rules, Shape
from strongroom.errors import UsageError
from strongroom.services.directory.sign_in import Identity
from strongroom.system.positions import Span


class Body(Protocol):
    """A request's body."""

    def read(self) -> bytes:
        """All of it; bounded, and only for routes that do not stream."""
        ...

    def chunks(self) -> Iterator[bytes]:
        """The bytes as they come in; only for routes that stream."""
        ...

    def hurry(self, seconds: float) -> None:
        """Set a limit on the time for all further reads, from now on; 0 removes the limit."""
        ...


@dataclass(frozen=True)
class Call:
    """A request.

    Attributes:
        services: The services that it may call.
        base_url: `http://host:port`, for links in answers.
        path: The variables of the path.
        query: The query, last value of each name.
        content_type: Never trusted to say whether there is a body: clients leave stale ones on GETs.
        token: The raw session token, or empty.
        body: The body.
        declared_bytes: The Content-Length of the request; the body may yet be shorter.
        takes: The attributes and elements that the route accepts in a message.
        sent: The request's message, once it was read.
        signed_in: The signed-in user and site, once they are known.
        peer: The address that the connection came from: never what a header says.
        first_bytes: Says of a file of a length which part of it is sent first, if the route sends a file.
    """

    services: TableauServices
    base_url: str
    path: Mapping[str, str]
    query: Mapping[str, str]
    content_type: str
    token: str = field(repr=False)
    body: Body = field(repr=False)
    declared_bytes: int = 0
    takes: Shape = NOTHING
    sent: Element | None = field(default=None, repr=False)
    signed_in: Identity | None = None
    peer: str = ""
    first_bytes: Callable[[int], Span] | None = None

    @property
    def identity(self) -> Identity:
        """The signed-in user; a request without a valid session is refused before the handler of a closed route runs."""
        if self.signed_in is None:
            raise UsageError("this route needs a signed-in user")
        return self.signed_in

    @property
    def actor(self) -> str:
        """The signed-in user, as events name users."""
        return self.identity.subject.actor

    def request(self) -> Element:
        """The message of the request, sent as XML or JSON; empty if the request has no body.

        Raises:
            UsageError: The message holds something that the route would ignore.
        """
        return self.message(self.body.read()) if self.sent is None else self.sent

    def message(self, content: bytes) -> Element:
        """The message in a part of the body."""
        sent = form.parse(content)
        self.takes.check(sent)
        return sent


@dataclass(frozen=True)
class Answer:
    """An answer, in either form; with 204 nothing is sent."""

    elements: Sequence[Element] = ()
    status: int = 200


class OpenContent(Protocol):
    """A content that is open for reading; closing it lets its file go."""

    @property
    def size(self) -> int:
        """Plaintext bytes."""
        ...

    def iterate(self, start: int, stop: int, chunk: int) -> Iterator[bytearray]:
        """Authenticated plaintext of a range."""
        ...

    def close(self) -> None:
        """Release the file."""
        ...


@dataclass(frozen=True)
class Download:
    """An answer that is a file.

    Attributes:
        filename: The name that the client is told to save the file by.
        content: The bytes of the file.
        version: A text that changes whenever the bytes may have changed: the strong validator for ranges.
        changed_at: The time of publication, as the API writes times.
    """

    filename: str
    content: OpenContent
    version: str
    changed_at: str


Handler = Callable[[Call], Answer | Download]

NO_CONTENT = Answer(status=204)


@dataclass(frozen=True)
class Route:
    """A method on a path.

    Attributes:
        method: HTTP method; GET serves HEAD as well.
        path: Below `/api/{version}`, with `{name}` variables.
        handle: The handler.
        noun: The kind of thing that the route serves, for errors.
        is_open: Served without a token.
        streams: The handler reads the body as it comes.
        check_first: Refuses a user who may not do this, before the body is read; for routes that stream.
        hashes: The handler hashes passwords, which takes a core for a while.
        downloads: The answer is a file.
        takes: The attributes and elements that the request's message may have.
        query: The query parameters that the request may have.
    """

    method: str
    path: str
    handle: Handler
    noun: Noun = Noun.NOTHING
    is_open: bool = False
    streams: bool = False
    check_first: Callable[[Identity], None] | None = None
    hashes: bool = False
    downloads: bool = False
    takes: Shape = NOTHING
    query: Rules = field(default_factory=dict)

    @property
    def has_message(self) -> bool:
        """Whether the body is a message that is read before the handler runs; those of the other methods mean nothing."""
        return self.method in {"POST", "PUT", "PATCH"} and not self.streams
