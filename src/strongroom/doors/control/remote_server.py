"""The node's control service for other machines: HTTPS, TLS 1.3, one call a connection (docs/format/certificates.md 5, 6).

Another node shows its certificate, and the registry is asked at each call. A person signs in with each call, as an
administrator of the server. Whoever connects costs a thread, for a bounded time, and one address has a bounded number.
"""

import http.client
import json
import logging
import socket
import socketserver
import ssl
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler
from typing import Any, ClassVar, Final, NamedTuple

from strongroom.crypto.secret import SecretBytes
from strongroom.doors.control import reach, remote_tls, verbs
from strongroom.doors.control.ports import ControlServices
from strongroom.doors.control.remote_client import AUTHORITY_PATH, CALL_PATH
from strongroom.errors import (
    AuthenticationError,
    ConflictError,
    FormatError,
    StrongroomError,
    UsageError,
)
from strongroom.services.directory import administrators
from strongroom.services.directory.administrators import GivenName
from strongroom.services.nodes.links import LinkService, Material
from strongroom.system import disk, hosts, wire
from strongroom.system.compat import override
from strongroom.system.cutting import cut_after

HANDSHAKE_S: Final = 5.0
REQUEST_S: Final = 10.0
"""The time from the handshake's end until the request is whole."""
MOST_BYTES: Final = wire.MAX_LINE_BYTES
MOST_CALLS: Final = 64
MOST_OF_ONE: Final = 16
_LINGER_S: Final = 1.0
_MOST_LINE: Final = 8192
_TLS_RECORD: Final = b"\x16"
_PLAIN: Final = (
    b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Type: text/plain\r\n\r\n"
    b"this port speaks HTTPS (TLS 1.3) only: say https://\n"
)
_log = logging.getLogger("strongroom.control")


class Asked(NamedTuple):
    """A command of tsm that somebody elsewhere asks for.

    Attributes:
        words: The words behind `tsm`.
        actor: The administrator, as events name him.
        value: A value that was read on the other machine; None if there is none.
        asks: Whether a person is there to answer a question.
        say: Tells one message of `out`, `exact`, `note` and the like.
    """

    words: tuple[str, ...]
    actor: str
    value: str | None
    asks: bool
    say: Callable[[Mapping[str, str]], None]


@dataclass(frozen=True)
class RemotePorts:
    """The ports of the control service.

    Attributes:
        services: The services behind the verbs.
        links: The judgement on other nodes, and this node's own certificate.
        run: Carries out a command of tsm; returns its exit code, or a question that is to be answered first.
        node_id: This node.
        version: The version of this program.
    """

    services: ControlServices
    links: LinkService
    run: Callable[[Asked], int | str]
    node_id: str
    version: str


@contextmanager
def serving(ports: RemotePorts, host: str, port: int) -> Iterator[hosts.Endpoint]:
    """Answer calls from threads until the end of the block; gives the place at which connections are accepted.

    Args:
        ports: The ports of the service.
        host: An address.
        port: 0 picks a free one.

    Raises:
        ConflictError: The port is taken.
        StateError: The node has no certificate.
    """
    try:
        server = _Server(ports, host, port)
    except OSError as error:
        raise ConflictError(
            f"cannot listen on {hosts.bracketed(host)}:{port}: {disk.reason(error)}",
            hint=disk.hint_for(error, "choose another --control-port"),
        ) from error
    thread = threading.Thread(target=server.serve_forever, name="remote control", daemon=True)
    thread.start()
    try:
        bound, number = server.socket.getsockname()[:2]
        yield hosts.Endpoint(str(bound), int(number))
    finally:
        server.shutdown()
        server.server_close()


