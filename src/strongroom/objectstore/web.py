"""Requests to a store that speaks plain HTTP and XML, by a session that is closed to the environment.

The session takes of the environment what `roots.outbound` lets in: a proxy for what is not local, and certificates to
trust; no netrc, and no redirect. Nothing is repeated here but a request that a store did not do for want of a valid
token.
"""

import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, NamedTuple, Protocol
from urllib.parse import quote, urlencode
from xml.etree.ElementTree import Element, ParseError

from defusedxml import ElementTree as SafeET

from strongroom import foreign_words
from strongroom.errors import StorageError
from strongroom.objectstore.address import Address
from strongroom.objectstore.base import (
    CONNECT_S,
    READ_S,
    REQUESTS_AT_ONCE,
    ConditionError,
    missing,
    unanswered,
)
from strongroom.roots import outbound

_UNAUTHORIZED: Final = 401
_NOT_FOUND: Final = 404
_BUSY: Final = frozenset({408, 429})
_SERVERS_FAULT: Final = 500
_CONDITIONS: Final = frozenset({409, 412})
_FORBIDDEN: Final = frozenset({401, 403})


class Request(NamedTuple):
    """A request.

    Attributes:
        method: The method.
        path: The path of the URL, encoded.
        query: Names and values of the query, not encoded.
        headers: The headers, by their names in lower case.
        data: The body.
    """

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    data: bytes


class Answer(NamedTuple):
    """The answer of a store that did what was asked.

    Attributes:
        headers: The headers, by their names in any letter case.
        data: The body.
    """

    headers: Mapping[str, str]
    data: bytes


class Door(Protocol):
    """The right with which a store is asked."""

    def session(self) -> Any:
        """A session for requests, by `session` of this module.

        Raises:
            StorageError: A library is missing.
        """
        ...

    def headers(self, request: Request) -> Mapping[str, str]:
        """The headers that show the right to a request.

        Raises:
            StorageError: There are no credentials.
        """
        ...

    def renew(self) -> bool:
        """Forget a token that the store does not take; returns whether another one may be had."""
        ...

    def secrets(self) -> tuple[foreign_words.Secret, ...]:
        """The texts that no message may show."""
        ...


class Words(NamedTuple):
    """The words of a kind of store, and those for it.

    Attributes:
        container: The name of what holds objects: `bucket`.
        no_container: The store's code for a container that is not there.
        lost: Codes that say of a conditional write, too, that something else is there than was thought.
        rights: The hint of an error about missing rights.
        code_header: The header that has the store's code; empty if only the body has one.
    """

    container: str
    no_container: str
    lost: frozenset[str]
    rights: str
    code_header: str


class Web:
    """Asks one store; threads share it.

    Args:
        address: The address of the store, for messages.
        url: Scheme, host and port of the store's server.
        door: Shows the right to each request.
        words: The words of this kind of store.
    """

    def __init__(self, address: Address, url: str, door: Door, words: Words) -> None:
        self._address, self._url, self._door, self._words = address, url, door, words
        self._lock = threading.Lock()
        self._session: Any = None

    def ask(self, what: str, request: Request) -> Answer:
        """Send a request.

        Args:
            what: The request in words, with the object's name at the end: `read head/one`.
            request: The request.

        Raises:
            MissingError: The store does not have the object.
            ConditionError: A condition does not hold.
            UnansweredError: The store did not answer.
            StorageError: The store refuses.
        """
        answer = self._send(what, request)
        if answer.status_code == _UNAUTHORIZED and self._door.renew():
            answer = self._send(what, request)
        if answer.status_code >= 300:
            raise self._of_status(what, request, answer)
        return Answer(answer.headers, answer.content)

    # ---- inside ----------------------------------------------------------------------------------

    def _send(self, what: str, request: Request) -> Any:
        session = self._opened()
        import requests

        # a body that the store packs for the way would not be the range that was asked for
        shown = {**request.headers, "accept-encoding": "identity", **self._door.headers(request)}
        query = f"?{urlencode(request.query, quote_via=quote)}" if request.query else ""
        try:
            return session.request(
                request.method,
                f"{self._url}{request.path}{query}",
                headers=shown,
                data=request.data,
                timeout=(CONNECT_S, READ_S),
            )
        except requests.RequestException as error:
            said = foreign_words.of(error, *self._door.secrets())
            raise unanswered(self._address, f"did not {what}: {said}") from foreign_words.cause(
                error, *self._door.secrets()
            )

    def _of_status(self, what: str, request: Request, answer: Any) -> Exception:
        status, place = answer.status_code, self._address.shown
        code = self._code(answer)
        if code == self._words.no_container:
            return StorageError(
                f"there is no {self._words.container} {self._address.container} ({place})",
                hint=f"make the {self._words.container}, or correct the address",
            )
        if status == _NOT_FOUND:
            return missing(self._address, what.rpartition(" ")[2])
        is_conditional = any("if-" in name for name in request.headers)
        if is_conditional and (status in _CONDITIONS or code in self._words.lost):
            return ConditionError()
        if status in _BUSY or status >= _SERVERS_FAULT:
            return unanswered(self._address, f"did not {what}: {code} (HTTP {status})")
        if status in _FORBIDDEN:
            return StorageError(
                f"the object store {place} does not let us {what}: {code or f'HTTP {status}'}",
                hint=self._words.rights,
            )
        said = foreign_words.of(answer.content, *self._door.secrets())
        return StorageError(
            f"the object store {place} did not {what}: {code} (HTTP {status}) {said}".rstrip()
        )

    def _code(self, answer: Any) -> str:
        told = answer.headers.get(self._words.code_header, "") if self._words.code_header else ""
        if not told and answer.content:
            try:
                told = text(parsed(answer.content), "Code")
            except ValueError:
                told = ""
        return foreign_words.of(told, *self._door.secrets(), longest=80) if told else ""

    def _opened(self) -> Any:
        with self._lock:
            if self._session is None:
                self._session = self._door.session()
            return self._session


def session() -> Any:
    """A session for as many requests at once as a store is asked.

    Raises:
        ImportError: The HTTP library is missing.
    """
    from requests.adapters import HTTPAdapter

    made = outbound.session()
    for scheme in ("https://", "http://"):
        made.mount(scheme, HTTPAdapter(pool_maxsize=REQUESTS_AT_ONCE))
    return made


def path_of(*names: str) -> str:
    """The path of a URL from names, in each of which slashes stay."""
    return "".join(f"/{quote(name, safe='/~')}" for name in names)


def parsed(data: bytes) -> Element:
    """The root of an XML document, without the namespaces of its elements.

    Raises:
        ValueError: The bytes are none, or one with a document type or entities.
    """
    try:
        root: Element = SafeET.fromstring(data, forbid_dtd=True)
    except (ParseError, ValueError) as error:
        raise ValueError(str(error)) from None
    for one in root.iter():
        one.tag = one.tag.rpartition("}")[2]
    return root


def text(element: Element, path: str) -> str:
    """The text of an element's descendant; empty if there is none."""
    return (element.findtext(path) or "").strip()


Page = Callable[[Mapping[str, str]], Element]
"""Asks for a page of a list by its place in the list, which is empty for the first."""


def paged(
    page: Page,
    following: Callable[[Element], Mapping[str, str]],
    path: str,
) -> Iterator[Element]:
    """The elements of all pages of a list.

    Args:
        page: Asks for a page by its place in the list.
        following: The place of the page behind a page; empty behind the last.
        path: Where the elements are in a page.
    """
    place: Mapping[str, str] = {}
    while True:
        found = page(place)
        yield from found.iterfind(path)
        place = following(found)
        if not place:
            return
