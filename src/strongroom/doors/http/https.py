"""Our own HTTPS listener: the certificate that an administrator gave, shown from memory, exchanged while serving.

Chain, key and passphrase are secret parameters (`ssl.cert.file_bytes` …) and are never written to a file. A change
that was applied is shown to the next client. One that does not work is refused when it is applied; what went bad since
(it ended) is told by `status` and in the log, and the certificate before it stays.
"""

import asyncio
import logging
import socket
import ssl
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from strongroom.config import catalog
from strongroom.crypto.secret import SecretBytes
from strongroom.doors.http.ports import ListenerServices
from strongroom.errors import ConflictError, NotFoundError, StateError, StrongroomError
from strongroom.services.configuration import https_material
from strongroom.system import disk, durable, hosts

HANDSHAKE_S = 10.0
_CERTIFICATE, _CHAIN = https_material.CERTIFICATE, https_material.CHAIN
_KEY, _PASSPHRASE = https_material.KEY, https_material.PASSPHRASE
# of TLS 1.2; those of TLS 1.3 are all of that kind (findings S15)
_CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20"
_log = logging.getLogger("strongroom.web.https")

Offer = Callable[[socket.socket, ssl.SSLContext], Awaitable[None]]
"""Starts to accept connections; called on the event loop, once."""


@dataclass(frozen=True)
class Chain:
    """The certificate chain that the listener presents.

    Attributes:
        pem: Certificate, intermediate certificates and key.
        passphrase: The passphrase of the key; empty if the key is not encrypted.
    """

    pem: bytes = field(repr=False)
    passphrase: bytes = field(repr=False)

    def load_into(self, context: ssl.SSLContext) -> None:
        """Present this chain to every client that connects from now on.

        Raises:
            StateError: The chain cannot be loaded.
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

    def __init__(self, services: ListenerServices, listener: socket.socket) -> None:
        self._services = services
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
        except (OSError, RuntimeError):  # the server is stopping, or cannot listen
            shown.close()
            _log.exception("HTTPS: the certificate that was applied is not shown")

    def _checked(self) -> Chain | None:
        """The configured chain, tried in a context that nobody uses."""
        try:
            chain = self._configured()
            chain.load_into(new_context())
        except StrongroomError as error:
            _log.error("HTTPS: %s", error.with_hint)
            return None
        return chain

    def _configured(self) -> Chain:
        configuration = self._services.configuration
        parts = {}
        for name in (_CERTIFICATE, _CHAIN, _KEY, _PASSPHRASE):
            try:
                parts[name] = configuration.open_secret(name)
            except NotFoundError:
                if name in (_CERTIFICATE, _KEY):
                    raise
                parts[name] = SecretBytes(b"")
        pem = https_material.bundle(parts[_CERTIFICATE], parts[_CHAIN], parts[_KEY])
        return Chain(pem.reveal(), parts[_PASSPHRASE].reveal())

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
    """TLS 1.2 or later with forward secrecy and authenticated encryption only; HTTP/1.1 only."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(_CIPHERS)
    context.set_alpn_protocols(["http/1.1"])
    return context


@contextmanager
def listening(services: ListenerServices) -> Iterator[HttpsListener | None]:
    """The listener of `gateway.https.port`, which follows the configuration; None if no port is set.

    Raises:
        StateError: `gateway.https.host` holds what is no address.
        ConflictError: The port is taken.
    """
    port = services.configuration.effective("gateway.https.port")
    if not port:
        yield None
        return
    key = "gateway.https.host"
    host = catalog.check_held(key, services.configuration.effective(key)) or ""
    with _bound(host, int(port)) as bound:
        https = HttpsListener(services, bound)
        stop = services.configuration.on_restart(https.reload)
        try:
            yield https
        finally:
            stop()


def _bound(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    bound = socket.socket(family, socket.SOCK_STREAM)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind((host, port))  # the socket listens only once there is a certificate to present
    except OSError as error:
        bound.close()
        raise ConflictError(
            f"cannot listen on {hosts.bracketed(host)}:{port}: {disk.reason(error)}",
            hint=disk.hint_for(error, "set gateway.https.port"),
        ) from error
    return bound
