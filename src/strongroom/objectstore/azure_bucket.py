"""The objects of a container in Azure Blob Storage: block blobs, by the REST interface of the service.

An upload of parts is a list of blocks of a blob that is not there as yet. Azure knows no beginning of such an upload, so
that its time stands in the names of the blocks; and it knows no end but a list of blocks, or a blob in their place
(format/object-store.md §9).
"""

import base64
import binascii
import re
import secrets
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final
from xml.etree.ElementTree import Element
from xml.sax.saxutils import escape

from strongroom.objectstore import azure_connection, web
from strongroom.objectstore.address import Address
from strongroom.objectstore.azure_connection import KEY, Connection
from strongroom.objectstore.base import ConditionError, Listed, MissingError, OpenUpload
from strongroom.objectstore.kinds import ENDPOINT, Option, StoreKind
from strongroom.objectstore.web import Answer, Web, Words
from strongroom.objectstore.web_bucket import WebBucket

_IF_NONE: Final = {"if-none-match": "*"}
_BLOB: Final = {"x-ms-blob-type": "BlockBlob"}
_LIST: Final = {"restype": "container", "comp": "list"}
_WITH_SNAPSHOTS: Final = {"x-ms-delete-snapshots": "include"}
_UPLOAD: Final = re.compile(r"([0-9]{10})[0-9a-f]{22}")
_WORDS: Final = Words(
    container="container",
    no_container="ContainerNotFound",
    # the blocks of a list that was committed already are no blocks any more
    lost=frozenset({"InvalidBlockList"}),
    rights="the identity needs the role 'Storage Blob Data Contributor' for the container; a key"
    f" is that of the account, in {KEY}",
    code_header="x-ms-error-code",
)


