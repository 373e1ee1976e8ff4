"""Serves the web application of one node: uvicorn on httptools and uvloop; plain HTTP on loopback only, HTTPS if configured."""

import asyncio
import ipaddress
import signal
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import uvicorn

from strongroom.bootstrap import Node
from strongroom.errors import ConflictError, UsageError
from strongroom.overriding import override
from strongroom.web import https, upkeep
from strongroom.web.app import WebSettings, create_app
from strongroom.web.https import HANDSHAKE_S, HttpsListener
from strongroom.web.protocol import BoundedProtocol

KEEP_ALIVE_S = 75
SHUTDOWN_S = 10
_STOPPING = (signal.SIGINT, signal.SIGTERM)
BACKLOG = 512


def run(
    node: Node,
    host: str,
    port: int,
    on_ready: Callable[[str], None],
    settings: WebSettings | None = None,
) -> None:
    """Serve until SIGTERM or SIGINT.

    Args:
        node: The node.
        host: An address of the loopback interface, or `localhost`.
        port: 0 picks a free one.
        on_ready: Told the base URL when connections are accepted.
        settings: What may differ.

    Raises:
        UsageError: The host is not loopback.
        ConflictError: The port is taken.
    """
    with listen(host, port) as listener, https.listening(node) as tls, upkeep.kept_up(node):
        build(node, on_ready, settings, tls).run(sockets=[listener])


def build(
    node: Node,
    on_ready: Callable[[str], None],
    settings: WebSettings | None = None,
    tls: HttpsListener | None = None,
) -> uvicorn.Server:
    """A server that is not yet running; its `should_exit` stops it."""
    config = uvicorn.Config(
        create_app(node, settings),
        http=BoundedProtocol,
        loop="uvloop",
        lifespan="off",
        ws="none",
        access_log=False,
        log_config=None,
        server_header=False,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=SHUTDOWN_S,
        backlog=BACKLOG,
    )
    return _Server(config, on_ready, tls)


def listen(host: str, port: int) -> socket.socket:
    """A bound socket on loopback."""
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
    family = socket.AF_INET6 if address.version == 6 else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((literal, port))
    except OSError as error:
        listener.close()
        raise ConflictError(
            f"cannot listen on {host}:{port}: {error.strerror}", hint="choose another --port"
        ) from error
    return listener


class _Server(uvicorn.Server):
    def __init__(
        self, config: uvicorn.Config, on_ready: Callable[[str], None], tls: HttpsListener | None
    ) -> None:
        super().__init__(config)
        self._on_ready = on_ready
        self._tls = tls

    @override
    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=sockets)
        if self._tls is not None:
            await self._tls.begin(self._offer)
        if sockets and not self.should_exit:
            self._on_ready(_url(sockets[0]))

    async def _offer(self, listener: socket.socket, context: ssl.SSLContext) -> None:
        """Serve a second socket, with TLS; it is closed with the first one."""
        server = await asyncio.get_running_loop().create_server(
            lambda: BoundedProtocol(
                config=self.config,
                server_state=self.server_state,
                app_state=self.lifespan.state,
            ),
            sock=listener,
            ssl=context,
            ssl_handshake_timeout=HANDSHAKE_S,
            backlog=BACKLOG,
        )
        self.servers.append(server)

    @override
    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """As the base class, but a signal that ended the serving is not raised again: who called us has to clean up."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {one: signal.signal(one, self.handle_exit) for one in _STOPPING}
        try:
            yield
        finally:
            for one, handler in before.items():
                signal.signal(one, handler)


def _url(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
