"""The Vault door of a node that is opened in this process, and connections on which a test writes its own bytes."""

import json
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from strongroom.doors.http.gate import Gate
from strongroom.doors.http.settings import WebSettings
from strongroom.doors.vault import server
from strongroom.node.opening import Node
from strongroom.services.service_keys.by import By
from strongroom.services.service_keys.tokens import Wanted

BY = By("os:tests")


@dataclass(frozen=True)
class Said:
    """An answer: its status, its headers by lower-case name, and its body."""

    status: int
    headers: dict[str, str]
    raw: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.raw) if self.raw else {}

    @property
    def told(self) -> object:
        """What the answer says, without what differs in each answer."""
        found = self.json
        found.pop("request_id", None)
        return self.status, found


@dataclass
class Line:
    """One connection."""

    raw: socket.socket
    _rest: bytes = field(default=b"", init=False)

    def send(self, data: bytes) -> None:
        self.raw.sendall(data)

    def read(self) -> Said | None:
        """The next answer; None if the door closed the connection."""
        while b"\r\n\r\n" not in self._rest:
            if not self._more():
                return None
        head, _, rest = self._rest.partition(b"\r\n\r\n")
        first, *lines = head.decode().split("\r\n")
        headers = {}
        for line in lines:
            name, _, value = line.partition(": ")
            headers[name.lower()] = value
        length = int(headers.get("content-length", "0"))
        self._rest = rest
        while len(self._rest) < length:
            if not self._more():
                return None
        body, self._rest = self._rest[:length], self._rest[length:]
        return Said(int(first.split(" ")[1]), headers, body)

    def _more(self) -> bool:
        try:
            part = self.raw.recv(65536)
        except (ConnectionError, ssl.SSLError):
            return False
        self._rest += part
        return bool(part)

    def call(self, data: bytes) -> Said:
        """Send bytes, and read an answer."""
        self.send(data)
        found = self.read()
        assert found is not None, data[:200]
        return found


@dataclass
class Edge:
    """The door of a node of this process."""

    node: Node
    url: str
    root: str

    @contextmanager
    def line(self, ca_file: str = "") -> Iterator[Line]:
        """A connection; with a CA one of TLS."""
        to = urlsplit(self.url)
        raw = socket.create_connection((to.hostname or "", to.port or 0), timeout=60)
        if ca_file:
            context = ssl.create_default_context(cafile=ca_file)
            raw = context.wrap_socket(raw, server_hostname=to.hostname)
        with raw:
            yield Line(raw)

    def call(
        self, path: str, body: object = None, *, token: str = "", method: str = "POST"
    ) -> Said:
        """One call on a connection of its own; by root unless a token is given."""
        with self.line() as line:
            return line.call(request(path, body, token or self.root, method=method))

    def token(self, **wanted: Any) -> str:
        return new_token(self.node, **wanted)

    def events(self, *ids: str) -> list[dict[str, Any]]:
        """The events about services, or those of some ids."""
        found = [dict(one) for one in self.node.events.read()]
        return [
            one
            for one in found
            if (one["id"] in ids if ids else str(one["id"]).startswith("SERVICE_"))
        ]


def request(
    path: str, body: object = None, token: str = "", *, method: str = "POST", more: str = ""
) -> bytes:
    """A request as most clients send it."""
    raw = b"" if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
    given = f"X-Vault-Token: {token}\r\n" if token else ""
    head = f"{method} /v1/{path} HTTP/1.1\r\nHost: x\r\n{given}{more}Content-Length: {len(raw)}\r\n\r\n"
    return head.encode() + raw


def new_token(node: Node, **wanted: Any) -> str:
    """A token; of root unless policies are given."""
    made = node.service_tokens.create(BY, Wanted(**{"policies": ["root"], **wanted}))
    return made.secret.reveal().decode()


@contextmanager
def edge(
    node: Node, settings: WebSettings | None = None, gate: Gate | None = None
) -> Iterator[Edge]:
    """The door of a node, with a token of root."""
    with server.serving(node, "127.0.0.1", 0, settings, gate) as url:
        yield Edge(node, url, new_token(node))


def at_once(count: int, work: Any) -> list[Any]:
    """What some threads found that began in one moment; `work` takes its number."""
    found: list[Any] = [None] * count
    gate = threading.Barrier(count)

    def run(number: int) -> None:
        gate.wait()
        found[number] = work(number)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    return found