class _Server(socketserver.ThreadingMixIn, socketserver.TCPServer):
    daemon_threads = True
    block_on_close = False
    allow_reuse_address = True
    request_queue_size = 128

    def __init__(self, ports: RemotePorts, host: str, port: int) -> None:
        self.ports = ports
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._calls: Counter[str] = Counter()
        self._lock = threading.Lock()
        self._material: Material | None = None
        self._context: ssl.SSLContext | None = None
        self.context()
        super().__init__((host, port), _Handler)

    def context(self) -> ssl.SSLContext:
        """The TLS context, with the certificate as it is now."""
        material = self.ports.links.material()
        with self._lock:
            if self._context is None or material != self._material:
                self._context, self._material = remote_tls.server_context(material), material
            return self._context

    @override
    def verify_request(self, request: Any, client_address: Any) -> bool:
        """Whether another connection of this address is taken; else it is closed without a word."""
        del request
        peer = str(client_address[0])
        with self._lock:
            is_taken = self._calls.total() < MOST_CALLS and self._calls[peer] < MOST_OF_ONE
            if is_taken:
                self._calls[peer] += 1
        if not is_taken:
            _log.warning("a connection of %s is refused: too many at once", peer)
        return is_taken

    @override
    def process_request(self, request: Any, client_address: Any) -> None:
        """Begin a thread for a connection; its place is free again if the system gives none (findings R17)."""
        try:
            super().process_request(request, client_address)
        except RuntimeError:
            self._leave(str(client_address[0]))
            raise

    @override
    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._leave(str(client_address[0]))

    def _leave(self, peer: str) -> None:
        with self._lock:
            self._calls[peer] -= 1
            self._calls += Counter()  # drops those of which there is none

    @override
    def finish_request(self, request: Any, client_address: Any) -> None:
        peer = str(client_address[0])
        request.settimeout(HANDSHAKE_S)
        try:
            secured = self._shaken(request)
        except (OSError, ValueError) as error:
            _log.warning("%s is refused: %s", peer, remote_tls.refused_caller(error))
            return
        if secured is None:
            return
        try:
            super().finish_request(secured, client_address)
        except OSError as error:
            _log.info("%s went away: %s", peer, disk.reason(error))
        finally:
            secured.close()

    def _shaken(self, request: socket.socket) -> ssl.SSLSocket | None:
        """The connection after its handshake; None if the caller speaks no TLS, which was told."""
        with cut_after(request, HANDSHAKE_S), closing(request.dup()) as spare:
            if request.recv(1, socket.MSG_PEEK) not in (b"", _TLS_RECORD):
                request.sendall(_PLAIN)
                _let_read(spare)
                return None
            try:
                return self.context().wrap_socket(request, server_side=True)
            except OSError:
                _let_read(spare)
                raise

    @override
    def handle_error(self, request: Any, client_address: Any) -> None:
        del request
        _log.exception("a call from %s failed", client_address[0])


def _let_read(connection: socket.socket) -> None:
    """Let the peer read why it is refused: what it sent, and nobody read, would make the system drop the answer."""
    with suppress(OSError):
        connection.settimeout(_LINGER_S)
        connection.shutdown(socket.SHUT_WR)
        while connection.recv(65536):
            pass


