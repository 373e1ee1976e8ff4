"""Serves the web application of one node: uvicorn on httptools and uvloop; plain HTTP on loopback only, HTTPS if configured."""

import ipaddress
import signal
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from types import FrameType
from typing import Any

import uvicorn
from starlette.types import ASGIApp

from strongroom.doors.http import descriptors, https, upkeep
from strongroom.doors.http.app import create_app
from strongroom.doors.http.gate import Gate
from strongroom.doors.http.https import HANDSHAKE_S, HttpsListener
from strongroom.doors.http.ports import AppServices, ServedNode
from strongroom.doors.http.protocol import BoundedProtocol, Connections
from strongroom.doors.http.settings import WebSettings
from strongroom.doors.http.tls_door import Handshakes, TlsServer
from strongroom.errors import ConflictError, UsageError
from strongroom.system import disk, hosts
from strongroom.system.compat import override

SHUTDOWN_S = 10
GOODBYE_S = 2.0  # for a client of HTTPS to answer that the connection ends
_STOPPING = (signal.SIGINT, signal.SIGTERM)
BACKLOG = 512


@dataclass(frozen=True)
class Conduct:
    """The functions and the gate that the web service asks while it serves.

    Attributes:
        is_wanted: Returns whether the node is to have a web service; called all the time, so that it must not wait.
        gate: The gate of the node, which is closed in a maintenance.
    """

    is_wanted: Callable[[], bool] = lambda: True
    gate: Gate = field(default_factory=Gate)


def run(
    node: ServedNode,
    host: str,
    port: int,
    on_ready: Callable[[str], None],
    settings: WebSettings | None = None,
    conduct: "Conduct | None" = None,
) -> bool:
    """Serve until SIGTERM or SIGINT, or until the node is to have no web service.

    Args:
        node: The node.
        host: An address of the loopback interface, or `localhost`.
        port: 0 picks a free one.
        on_ready: Called with the base URL when connections are accepted.
        settings: The bounds of the service; by default those of `WebSettings`.
        conduct: The functions that the service asks; by default it is wanted, and its gate open, until a signal comes.

    Returns:
        Whether the service ended because it is not wanted any more, and no signal came.

    Raises:
        UsageError: The host is not loopback.
        ConflictError: The port is taken.
    """
    if settings is None:
        settings = WebSettings(connections=descriptors.connections(descriptors.raise_limit()))
    with listen(host, port) as listener, https.listening(node) as tls, upkeep.kept_up(node):
        server = build(node, on_ready, settings, tls, conduct)
        server.run(sockets=[listener])
        return server.was_dismissed


def build(
    node: AppServices,
    on_ready: Callable[[str], None],
    settings: WebSettings | None = None,
    tls: HttpsListener | None = None,
    conduct: "Conduct | None" = None,
) -> "BoundedServer":
    """A server that is not yet running; its `should_exit` stops it."""
    settings, conduct = settings or WebSettings(), conduct or Conduct()
    config = config_of(create_app(node, settings, conduct.gate), settings)
    return BoundedServer(config, on_ready, tls, settings.connections, conduct.is_wanted)


def config_of(
    app: ASGIApp, settings: WebSettings, protocol: Callable[..., BoundedProtocol] = BoundedProtocol
) -> uvicorn.Config:
    """How an application of ours is served."""
    # uvicorn calls what it is given, class or not
    make_protocol: Any = partial(
        protocol, patience=settings.patience, all_open=settings.connections
    )
    return uvicorn.Config(
        app,
        http=make_protocol,
        loop="uvloop",
        lifespan="off",
        ws="none",
        access_log=False,
        log_config=None,
        server_header=False,
        # anybody can write them: the peer is who is at the other end (findings S16)
        proxy_headers=False,
        timeout_graceful_shutdown=SHUTDOWN_S,
        backlog=BACKLOG,
    )


def listen(host: str, port: int, option: str = "--port") -> socket.socket:
    """A bound socket on loopback.

    Args:
        host: The address, or `localhost`.
        port: 0 picks a free one.
        option: The option that names the port, for the hint.

    Raises:
        UsageError: The host is no address, or none of loopback.
        ConflictError: The port is taken.
    """
    literal = "127.0.0.1" if host == "localhost" else host
    try:
        address = ipaddress.ip_address(literal)
    except ValueError as error:
        raise UsageError(f"not an address: {host!r}") from error
    if not address.is_loopback:
        raise UsageError(
            f"plain HTTP is served on loopback only, not on {host}",
            hint="put a TLS-terminating proxy in front, and serve on 127.0.0.1",
        )
    return bound(literal, port, option)


def bound(address: str, port: int, option: str) -> socket.socket:
    """A bound socket on any address of this machine; for `listen` and for listeners with TLS.

    Raises:
        ConflictError: The port is taken, or the address is not this machine's.
    """
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((address, port))
    except OSError as error:
        listener.close()
        raise ConflictError(
            f"cannot listen on {hosts.bracketed(address)}:{port}: {disk.reason(error)}",
            hint=disk.hint_for(error, f"choose another {option}"),
        ) from error
    return listener


class BoundedServer(uvicorn.Server):
    """A server whose signals, connections and HTTPS listener are ours."""

    def __init__(
        self,
        config: uvicorn.Config,
        on_ready: Callable[[str], None],
        tls: HttpsListener | None,
        connections: Connections,
        is_wanted: Callable[[], bool] = lambda: True,
    ) -> None:
        super().__init__(config)
        self._is_wanted = is_wanted
        self._was_dismissed = False
        self._connections = connections
        self._on_ready = on_ready
        self._tls = tls

    @override
    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Accept connections."""
        await super().startup(sockets=sockets)
        if self._tls is not None:
            await self._tls.begin(self._offer)
        if sockets and not self.should_exit:
            self._on_ready(_url(sockets[0]))

    @property
    def was_dismissed(self) -> bool:
        """Whether the service ended because it is not wanted any more, and no signal came."""
        return self._was_dismissed

    @override
    async def on_tick(self, counter: int) -> bool:
        """Look, ten times a second, whether it is time to end."""
        if not self.should_exit and not self._is_wanted():
            self._was_dismissed = self.should_exit = True
        return await super().on_tick(counter)

    @override
    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """A signal asks for the end of the whole node."""
        self._was_dismissed = False
        super().handle_exit(sig, frame)

    async def _offer(self, listener: socket.socket, context: ssl.SSLContext) -> None:
        """Serve a second socket, with TLS; it is closed with the first one."""
        make_protocol: Any = self.config.http_protocol_class
        make_inner = partial(
            make_protocol,
            config=self.config,
            server_state=self.server_state,
            app_state=self.lifespan.state,
        )
        handshakes = Handshakes(context, make_inner, self._connections, HANDSHAKE_S, GOODBYE_S)
        server: Any = TlsServer(listener, handshakes, BACKLOG)
        self.servers.append(server)

    @override
    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """As the base class, but a signal that ended the serving is not raised again: who called us has to clean up.

        Nor does SIGTERM cut that off when it is sent once more: it asks for what is being done.
        """
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {one: signal.signal(one, self.handle_exit) for one in _STOPPING}
        try:
            yield
        finally:
            if self.should_exit and not self._was_dismissed:
                # not a handler: the interpreter takes those away at its end, and the signal kills again
                before[signal.SIGTERM] = signal.SIG_IGN
            for one, handler in before.items():
                signal.signal(one, handler)


def _url(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
