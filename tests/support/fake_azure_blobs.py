"""Azure Blob Storage as far as an object store of ours asks it: block blobs, conditions, blocks, lists, signatures.

Azurite is Microsoft's own emulator; the suite in `tests/contract/objectstore` runs over it instead of this one where
`STRONGROOM_TESTS_AZURITE` names the folder of its package (ADR 65).
"""

import base64
import hashlib
import hmac
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import format_datetime
from urllib.parse import unquote
from xml.etree import ElementTree as ET

from strongroom.objectstore.web import Request
from tests.support import fake_objects
from tests.support.fake_objects import PAGE, Asked, Objects, Stored, Told
from tests.support.tls import Authority

ACCOUNT = "strongroomtests"
KEY = base64.b64encode(b"key of the account of tests, 64 bytes as those of Azure have it").decode()
_SIGNED = ("content-encoding", "content-language", "content-length", "content-md5", "content-type")
_SIGNED_LATER = ("if-modified-since", "if-match", "if-none-match", "if-unmodified-since", "range")


def asked_of(request: Request) -> Asked:
    """A request of the product as the service sees it."""
    headers = {**request.headers, "content-length": str(len(request.data))}
    path = unquote(request.path)
    return Asked(request.method, path, request.path, request.query, headers, request.data)


def signature(asked: Asked, key: str = KEY) -> str:
    """What the header `authorization` must be, by the words of the service's documentation."""
    headers = dict(asked.headers)
    if headers.get("content-length") == "0":
        headers["content-length"] = ""
    text = asked.method + "\n" + "".join(f"{headers.get(name, '')}\n" for name in _SIGNED)
    text += f"{headers.get('date', '') if 'x-ms-date' not in headers else ''}\n"
    text += "".join(f"{headers.get(name, '')}\n" for name in _SIGNED_LATER)
    text += "".join(f"{name}:{headers[name]}\n" for name in sorted(headers) if name[:5] == "x-ms-")
    text += f"/{ACCOUNT}{asked.raw_path}"
    text += "".join(f"\n{name}:{value}" for name, value in sorted(asked.query.items()))
    digest = hmac.new(base64.b64decode(key), text.encode(), hashlib.sha256).digest()
    return f"SharedKey {ACCOUNT}:{base64.b64encode(digest).decode()}"