class AzureBucket(WebBucket):
    """The objects below the prefix of one address."""

    def __init__(self, address: Address, connection: web.Door) -> None:
        account_root = azure_connection.root(address)
        container = web.path_of(address.container.partition("/")[2])
        asked = Web(address, azure_connection.url(address), connection, _WORDS)
        super().__init__(address, asked, f"{account_root}{container}", "etag")

    # ---- reading ---------------------------------------------------------------------------------

    def list(self, folder: str) -> Iterator[Listed]:
        """The objects whose names begin with a folder's name and a slash, in the order of their names."""
        for one in self._listed(folder):
            yield Listed(
                self.address.below(web.text(one, "Name")),
                int(web.text(one, "Properties/Content-Length")),
                parsedate_to_datetime(web.text(one, "Properties/Last-Modified")),
            )

    def now(self) -> datetime:
        """The time of the store's clock."""
        found = self._page("pin", {**_LIST, "maxresults": "1"})
        return parsedate_to_datetime(found.headers["date"])

    # ---- writing ---------------------------------------------------------------------------------

    def create(self, name: str, data: bytes) -> None:
        """Write an object if there is none of this name."""
        self._ask(f"write {name}", "PUT", name, headers={**_BLOB, **_IF_NONE}, data=data)

    def replace(self, name: str, data: bytes, tag: str) -> None:
        """Write an object over the version with this ETag."""
        self._replace(name, data, {**_BLOB, "if-match": tag})

    def write(self, name: str, data: bytes) -> None:
        """Write an object, whatever is there."""
        self._repeated(f"write {name}", "PUT", name, headers=_BLOB, data=data)

    def delete(self, name: str) -> None:
        """Remove an object; a missing one is no error."""
        self._remove(name, _WITH_SNAPSHOTS)

    # ---- in parts --------------------------------------------------------------------------------

    def begin_parts(self, name: str) -> str:
        """An id with the time of the store; nothing is there before the first part."""
        del name
        return f"{int(self.now().timestamp()):010d}{secrets.token_hex(11)}"

    def write_part(self, name: str, upload_id: str, number: int, data: bytes) -> str:
        """Write the n-th part, from 1 on; returns the name of the block."""
        block = base64.b64encode(f"{upload_id}{number:05d}".encode()).decode()
        query = {"comp": "block", "blockid": block}
        self._repeated(f"write {name}", "PUT", name, query, data=data)
        return block

    def complete_parts(self, name: str, upload_id: str, tags: Sequence[str]) -> None:
        """Make the object of its parts, if there is none; the caller asks for its length anyway."""
        del upload_id
        with suppress(ConditionError):
            self._commit(f"write {name}", name, tags)

    def abort_parts(self, name: str, upload_id: str) -> None:
        """Forget the parts: a list without blocks takes them away, and its empty object is removed."""
        del upload_id
        what = f"remove the parts of {name}"
        with suppress(ConditionError, MissingError):  # or the object is there, and has no parts
            made = self._commit(what, name, ())
            unchanged = {"if-match": made.headers.get("etag", "")}
            self._repeated(what, "DELETE", name, headers={**unchanged, **_WITH_SNAPSHOTS})

    def open_uploads(self) -> Iterator[OpenUpload]:
        """The bodies that have blocks and are not there."""
        for one in self._listed("body", {"include": "uncommittedblobs"}):
            # a body that is there is never empty; an emulator gives ETag and time to one that is not
            name = self.address.below(web.text(one, "Name"))
            found = self._begun(name) if self._is_uncommitted(one) else None
            if found is not None:
                yield found

    # ---- inside ----------------------------------------------------------------------------------

    def _commit(self, what: str, name: str, tags: Sequence[str]) -> Answer:
        """Make an object of some blocks, if there is none; all other blocks of this name are forgotten."""
        blocks = "".join(f"<Uncommitted>{escape(tag)}</Uncommitted>" for tag in tags)
        document = f'<?xml version="1.0" encoding="utf-8"?><BlockList>{blocks}</BlockList>'
        query, data = {"comp": "blocklist"}, document.encode()
        return self._repeated(what, "PUT", name, query, headers=_IF_NONE, data=data)

    @staticmethod
    def _is_uncommitted(one: Element) -> bool:
        return web.text(one, "Properties/Content-Length") in {"", "0"}

    def _begun(self, name: str) -> OpenUpload | None:
        """The upload of a blob that is not there, by the name of its first block; None if it is none of ours."""
        query = {"comp": "blocklist", "blocklisttype": "uncommitted"}
        try:
            found = self._parsed(self._repeated(f"look at {name}", "GET", name, query))
            block = base64.b64decode(web.text(found, "UncommittedBlocks/Block/Name")).decode()
        except (MissingError, binascii.Error, UnicodeDecodeError):
            return None
        match = _UPLOAD.match(block)
        if match is None:
            return None
        return OpenUpload(name, match[0], datetime.fromtimestamp(int(match[1]), UTC))

    def _listed(self, folder: str, options: Mapping[str, str] | None = None) -> Iterator[Element]:
        def page(place: Mapping[str, str]) -> Element:
            return self._parsed(self._page(folder, {**_LIST, **(options or {}), **place}))

        def following(found: Element) -> Mapping[str, str]:
            marker = web.text(found, "NextMarker")
            return {"marker": marker} if marker else {}

        return web.paged(page, following, "Blobs/Blob")


def build(address: Address) -> AzureBucket:
    """The objects of an address; asks nobody."""
    return AzureBucket(address, Connection(address))


STORE: Final = StoreKind(
    "az",
    build,
    example="az://account/container/prefix",
    container=(
        (re.compile(r"[a-z0-9]{3,24}"), "names no account"),
        (re.compile(r"[a-z0-9](-?[a-z0-9]){2,62}"), "names no container"),
    ),
    options={
        "endpoint": ENDPOINT,
        "client_id": Option(re.compile(r"[A-Za-z0-9-]{1,127}"), "names no client id"),
    },
    options_words="one endpoint and one client_id",
)
