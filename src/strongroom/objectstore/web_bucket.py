"""The requests that stores of several kinds answer alike, by plain HTTP: reads, and what all requests have in common."""

from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime
from email.utils import parsedate_to_datetime
from xml.etree.ElementTree import Element

from strongroom.errors import StorageError
from strongroom.objectstore import web
from strongroom.objectstore.address import Address
from strongroom.objectstore.base import ConditionError, MissingError, Object, repeated, unanswered
from strongroom.objectstore.web import Answer, Web


class WebBucket:
    """The objects below the prefix of one address.

    Args:
        address: The address.
        asked: Sends the requests.
        root: The path of the container in URLs, encoded.
        tag_header: The header of an answer that has the tag of a version.
    """

    def __init__(self, address: Address, asked: Web, root: str, tag_header: str) -> None:
        self.address = address
        self._web, self._root, self._tag_header = asked, root, tag_header

    def read(self, name: str) -> Object:
        """A small object, whole."""
        found = self._repeated(f"read {name}", "GET", name)
        return Object(found.data, found.headers.get(self._tag_header, ""))

    def read_range(self, name: str, start: int, count: int) -> bytes:
        """Bytes of an object from an offset on."""
        wanted = {"range": f"bytes={start}-{start + count - 1}"}

        def ask() -> bytes:
            data = self._ask(f"read {name}", "GET", name, headers=wanted).data
            if len(data) != count:
                raise unanswered(self.address, f"gave {len(data)} of {count} bytes of {name}")
            return data

        return repeated(ask)

    def size(self, name: str) -> int:
        """Length of an object in bytes."""
        return int(self._repeated(f"look at {name}", "HEAD", name).headers["content-length"])

    def changed(self, name: str) -> datetime:
        """The time of the last write of an object, by the store's clock."""
        found = self._repeated(f"look at {name}", "HEAD", name).headers["last-modified"]
        return parsedate_to_datetime(found)

    # ---- for the kinds ---------------------------------------------------------------------------

    def _replace(self, name: str, data: bytes, headers: Mapping[str, str]) -> None:
        """Write an object under a condition, which does not hold either if there is none."""
        try:
            self._ask(f"write {name}", "PUT", name, headers=headers, data=data)
        except MissingError:
            raise ConditionError from None

    def _remove(self, name: str, headers: Mapping[str, str] | None = None) -> None:
        """Remove an object; a missing one is no error."""
        with suppress(MissingError):
            self._repeated(f"remove {name}", "DELETE", name, headers=headers)

    def _ask(
        self,
        what: str,
        method: str,
        name: str,
        query: Mapping[str, str] | None = None,
        *,
        headers: Mapping[str, str] | None = None,
        data: bytes = b"",
    ) -> Answer:
        """Send a request about an object, once."""
        path = f"{self._root}{web.path_of(self.address.name(name))}"
        return self._web.ask(what, web.Request(method, path, query or {}, headers or {}, data))

    def _repeated(
        self,
        what: str,
        method: str,
        name: str,
        query: Mapping[str, str] | None = None,
        *,
        headers: Mapping[str, str] | None = None,
        data: bytes = b"",
    ) -> Answer:
        """Send a request about an object, again as long as the store does not answer."""
        return repeated(lambda: self._ask(what, method, name, query, headers=headers, data=data))

    def _page(self, folder: str, options: Mapping[str, str]) -> Answer:
        """Ask for a part of a list of what is in a folder."""
        query = {**options, "prefix": self.address.name(f"{folder}/")}
        request = web.Request("GET", self._root, query, {}, b"")
        return repeated(lambda: self._web.ask(f"list {folder}", request))

    def _parsed(self, answer: Answer) -> Element:
        """The document of an answer."""
        try:
            return web.parsed(answer.data)
        except ValueError:
            raise StorageError(
                f"the object store {self.address.shown} answers by something else than its lists",
                hint="look at the address, and for a proxy before the store",
            ) from None
