"""A small client of the publishing API, so that the server is what is measured.

It sends a file by `sendfile`, and reads an answer into one buffer.
"""

import hashlib
import http.client
import re
import socket
import time
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from benchmarks.measure import BenchError

API = "/api/3.26"
_BOUNDARY = "benchmark-boundary"
_MAGIC = b"PAR1"  # what a .parquet begins with; the rest is never looked at
_LIMIT_S = 300
_RECEIVED_AT_ONCE = 1024 * 1024


@dataclass(frozen=True)
class Received:
    """An answer that was read to its end.

    Attributes:
        first_s: From the connection's beginning to the first byte of the body.
        whole_s: To its last byte.
        count: Bytes of the body.
        digest: Their SHA-256, if it was asked for.
    """

    first_s: float
    whole_s: float
    count: int
    digest: str


@dataclass
class Client:
    """One session."""

    url: str
    token: str = ""
    site: str = ""

    def sign_in(self, name: str, password: str, content_url: str) -> None:
        """Get a token."""
        body = (
            f'<tsRequest><credentials name="{name}" password="{password}">'
            f'<site contentUrl="{content_url}" /></credentials></tsRequest>'
        )
        answer = self.call("POST", "/auth/signin", body)
        self.token, self.site = (
            _found(r'token="([^"]+)"', answer),
            _found(r'<site id="([^"]+)"', answer),
        )

    def call(self, method: str, path: str, body: str | None = None) -> str:
        """One small request.

        Raises:
            BenchError: It was refused.
        """
        connection = http.client.HTTPConnection(urlsplit(self.url).netloc, timeout=_LIMIT_S)
        try:
            headers = {"x-tableau-auth": self.token} if self.token else {}
            connection.request(method, API + path, body, headers)
            answer = connection.getresponse()
            text = answer.read().decode()
        finally:
            connection.close()
        if answer.status >= 300:
            raise BenchError(f"{method} {path}: {answer.status} {text[:300]}")
        return text

    def publish(self, source: Path, name: str) -> tuple[float, str]:
        """Publish a file as a data source in one request; seconds, and the item's id."""
        head = _request(name) + _head("tableau_datasource", "bench.parquet") + _MAGIC
        wall, text = self.post(f"{API}/sites/{self.site}/datasources", head, source)
        return wall, _found(r'<datasource [^>]*\bid="([^"]+)"', text)

    def publish_in_parts(self, source: Path, name: str, part_bytes: int) -> tuple[float, str]:
        """Publish a file in parts, as TSC does with large ones; seconds, and the item's id."""
        began, size = time.perf_counter(), source.stat().st_size
        base = f"/sites/{self.site}"
        upload = _found(
            r'uploadSessionId="([^"]+)"', self.call("POST", f"{base}/fileUploads", "<tsRequest />")
        )
        for start in range(0, size, part_bytes):
            head = _request() + _head("tableau_file", "part") + (b"" if start else _MAGIC)
            span = (start, min(part_bytes, size - start))
            self.post(f"{API}{base}/fileUploads/{upload}", head, source, method="PUT", span=span)
        query = f"uploadSessionId={upload}&datasourceType=parquet"
        _, text = self.post(f"{API}{base}/datasources?{query}", _request(name), source, span=(0, 0))
        item = _found(r'<datasource [^>]*\bid="([^"]+)"', text)
        return time.perf_counter() - began, item

    def get(
        self, path: str, span: tuple[int, int] | None = None, *, hashed: bool = False
    ) -> Received:
        """Read an answer to its end; `span` is the range from a byte to before another.

        Raises:
            BenchError: It was refused, or cut.
        """
        parts = urlsplit(self.url)
        lines = [f"GET {path} HTTP/1.1", f"Host: {parts.netloc}", "Connection: close"]
        lines += [f"x-tableau-auth: {self.token}"] if self.token else []
        lines += [f"Range: bytes={span[0]}-{span[1] - 1}"] if span else []
        digest, buffer = hashlib.sha256(), memoryview(bytearray(_RECEIVED_AT_ONCE))
        began = time.perf_counter()
        with socket.create_connection((parts.hostname, parts.port), _LIMIT_S) as connection:
            connection.sendall("\r\n".join([*lines, "", ""]).encode())
            answer = http.client.HTTPResponse(connection)
            answer.begin()
            if answer.status >= 300 or answer.length is None:
                raise BenchError(f"GET {path}: {answer.status} {answer.read(300)!r}")
            length, count, first = answer.length, 0, 0.0
            while count < length and (got := answer.readinto(buffer)):
                first = first or time.perf_counter() - began
                count += got
                if hashed:
                    digest.update(buffer[:got])
        whole = time.perf_counter() - began
        if count != length:
            raise BenchError(f"GET {path}: {count} of {length} bytes")
        return Received(first, whole, count, digest.hexdigest())

    def post(
        self,
        path: str,
        head: bytes,
        source: Path,
        *,
        method: str = "POST",
        span: tuple[int, int] | None = None,
    ) -> tuple[float, str]:
        """Send a multipart body that ends with a file, or `span` of it (from, count); seconds from connect to answer.

        Raises:
            BenchError: It was refused.
        """
        start, count = span or (0, source.stat().st_size)
        end = f"\r\n--{_BOUNDARY}--\r\n".encode()
        length = len(head) + count + len(end)
        parts = urlsplit(self.url)
        lines = [
            f"{method} {path} HTTP/1.1",
            f"Host: {parts.netloc}",
            f"Content-Length: {length}",
            f"Content-Type: multipart/mixed; boundary={_BOUNDARY}",
            f"x-tableau-auth: {self.token}",
        ]
        began = time.perf_counter()
        with (
            socket.create_connection((parts.hostname, parts.port), _LIMIT_S) as connection,
            source.open("rb") as file,
        ):
            connection.sendall("\r\n".join([*lines, "", ""]).encode() + head)
            if count:
                connection.sendfile(file, start, count)
            connection.sendall(end)
            answer = http.client.HTTPResponse(connection)
            answer.begin()
            text = answer.read().decode()
        wall = time.perf_counter() - began
        if answer.status >= 300:
            raise BenchError(f"{method} {path}: {answer.status} {text[:300]}")
        return wall, text


def _request(name: str = "") -> bytes:
    """The first part of a body: the request itself."""
    payload = f'<tsRequest><datasource name="{name}" /></tsRequest>' if name else ""
    return _head("request_payload", "", "text/xml") + f"{payload}\r\n".encode()


def _head(part: str, filename: str, kind: str = "application/octet-stream") -> bytes:
    named = f'; filename="{filename}"' if filename else ""
    return (
        f'--{_BOUNDARY}\r\nContent-Disposition: form-data; name="{part}"{named}\r\n'
        f"Content-Type: {kind}\r\n\r\n"
    ).encode()


def _found(pattern: str, text: str) -> str:
    match = re.search(pattern, text)
    if match is None:
        raise BenchError(f"no {pattern} in the answer: {text[:300]}")
    return match[1]
