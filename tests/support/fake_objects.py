"""What the fakes of object stores share: objects with versions and times, conditions, pages, and an HTTP server."""

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qsl, unquote, urlsplit

from typing_extensions import override

from tests.support.tls import Authority

PAGE = 7  # objects in an answer, so that every list of some length has pages


@dataclass(frozen=True)
class Asked:
    """A request.

    Attributes:
        method: Its method.
        path: Its path, decoded.
        raw_path: Its path as it came.
        query: Its query, decoded.
        headers: Its headers, by their names in lower case.
        body: Its body.
    """

    method: str
    path: str
    raw_path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True)
class Told:
    """An answer."""

    status: int
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Stored:
    """A version of an object."""

    data: bytes
    version: int
    changed: datetime


class Objects:
    """The objects of one container; the lock is for whoever answers a request."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.found: dict[str, Stored] = {}
        self._version = int(time.time() * 1000)

    def put(self, name: str, data: bytes) -> Stored:
        """Write a new version."""
        self._version += 1
        self.found[name] = stored = Stored(data, self._version, datetime.now(UTC))
        return stored

    def names(self, prefix: str, behind: str = "") -> list[str]:
        """Names with a beginning, in their order, that stand behind another one."""
        return sorted(name for name in self.found if name.startswith(prefix) and name > behind)


def ranged(asked: Asked, data: bytes) -> Told | None:
    """The answer to a read with a range; None if it has none, or one that lies outside."""
    wanted = asked.headers.get("range", "")
    first, _, last = wanted.removeprefix("bytes=").partition("-")
    if not wanted or int(first) >= len(data):
        return None
    part = data[int(first) : int(last) + 1]
    place = f"bytes {first}-{int(first) + len(part) - 1}/{len(data)}"
    return Told(206, part, {"Content-Range": place})


@contextmanager
def served(answer: Callable[[Asked], Told], authority: Authority | None = None) -> Iterator[str]:
    """Serve on 127.0.0.1, with connections that stay; gives the URL."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = -1  # headers and body in one packet

        def handle_one(self) -> None:
            parts = urlsplit(self.path)
            told = answer(
                Asked(
                    self.command,
                    unquote(parts.path),
                    parts.path,
                    dict(parse_qsl(parts.query, keep_blank_values=True)),
                    {name.lower(): value for name, value in self.headers.items()},
                    self.rfile.read(int(self.headers.get("content-length") or 0)),
                )
            )
            self.send_response_only(told.status)
            self.send_header("Date", format_datetime(datetime.now(UTC), usegmt=True))
            for name, value in told.headers.items():
                self.send_header(name, value)
            if "Content-Length" not in told.headers:
                self.send_header("Content-Length", str(len(told.body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(told.body)
            self.wfile.flush()

        do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = handle_one  # noqa: N815 names of the library

        @override
        def log_message(self, *_: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        @override
        def handle_error(self, request: object, client_address: object) -> None:
            """Clients that go away are what the tests are about."""

    with Server(("127.0.0.1", 0), Handler) as server:
        if authority is not None:
            server.socket = authority.server_context().wrap_socket(
                server.socket, server_side=True, do_handshake_on_connect=False
            )
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield f"http{'s' if authority else ''}://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()
