"""Our own HTTPS listener: the certificate that an administrator gave, shown from memory, exchanged while serving.

Chain, key and passphrase are secret parameters (`ssl.cert.file_bytes` …) and are never written to a file. A change
that was applied is shown to the next client; one that does not work is refused, told in the log, and the certificate
before it stays.
"""

import asyncio
import ipaddress
import logging
import socket
import ssl
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

from strongroom import durable
from strongroom.bootstrap import Node
from strongroom.errors import ConflictError, NotFoundError, StateError, StrongroomError, UsageError

HANDSHAKE_S = 10.0
_CERTIFICATE = "ssl.cert.file_bytes"
_CHAIN = "ssl.chain.file_bytes"
_KEY = "ssl.key.file_bytes"
_PASSPHRASE = "ssl.key.passphrase"  # noqa: S105 a parameter's name
_log = logging.getLogger("strongroom.web.https")

Offer = Callable[[socket.socket, ssl.SSLContext], Awaitable[None]]
"""Starts to accept connections; called on the event loop, once."""


class Chain(NamedTuple):
    """What the listener shows.

    Attributes:
        pem: Certificate, intermediate certificates and key.
        passphrase: Opens the key; empty if it is not encrypted.
    """

    pem: bytes
    passphrase: bytes

    def load_into(self, context: ssl.SSLContext) -> None:
        """Show this chain to whoever connects from now on.

        Raises:
            StateError: It cannot be used.
        """
        try:
            with durable.in_memory(self.pem) as path:
                # without a passphrase the library would ask a terminal for one
                context.load_cert_chain(path, password=lambda: self.passphrase)
        except (ssl.SSLError, ValueError) as error:
            raise StateError(
                "the certificate of the HTTPS listener cannot be used",
                hint=f"{_CERTIFICATE}, {_KEY} and {_PASSPHRASE} must belong together",
            ) from error


class HttpsListener:
    """A bound socket and the TLS context of its connections."""

    def __init__(self, node: Node, listener: socket.socket) -> None:
        self._node = node
        self._listener = listener
        self._context = new_context()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._offer: Offer | None = None
        self._offered = False

    async def begin(self, offer: Offer) -> None:
        """Serve, if the certificate works; else when one is applied that does."""
        self._loop, self._offer = asyncio.get_running_loop(), offer
        await self._show(self._checked())

    def reload(self) -> None:
        """Show the certificate as it is configured now; for other threads than the event loop's."""
        chain = self._checked()
        if chain is None or self._loop is None:
            return
        shown = self._show(chain)
        try:
            asyncio.run_coroutine_threadsafe(shown, self._loop).result(HANDSHAKE_S)
        except (OSError, RuntimeError):  # it stops serving, or cannot listen
            shown.close()
            _log.exception("HTTPS: the certificate that was applied is not shown")

    def _checked(self) -> Chain | None:
        """The configured chain, tried in a context that nobody uses."""
        try:
            chain = self._configured()
            chain.load_into(new_context())
        except StrongroomError as error:
            _log.error("HTTPS: %s", error.message)
            return None
        return chain

    def _configured(self) -> Chain:
        configuration = self._node.configuration
        parts = {}
        for name in (_CERTIFICATE, _CHAIN, _KEY, _PASSPHRASE):
            try:
                parts[name] = configuration.open_secret(name).reveal()
            except NotFoundError:
                if name in (_CERTIFICATE, _KEY):
                    raise
                parts[name] = b""
        pem = b"\n".join((parts[_CERTIFICATE], parts[_CHAIN], parts[_KEY], b""))
        return Chain(pem, parts[_PASSPHRASE])

    async def _show(self, chain: Chain | None) -> None:
        """On the event loop, where no handshake is between certificate and key."""
        if chain is None or self._offer is None:
            return
        chain.load_into(self._context)
        if not self._offered:
            self._offered = True
            await self._offer(self._listener, self._context)
            _log.info("HTTPS on %s port %d", *self._listener.getsockname()[:2])


def new_context() -> ssl.SSLContext:
    """TLS 1.2 or later; HTTP/1.1 only."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    return context


@contextmanager
def listening(node: Node) -> Iterator[HttpsListener | None]:
    """The listener of `gateway.https.port`, which follows the configuration; None if no port is set.

    Raises:
        UsageError: `gateway.https.host` is no address.
        ConflictError: The port is taken.
    """
    port = node.configuration.effective("gateway.https.port")
    if not port:
        yield None
        return
    host = node.configuration.effective("gateway.https.host") or ""
    with _bound(host, int(port)) as bound:
        https = HttpsListener(node, bound)
        stop = node.coordinator.watch("restart", lambda _: https.reload())
        try:
            yield https
        finally:
            stop()


def _bound(host: str, port: int) -> socket.socket:
    try:
        family = socket.AF_INET6 if ipaddress.ip_address(host).version == 6 else socket.AF_INET
    except ValueError as error:
        raise UsageError(f"'gateway.https.host' is not an address: {host!r}") from error
    bound = socket.socket(family, socket.SOCK_STREAM)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind((host, port))  # it listens when there is a certificate to show
    except OSError as error:
        bound.close()
        raise ConflictError(
            f"cannot listen on {host}:{port}: {error.strerror}", hint="set gateway.https.port"
        ) from error
    return bound
