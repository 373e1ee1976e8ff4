"""An HTTP server of a test, in its own process: answers by a function, or by a fault that is switched on."""

import http.client
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from enum import StrEnum
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, ClassVar
from urllib.parse import urlsplit

from typing_extensions import override

from tests.support.tls import Authority

if TYPE_CHECKING:
    from email.message import Message


class Fault(StrEnum):
    """What can be wrong with a root (R10), and what it then says."""

    UNREACHABLE = "unreachable"
    SLOW = "slow"
    RESET = "reset"
    BAD_TLS = "bad TLS"
    SERVER_ERROR = "server error"
    THROTTLED = "throttled"
    REFUSED = "refused"
    DISABLED = "disabled"
    PENDING_DELETION = "pending deletion"
    EXPIRED = "expired credentials"
    MISSING = "key missing"
    WRONG_REGION = "wrong region"


@dataclass(frozen=True)
class Request:
    """What a client sent."""

    method: str
    path: str
    headers: "Message[str, str]"
    body: bytes = b""


@dataclass(frozen=True)
class Response:
    """What it gets."""

    status: int
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)


Backend = Callable[[Request], Response]
_HOP = {"connection", "transfer-encoding", "keep-alive", "content-length", "date", "server"}


class FaultServer:
    """Serves on 127.0.0.1, with TLS of the tests' own authority if one is given."""

    def __init__(
        self,
        backend: Backend,
        authority: Authority | None = None,
        answers: Mapping[Fault, Response] | None = None,
    ) -> None:
        """Build the server; `running` starts it.

        Args:
            backend: Answers as long as there is no fault.
            authority: Gives the certificate; None is plain HTTP.
            answers: What the product answers in a fault.
        """
        self.calls: list[str] = []
        #: What came, whole.
        self.requests: list[Request] = []
        self.slow_s = 3.0
        #: Told the number of each call before it is answered.
        self.on_call: Callable[[int], None] | None = None
        #: Told the name of each call and what the backend answered.
        self.on_answer: Callable[[str, Response], None] | None = None
        self._backend = backend
        self._answers = dict(answers or {})
        self._fault: Fault | None = None
        self._left = self._good = 0
        self._authority = authority
        self._tls = authority.server_context() if authority else None
        self._server: ThreadingHTTPServer | None = None
        self._port = 0
        self._up()

    @property
    def url(self) -> str:
        """The address."""
        return f"{'https' if self._tls else 'http'}://127.0.0.1:{self._port}"

    @contextmanager
    def broken(self, fault: Fault, times: int = 1 << 30, *, after: int = 0) -> Iterator[None]:
        """Answer by a fault, for some calls or until the end of the block.

        Args:
            fault: What is wrong.
            times: How many calls get it.
            after: How many calls are answered before.
        """
        self._left, self._good, self._fault = times, after, fault
        if fault is Fault.UNREACHABLE:
            self._down()
        if fault is Fault.BAD_TLS and self._tls and self._authority:
            self._authority.load_stranger(self._tls)
        try:
            yield
        finally:
            self._fault = None
            if fault is Fault.UNREACHABLE:
                self._up()
            if fault is Fault.BAD_TLS and self._tls and self._authority:
                self._authority.load_own(self._tls)

    def mend(self) -> None:
        """End a fault that only changes answers before the end of its block."""
        self._fault = None

    def close(self) -> None:
        """Stop serving."""
        if self._server is not None:
            self._down()

    def answer(self, request: Request) -> Response | None:
        """What to say; None is a reset."""
        target = request.headers.get("X-Amz-Target", "")
        self.requests.append(request)
        self.calls.append(
            target.rpartition(".")[2] or f"{request.method} {urlsplit(request.path).path}"
        )
        if self.on_call is not None:
            self.on_call(len(self.calls))
        fault = self._fault
        if fault is not None and self._good > 0:
            self._good -= 1
        elif fault is not None and self._left > 0:
            self._left -= 1
            if fault is Fault.RESET:
                return None
            if fault is Fault.SLOW:
                time.sleep(self.slow_s)
            elif fault in self._answers:
                return self._answers[fault]
        name, answer = self.calls[-1], self._backend(request)
        if self.on_answer is not None:
            self.on_answer(name, answer)
        return answer

    def _up(self) -> None:
        self._server = _Server(("127.0.0.1", self._port), _handler(self))
        self._port = self._server.server_address[1]
        if self._tls is not None:
            # the handshake belongs to the thread of the connection: a client that refuses hurts no other
            self._server.socket = self._tls.wrap_socket(
                self._server.socket, server_side=True, do_handshake_on_connect=False
            )
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def _down(self) -> None:
        assert self._server is not None
        self._server.shutdown()
        self._server.server_close()
        self._server = None


@contextmanager
def running(
    backend: Backend,
    authority: Authority | None = None,
    answers: Mapping[Fault, Response] | None = None,
) -> Iterator[FaultServer]:
    """A server until the end of the block."""
    server = FaultServer(backend, authority, answers)
    try:
        yield server
    finally:
        server.close()


def forward_to(url: str) -> Backend:
    """A backend that hands requests on as they are; signatures over the host's name stay right."""
    address = urlsplit(url).netloc

    def forward(request: Request) -> Response:
        connection = http.client.HTTPConnection(address, timeout=60)
        try:
            connection.request(
                request.method, request.path, request.body, dict(request.headers.items())
            )
            answer = connection.getresponse()
            return Response(answer.status, answer.read(), dict(answer.getheaders()))
        finally:
            connection.close()

    return forward


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    # a new server takes the port of one that is down, as a service that comes back does
    allow_reuse_address = True

    @override
    def handle_error(self, request: object, client_address: object) -> None:
        """Clients that go away are what the tests are about."""


def _handler(owner: FaultServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = -1  # headers and body in one packet, or each answer waits 40 ms
        timeout: ClassVar[float | None] = 20

        def _serve(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            body = self.rfile.read(length)
            answer = owner.answer(Request(self.command, self.path, self.headers, body))
            self.close_connection = True
            if answer is None:
                self._reset()
                return
            self.send_response(answer.status)
            for name, value in answer.headers.items():
                if name.lower() not in _HOP:
                    self.send_header(name, value)
            self.send_header("Content-Length", str(len(answer.body)))
            self.send_header("Connection", "close")
            self.end_headers()
            self.wfile.write(answer.body)
            with suppress(OSError):
                self.wfile.flush()

        def _reset(self) -> None:
            linger = struct.pack("ii", 1, 0)
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            raw = self.connection
            if isinstance(raw, ssl.SSLSocket):
                raw = socket.socket(fileno=raw.detach())
            raw.close()

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _serve  # noqa: N815 as the base class names them

        @override
        def log_message(self, format: str, *arguments: object) -> None:
            """Tests need no access log."""

    return Handler