class _Handler(BaseHTTPRequestHandler):
    """A call of the control service. Names and order of the methods are those of the library."""

    protocol_version = "HTTP/1.1"
    server_version = "strongroom"
    sys_version = ""
    timeout: ClassVar[float | None] = REQUEST_S

    @property
    def _ports(self) -> RemotePorts:
        assert isinstance(self.server, _Server)  # noqa: S101 for the type checker: it made us
        return self.server.ports

    @override
    def handle(self) -> None:
        self.close_connection = True
        with cut_after(self.connection, REQUEST_S) as _:
            if not self._begun():
                return
            request = self._received() if self.command == "POST" else None
        if self.command == "GET" and self.path == AUTHORITY_PATH:
            self._begin(200, "application/x-pem-file")
            self.wfile.write(self._ports.links.authority().encode("ascii"))
        elif request is None:
            self._refuse(404, UsageError(f"there is no {self.path[:80]!r} here"))
        elif isinstance(request, StrongroomError):
            self._refuse(request.http_status, request)
        else:
            self._answer(request)

    def _begun(self) -> bool:
        """Whether the head of a request came; what is none, the library has answered."""
        self.raw_requestline = self.rfile.readline(_MOST_LINE + 1)
        if len(self.raw_requestline) > _MOST_LINE:
            self.requestline, self.request_version, self.command = "", "", ""
            self.send_error(http.client.REQUEST_URI_TOO_LONG)
        elif not self.raw_requestline or self.parse_request():
            return bool(self.raw_requestline)
        self._drop_rest()
        return False

    @override
    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 the library's name
        _log.info("%s: " + format, self.client_address[0], *args)

    def _received(self) -> "dict[str, Any] | StrongroomError | None":
        """The request, or why it is none; None for another path."""
        if self.path != CALL_PATH:
            return None
        length = self.headers.get("Content-Length", "")
        if not (length.isascii() and length.isdecimal() and len(length) < 10):
            return FormatError("a call says its length in Content-Length")
        if int(length) > MOST_BYTES:
            return FormatError(f"a call has at most {MOST_BYTES} bytes, and this one {length}")
        try:
            found = json.loads(self.rfile.read(int(length)))
        except (ValueError, RecursionError):
            found = None
        if not isinstance(found, dict):
            # the message quotes nothing: a password may be in it
            return FormatError("a call is one JSON object")
        return found

    def _answer(self, request: dict[str, Any]) -> None:
        ports = self._ports
        try:
            actor, is_node = self._caller(request)
        except StrongroomError as error:
            _log.warning("%s is refused: %s", self.client_address[0], error.message)
            self._refuse(error.http_status, error)
            return
        verb, arguments = str(request.get("verb")), request.get("arguments", {})
        _log.info("%s asks from %s for %s", actor, self.client_address[0], verb[:80])
        self._begin(200, "application/x-ndjson")
        try:
            if not isinstance(arguments, dict):
                raise FormatError("a call names a verb and its arguments")
            if is_node:
                reach.check_verb_of_node(verb, actor.removeprefix("node:"))
            elif verb != reach.COMMAND:
                reach.check_verb_of_person(verb)
            self._say({"result": self._perform(ports, actor, verb, arguments)})
        except StrongroomError as error:
            self._say(wire.error_message(error))
        except (KeyError, TypeError, ValueError, AttributeError):
            _log.exception("the call %s failed", verb[:80])
            self._say(
                wire.error_message(
                    UsageError(f"the call {verb[:80]!r} cannot be carried out as it is")
                )
            )

    def _perform(
        self, ports: RemotePorts, actor: str, verb: str, arguments: dict[str, Any]
    ) -> object:
        if verb == reach.HELLO:
            return {"node": ports.node_id, "version": ports.version, **ports.links.describe()}
        if verb == reach.COMMAND:
            words = tuple(map(str, arguments["words"]))
            reach.check_command(words)
            value = arguments.get("value")
            asks = arguments.get("asks") is True
            asked = Asked(words, actor, None if value is None else str(value), asks, self._say)
            return ports.run(asked)
        return verbs.perform(
            ports.services, actor, verb, arguments, lambda text: self._say({"say": text})
        )

    def _caller(self, request: Mapping[str, Any]) -> tuple[str, bool]:
        """The caller, and whether another node calls.

        Raises:
            AuthenticationError: No person signs in, or name, password or token is wrong.
            PermissionDeniedError: The certificate is no active node's, or the person administrates nothing.
        """
        ports, peer = self._ports, str(self.client_address[0])
        certificate = self.connection.getpeercert(binary_form=True)
        if certificate:
            return f"node:{ports.links.caller(certificate)}", True
        name, password = request.get("name"), request.get("password")
        token_name, token = request.get("token_name"), request.get("token")
        if isinstance(token_name, str) and isinstance(token, str):
            given = GivenName(token_name, SecretBytes(token.encode()), is_token=True, peer=peer)
        elif isinstance(name, str) and isinstance(password, str):
            given = GivenName(name, SecretBytes(password.encode()), is_token=False, peer=peer)
        else:
            raise AuthenticationError(
                "the control service takes a node's certificate, or the name and password of an administrator",
                hint="tsm COMMAND -s https://HOST:8850 -u NAME",
            )
        return administrators.sign_in(ports.services.auth, given), False

    def _begin(self, status: int, kind: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Connection", "close")
        self.end_headers()
        # from here on somebody may wait long for a change of keys; what is sent has the limit of the connection
        self.connection.settimeout(REQUEST_S)

    def _refuse(self, status: int, error: StrongroomError) -> None:
        self._begin(status, "application/x-ndjson")
        self._say(wire.error_message(error))
        self._drop_rest()

    def _drop_rest(self) -> None:
        """Read what was sent and not read, for a moment: else the system would drop the answer with it."""
        with suppress(OSError), cut_after(self.connection, _LINGER_S):
            while self.connection.recv(65536):
                pass

    def _say(self, message: Mapping[str, Any]) -> None:
        wire.send(self.wfile, dict(message))