@dataclass
class AzureBlobs:
    """The state of an account with one container.

    Attributes:
        container: The container.
        ignored: Conditions that the service does not look at.
        tokens: The bearer tokens that are taken.
        folders: Whether names make folders, as in an account with a hierarchical namespace.
    """

    container: str
    ignored: set[str] = field(default_factory=set)
    tokens: set[str] = field(default_factory=set)
    folders: bool = False
    objects: Objects = field(default_factory=Objects)
    blocks: dict[str, dict[str, bytes]] = field(default_factory=dict)

    def answer(self, asked: Asked) -> Told:
        """Answer a request."""
        kind, _, right = asked.headers.get("authorization", "").partition(" ")
        if kind == "Bearer" and right not in self.tokens:
            return _error(401, "InvalidAuthenticationInfo")
        if kind != "Bearer" and f"{kind} {right}" != signature(asked):
            return _error(403, "AuthenticationFailed")
        if "x-ms-version" not in asked.headers:
            return _error(400, "MissingRequiredHeader")
        _, account, container, *rest = asked.path.split("/", 3)
        if (account, container) != (ACCOUNT, self.container):
            return _error(404, "ContainerNotFound")
        with self.objects.lock:
            if not rest:
                return self._list(asked)
            handler = {
                ("GET", ""): self._get,
                ("HEAD", ""): self._get,
                ("GET", "blocklist"): self._blocks,
                ("PUT", ""): self._put,
                ("PUT", "block"): self._put_block,
                ("PUT", "blocklist"): self._commit,
                ("DELETE", ""): self._delete,
            }[asked.method, asked.query.get("comp", "")]
            return handler(asked, rest[0])

    # ---- inside ----------------------------------------------------------------------------------

    def _get(self, asked: Asked, name: str) -> Told:
        stored = self.objects.found.get(name)
        if stored is None:
            return _error(404, "BlobNotFound")
        if "range" in asked.headers:
            part = fake_objects.ranged(asked, stored.data)
            return part or _error(416, "InvalidRange")
        length = {"Content-Length": str(len(stored.data))}
        return Told(200, stored.data, {**_facts(stored), **length})

    def _put(self, asked: Asked, name: str) -> Told:
        if asked.headers.get("x-ms-blob-type") != "BlockBlob":
            return _error(400, "InvalidHeaderValue")
        return self._refusal(asked, name) or self._made(name, asked.body)

    def _put_block(self, asked: Asked, name: str) -> Told:
        of_blob, block = self.blocks.setdefault(name, {}), asked.query["blockid"]
        raw = base64.b64decode(block, validate=True)
        if len(raw) > 64 or any(len(other) != len(block) for other in of_blob):
            return _error(400, "InvalidBlobOrBlock")
        of_blob[block] = asked.body
        return Told(201)

    def _commit(self, asked: Asked, name: str) -> Told:
        refused = self._refusal(asked, name)
        if refused is not None:
            return refused
        wanted = [one.text or "" for one in ET.fromstring(asked.body).iterfind("Uncommitted")]
        of_blob = self.blocks.get(name, {})
        if not set(wanted) <= of_blob.keys():
            return _error(400, "InvalidBlockList")
        return self._made(name, b"".join(of_blob[one] for one in wanted))

    def _blocks(self, asked: Asked, name: str) -> Told:
        if name not in self.blocks and name not in self.objects.found:
            return _error(404, "BlobNotFound")
        root = ET.Element("BlockList")
        found = ET.SubElement(root, "UncommittedBlocks")
        for block, data in self.blocks.get(name, {}).items():
            one = ET.SubElement(found, "Block")
            ET.SubElement(one, "Name").text = block
            ET.SubElement(one, "Size").text = str(len(data))
        return _document(root)

    def _delete(self, asked: Asked, name: str) -> Told:
        if name not in self.objects.found:
            return _error(404, "BlobNotFound")
        refused = self._refusal(asked, name)
        if refused is None:
            del self.objects.found[name]
        return refused or Told(202)

    def _made(self, name: str, data: bytes) -> Told:
        self.blocks.pop(name, None)
        return Told(201, b"", _facts(self.objects.put(name, data)))

    def _refusal(self, asked: Asked, name: str) -> Told | None:
        stored = self.objects.found.get(name)
        wanted = {name: value for name, value in asked.headers.items() if name not in self.ignored}
        if stored is not None and wanted.get("if-none-match") == "*":
            return _error(409, "BlobAlreadyExists")
        tag = wanted.get("if-match")
        if tag is not None and (stored is None or tag != _facts(stored)["ETag"]):
            return _error(412, "ConditionNotMet")
        return None

    def _list(self, asked: Asked) -> Told:
        prefix, behind = asked.query.get("prefix", ""), asked.query.get("marker", "")
        names = set(self.objects.names(prefix, behind))
        if "uncommittedblobs" in asked.query.get("include", ""):
            names |= {one for one in self.blocks if one.startswith(prefix) and one > behind}
        if self.folders:
            names |= {one.rpartition("/")[0] for one in names if "/" in one.removeprefix(prefix)}
        most = min(PAGE, int(asked.query.get("maxresults", PAGE)))
        root = ET.Element("EnumerationResults", ContainerName=self.container)
        found = ET.SubElement(root, "Blobs")
        for name in sorted(names)[:most]:
            self._listed(ET.SubElement(found, "Blob"), name)
        ET.SubElement(root, "NextMarker").text = (
            sorted(names)[most - 1] if len(names) > most else ""
        )
        return _document(root)

    def _listed(self, one: ET.Element, name: str) -> None:
        ET.SubElement(one, "Name").text = name
        facts = ET.SubElement(one, "Properties")
        stored = self.objects.found.get(name)
        ET.SubElement(facts, "Content-Length").text = str(len(stored.data) if stored else 0)
        ET.SubElement(facts, "BlobType").text = "BlockBlob"
        if stored is None and name in self.blocks:
            return
        told = _facts(stored or Stored(b"", 0, datetime.now(UTC)))
        ET.SubElement(facts, "Last-Modified").text = told["Last-Modified"]
        ET.SubElement(facts, "Etag").text = told["ETag"].strip('"')


@contextmanager
def running(container: str, authority: Authority | None = None) -> Iterator[tuple[str, AzureBlobs]]:
    """The service with an empty container; its URL, and its state."""
    service = AzureBlobs(container)
    with fake_objects.served(service.answer, authority) as url:
        yield url, service


def _facts(stored: Stored) -> dict[str, str]:
    return {
        "ETag": f'"0x{stored.version:016X}"',
        "Last-Modified": format_datetime(stored.changed, usegmt=True),
    }


def _document(root: ET.Element) -> Told:
    # the service's documents begin with a byte order mark
    data = b"\xef\xbb\xbf" + ET.tostring(root, "utf-8", xml_declaration=True)
    return Told(200, data, {"Content-Type": "application/xml"})


def _error(status: int, code: str) -> Told:
    said = f"<Error><Code>{code}</Code><Message>{code} of the fake</Message></Error>"
    return Told(status, said.encode(), {"x-ms-error-code": code})
