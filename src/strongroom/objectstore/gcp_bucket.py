"""The objects of a bucket in Google Cloud Storage, by the XML interface of the service.

The tag of a version is its generation, a number that the service gives to each write and never again.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Final
from xml.etree.ElementTree import Element
from xml.sax.saxutils import escape

from strongroom.objectstore import gcp_connection, web
from strongroom.objectstore.address import Address
from strongroom.objectstore.base import Listed, MissingError, OpenUpload
from strongroom.objectstore.gcp_connection import Connection
from strongroom.objectstore.kinds import ENDPOINT, StoreKind
from strongroom.objectstore.web import Web, Words
from strongroom.objectstore.web_bucket import WebBucket

_CONDITION: Final = "x-goog-if-generation-match"
_ABSENT: Final = "0"
_WORDS: Final = Words(
    container="bucket",
    no_container="NoSuchBucket",
    lost=frozenset(),
    rights="the service account needs the role 'Storage Object User' (roles/storage.objectUser) for the bucket",
    code_header="",
)


class GcpBucket(WebBucket):
    """The objects below the prefix of one address."""

    def __init__(self, address: Address, connection: web.Door) -> None:
        asked = Web(address, gcp_connection.url(address), connection, _WORDS)
        super().__init__(address, asked, web.path_of(address.container), "x-goog-generation")

    # ---- reading ---------------------------------------------------------------------------------

    def list(self, folder: str) -> Iterator[Listed]:
        """The objects whose names begin with a folder's name and a slash, in the order of their names."""

        def following(found: Element) -> Mapping[str, str]:
            token = web.text(found, "NextContinuationToken")
            return {"continuation-token": token} if token else {}

        options = {"list-type": "2"}
        for one in web.paged(self._pages(folder, options), following, "Contents"):
            yield Listed(
                self.address.below(web.text(one, "Key")),
                int(web.text(one, "Size")),
                datetime.fromisoformat(web.text(one, "LastModified")),
            )

    def now(self) -> datetime:
        """The time of the store's clock."""
        found = self._page("pin", {"list-type": "2", "max-keys": "1"})
        return parsedate_to_datetime(found.headers["date"])

    # ---- writing ---------------------------------------------------------------------------------

    def create(self, name: str, data: bytes) -> None:
        """Write an object if there is none of this name."""
        self._ask(f"write {name}", "PUT", name, headers={_CONDITION: _ABSENT}, data=data)

    def replace(self, name: str, data: bytes, tag: str) -> None:
        """Write an object over the version of this generation."""
        self._replace(name, data, {_CONDITION: tag})

    def write(self, name: str, data: bytes) -> None:
        """Write an object, whatever is there."""
        self._repeated(f"write {name}", "PUT", name, data=data)

    def delete(self, name: str) -> None:
        """Remove an object; a missing one is no error."""
        self._remove(name)

    # ---- in parts --------------------------------------------------------------------------------

    def begin_parts(self, name: str) -> str:
        """Begin an upload of parts; returns the store's id of it."""
        answer = self._repeated(f"write {name}", "POST", name, {"uploads": ""})
        return web.text(self._parsed(answer), "UploadId")

    def write_part(self, name: str, upload_id: str, number: int, data: bytes) -> str:
        """Write the n-th part, from 1 on; returns its ETag."""
        query = {"partNumber": str(number), "uploadId": upload_id}
        return self._repeated(f"write {name}", "PUT", name, query, data=data).headers["etag"]

    def complete_parts(self, name: str, upload_id: str, tags: Sequence[str]) -> None:
        """Make the object of its parts; the caller asks for its length anyway."""
        parts = "".join(
            f"<Part><PartNumber>{number}</PartNumber><ETag>{escape(tag)}</ETag></Part>"
            for number, tag in enumerate(tags, 1)
        )
        document = f"<CompleteMultipartUpload>{parts}</CompleteMultipartUpload>".encode()
        with suppress(MissingError):
            self._repeated(f"write {name}", "POST", name, {"uploadId": upload_id}, data=document)

    def abort_parts(self, name: str, upload_id: str) -> None:
        """Forget an upload and its parts; a missing one is no error."""
        what = f"remove the parts of {name}"
        with suppress(MissingError):
            self._repeated(what, "DELETE", name, {"uploadId": upload_id})

    def open_uploads(self) -> Iterator[OpenUpload]:
        """The uploads of bodies that were begun and not completed."""

        def following(found: Element) -> Mapping[str, str]:
            if web.text(found, "IsTruncated") != "true":
                return {}
            return {
                "key-marker": web.text(found, "NextKeyMarker"),
                "upload-id-marker": web.text(found, "NextUploadIdMarker"),
            }

        for one in web.paged(self._pages("body", {"uploads": ""}), following, "Upload"):
            yield OpenUpload(
                self.address.below(web.text(one, "Key")),
                web.text(one, "UploadId"),
                datetime.fromisoformat(web.text(one, "Initiated")),
            )

    # ---- inside ----------------------------------------------------------------------------------

    def _pages(self, folder: str, options: Mapping[str, str]) -> web.Page:
        return lambda place: self._parsed(self._page(folder, {**options, **place}))


def build(address: Address) -> GcpBucket:
    """The objects of an address; asks nobody."""
    return GcpBucket(address, Connection(address))


STORE: Final = StoreKind(
    "gs",
    build,
    example="gs://bucket/prefix",
    container=((re.compile(r"[a-z0-9][a-z0-9._-]{1,61}[a-z0-9]"), "names no bucket"),),
    options={"endpoint": ENDPOINT},
    options_words="one endpoint",
)
