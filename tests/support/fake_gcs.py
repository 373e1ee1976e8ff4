"""Google Cloud Storage as far as an object store of ours asks it: the XML interface, with tokens and generations.

Google offers no emulator of that interface. The answers are those of its documentation; the library that gets tokens is
Google's.
"""

import json
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import format_datetime
from xml.etree import ElementTree as ET

from tests.support import fake_objects
from tests.support.cloud_kms import service_account
from tests.support.fake_objects import PAGE, Asked, Objects, Stored, Told

_CONDITION = "x-goog-if-generation-match"
_NAMESPACE = "http://doc.s3.amazonaws.com/2006-03-01"
_LEAST_PART = 5 << 20


@dataclass
class Upload:
    """An upload of parts."""

    name: str
    begun: datetime
    parts: dict[int, bytes] = field(default_factory=dict)


@dataclass
class Gcs:
    """The state of one bucket.

    Attributes:
        bucket: Its name.
        is_honest: Whether conditions of writes are looked at.
        tokens: The bearer tokens that are taken.
        least_part: Length in bytes of the smallest part but the last.
        gives_tokens: Whether a service account gets a token.
    """

    bucket: str
    is_honest: bool = True
    tokens: set[str] = field(default_factory=set)
    least_part: int = _LEAST_PART
    gives_tokens: bool = True
    objects: Objects = field(default_factory=Objects)
    uploads: dict[str, Upload] = field(default_factory=dict)

    def answer(self, asked: Asked) -> Told:
        """Answer a request."""
        if (asked.method, asked.path) == ("POST", "/token"):
            return self._token()
        if asked.headers.get("authorization", "").removeprefix("Bearer ") not in self.tokens:
            return _error(401, "AuthenticationRequired")
        _, bucket, *rest = asked.path.split("/", 2)
        if bucket != self.bucket:
            return _error(404, "NoSuchBucket")
        with self.objects.lock:
            if not rest:
                return self._uploads(asked) if "uploads" in asked.query else self._list(asked)
            return self._about(asked, rest[0])

    # ---- inside ----------------------------------------------------------------------------------

    def _token(self) -> Told:
        if not self.gives_tokens:
            return Told(400, b'{"error": "invalid_grant", "error_description": "no such account"}')
        token = f"ya29.{secrets.token_urlsafe(24)}"
        self.tokens.add(token)
        told = {"access_token": token, "expires_in": 3599, "token_type": "Bearer"}
        return Told(200, json.dumps(told).encode(), {"Content-Type": "application/json"})

    def _about(self, asked: Asked, name: str) -> Told:
        if "uploads" in asked.query or "uploadId" in asked.query:
            return self._in_parts(asked, name)
        stored = self.objects.found.get(name)
        if asked.method == "PUT":
            return self._put(asked, name, stored)
        if stored is None:
            return _error(404, "NoSuchKey")
        if asked.method == "DELETE":
            del self.objects.found[name]
            return Told(204)
        if "range" in asked.headers:
            return fake_objects.ranged(asked, stored.data) or _error(416, "InvalidRange")
        length = {"Content-Length": str(len(stored.data))}
        return Told(200, stored.data, {**_facts(stored), **length})

    def _put(self, asked: Asked, name: str, stored: Stored | None) -> Told:
        wanted = asked.headers.get(_CONDITION)
        present = str(stored.version) if stored else "0"
        if self.is_honest and wanted is not None and wanted != present:
            return _error(412, "PreconditionFailed")
        return Told(200, b"", _facts(self.objects.put(name, asked.body)))

    def _in_parts(self, asked: Asked, name: str) -> Told:
        if "uploads" in asked.query:
            upload_id = secrets.token_urlsafe(24)
            self.uploads[upload_id] = Upload(name, datetime.now(UTC))
            told = {"Bucket": self.bucket, "Key": name, "UploadId": upload_id}
            return _document(_tree("InitiateMultipartUploadResult", told))
        upload_id = asked.query["uploadId"]
        upload = self.uploads.get(upload_id)
        if upload is None or upload.name != name:
            return _error(404, "NoSuchUpload")
        if asked.method == "PUT":
            number = int(asked.query["partNumber"])
            upload.parts[number] = asked.body
            return Told(200, b"", {"ETag": f'"{number}-{len(asked.body)}"'})
        if asked.method == "POST":
            return self._complete(asked, upload_id, upload)
        del self.uploads[upload_id]
        return Told(204)

    def _complete(self, asked: Asked, upload_id: str, upload: Upload) -> Told:
        named = ET.fromstring(asked.body).iterfind("Part")
        parts = [(int(one.findtext("PartNumber", "")), one.findtext("ETag", "")) for one in named]
        known = {number: f'"{number}-{len(data)}"' for number, data in upload.parts.items()}
        if not parts or any(known.get(number) != tag for number, tag in parts):
            return _error(400, "InvalidPart")
        data = [upload.parts[number] for number, _ in parts]
        if any(len(one) < self.least_part for one in data[:-1]):
            return _error(400, "EntityTooSmall")
        del self.uploads[upload_id]
        stored = self.objects.put(upload.name, b"".join(data))
        told = {"Bucket": self.bucket, "Key": upload.name}
        return _document(_tree("CompleteMultipartUploadResult", told), _facts(stored))

    def _list(self, asked: Asked) -> Told:
        prefix = asked.query.get("prefix", "")
        names = self.objects.names(prefix, asked.query.get("continuation-token", ""))
        most = min(PAGE, int(asked.query.get("max-keys", PAGE)))
        told = {"Name": self.bucket, "Prefix": prefix}
        told["IsTruncated"] = str(len(names) > most).lower()
        if len(names) > most:
            told["NextContinuationToken"] = names[most - 1]
        root = _tree("ListBucketResult", told)
        for name in names[:most]:
            stored = self.objects.found[name]
            facts = {
                "Key": name,
                "Generation": str(stored.version),
                "LastModified": _time(stored.changed),
                "Size": str(len(stored.data)),
            }
            root.append(_tree("Contents", facts))
        return _document(root)

    def _uploads(self, asked: Asked) -> Told:
        prefix = asked.query.get("prefix", "")
        behind = asked.query.get("key-marker", ""), asked.query.get("upload-id-marker", "")
        places = sorted(
            (upload.name, upload_id)
            for upload_id, upload in self.uploads.items()
            if upload.name.startswith(prefix) and (upload.name, upload_id) > behind
        )
        told = {"Bucket": self.bucket, "IsTruncated": str(len(places) > PAGE).lower()}
        if len(places) > PAGE:
            told["NextKeyMarker"], told["NextUploadIdMarker"] = places[PAGE - 1]
        root = _tree("ListMultipartUploadsResult", told)
        for name, upload_id in places[:PAGE]:
            begun = _time(self.uploads[upload_id].begun)
            root.append(_tree("Upload", {"Key": name, "UploadId": upload_id, "Initiated": begun}))
        return _document(root)


