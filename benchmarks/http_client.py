"""A small client of the publishing API: it sends a file by `sendfile`, so that the server is what is measured."""

import http.client
import re
import socket
import time
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from benchmarks.measure import BenchError

_API = "/api/3.26"
_BOUNDARY = "benchmark-boundary"
_MAGIC = b"PAR1"  # what a .parquet begins with; the rest is never looked at
_LIMIT_S = 300


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
            connection.request(method, _API + path, body, headers)
            answer = connection.getresponse()
            text = answer.read().decode()
        finally:
            connection.close()
        if answer.status >= 300:
            raise BenchError(f"{method} {path}: {answer.status} {text[:300]}")
        return text

    def publish(self, source: Path, name: str) -> tuple[float, str]:
        """Publish a file as a data source in one request; seconds, and the item's id."""
        payload = f'<tsRequest><datasource name="{name}" /></tsRequest>'
        head = "".join(
            f"--{_BOUNDARY}\r\nContent-Disposition: form-data; name={part}\r\nContent-Type: {kind}\r\n\r\n{text}"
            for part, kind, text in (
                ('"request_payload"', "text/xml", f"{payload}\r\n"),
                ('"tableau_datasource"; filename="bench.parquet"', "application/octet-stream", ""),
            )
        )
        wall, text = self.post(
            f"{_API}/sites/{self.site}/datasources", head.encode() + _MAGIC, source
        )
        return wall, _found(r'<datasource [^>]*\bid="([^"]+)"', text)

    def post(self, path: str, head: bytes, source: Path) -> tuple[float, str]:
        """Send a multipart body that ends with a file; seconds from connect to answer.

        Raises:
            BenchError: It was refused.
        """
        end = f"\r\n--{_BOUNDARY}--\r\n".encode()
        length = len(head) + source.stat().st_size + len(end)
        parts = urlsplit(self.url)
        lines = [
            f"POST {path} HTTP/1.1",
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
            connection.sendfile(file)
            connection.sendall(end)
            answer = http.client.HTTPResponse(connection)
            answer.begin()
            text = answer.read().decode()
        wall = time.perf_counter() - began
        if answer.status >= 300:
            raise BenchError(f"POST {path}: {answer.status} {text[:300]}")
        return wall, text


def _found(pattern: str, text: str) -> str:
    match = re.search(pattern, text)
    if match is None:
        raise BenchError(f"no {pattern} in the answer: {text[:300]}")
    return match[1]