@contextmanager
def running(bucket: str) -> Iterator[tuple[str, Gcs]]:
    """The service with an empty bucket; its URL, and its state."""
    service = Gcs(bucket)
    with fake_objects.served(service.answer) as url:
        yield url, service


def account(url: str) -> bytes:
    """The key of a service account that the service lets in, as JSON."""
    return service_account(f"{url}/token")


def _facts(stored: Stored) -> dict[str, str]:
    return {
        "ETag": f'"{stored.version:x}"',
        "x-goog-generation": str(stored.version),
        "Last-Modified": format_datetime(stored.changed, usegmt=True),
    }


def _time(when: datetime) -> str:
    return when.strftime("%Y-%m-%dT%H:%M:%S.") + f"{when.microsecond // 1000:03d}Z"


def _tree(name: str, facts: Mapping[str, str]) -> ET.Element:
    root = ET.Element(name)
    for key, value in facts.items():
        ET.SubElement(root, key).text = value
    return root


def _document(root: ET.Element, headers: Mapping[str, str] | None = None) -> Told:
    root.set("xmlns", _NAMESPACE)
    data = ET.tostring(root, "utf-8", xml_declaration=True)
    return Told(200, data, {**(headers or {}), "Content-Type": "application/xml; charset=UTF-8"})


def _error(status: int, code: str) -> Told:
    said = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>{code}</Message></Error>"
    return Told(status, said.encode(), {"Content-Type": "application/xml; charset=UTF-8"})
