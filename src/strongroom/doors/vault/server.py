"""Serves the Vault door from a thread of its own: HTTPS where a certificate is configured, plain HTTP on loopback only."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

from strongroom.crypto import kdf
from strongroom.doors.http import server as http
from strongroom.doors.http.gate import Gate
from strongroom.doors.http.https import HttpsListener
from strongroom.doors.http.protocol import Connections
from strongroom.doors.http.settings import WebSettings
from strongroom.doors.vault.app import Door, wrapped
from strongroom.doors.vault.plain import Heads
from strongroom.doors.vault.ports import VaultServices
from strongroom.doors.vault.protocol import VaultProtocol
from strongroom.errors import NotFoundError, StateError
from strongroom.services.configuration import https_material
from strongroom.system import hosts
from strongroom.system.compat import override

STARTED_S = 30.0
STOPPED_S = 15.0
MOST_CONNECTIONS = 1000
_OPTION = "--vault-port"


@contextmanager
def serving(
    node: VaultServices,
    host: str,
    port: int,
    settings: WebSettings | None = None,
    gate: Gate | None = None,
) -> Iterator[str]:
    """Serve until the end of the block; gives the base URL, at which connections are accepted.

    Args:
        node: The node.
        host: An address; without a certificate one of loopback.
        port: 0 picks a free one.
        settings: The bounds of the door; by default those of `WebSettings`.
        gate: The gate of the node, which is closed in a maintenance; by default one that is always open.

    Raises:
        UsageError: There is no certificate, and the host is not loopback.
        ConflictError: The port is taken.
        StateError: The certificate cannot be used, or the host is none.
    """
    if _has_certificate(node):
        bound = http.bound(host, port, _OPTION)
        tls = HttpsListener(node, bound)
        stop = node.configuration.on_restart(tls.reload)
    else:
        bound, tls, stop = http.listen(host, port, _OPTION), None, _nothing
    settings = settings or WebSettings(connections=Connections(MOST_CONNECTIONS))
    kdf.prefer_library()
    try:
        with bound, _running(_Server(node, bound, tls, settings, gate or Gate())) as url:
            yield url
    finally:
        stop()


@contextmanager
def _running(server: "_Server") -> Iterator[str]:
    thread = threading.Thread(target=server.serve_until_told, name="vault", daemon=True)
    thread.start()
    try:
        yield server.url_when_ready()
    finally:
        server.should_exit = True
        thread.join(STOPPED_S)


class _Server(http.BoundedServer):
    def __init__(
        self,
        node: VaultServices,
        bound: socket.socket,
        tls: HttpsListener | None,
        settings: WebSettings,
        gate: Gate,
    ) -> None:
        door = Door(node, body=settings.small_body, gate=gate)
        protocol = partial(VaultProtocol, batches=door.batches, heads=Heads(), gate=gate)
        config = http.config_of(wrapped(door, gate), settings, protocol)
        super().__init__(config, lambda _: None, tls, settings.connections)
        self._bound, self._is_https = bound, tls is not None
        self._settled = threading.Event()
        self._fault: BaseException | None = None

    def serve_until_told(self) -> None:
        """Run in a thread."""
        try:
            self.run(sockets=[] if self._is_https else [self._bound])
        except BaseException as error:  # noqa: BLE001 told by the thread that waits for it
            self._fault = error
        finally:
            self._settled.set()

    @override
    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if not self.servers:
            self.should_exit = True
        self._settled.set()

    def url_when_ready(self) -> str:
        """The base URL, when connections are accepted.

        Raises:
            StateError: The door could not be opened.
        """
        self._settled.wait(STARTED_S)
        if self._fault is not None or self.should_exit or not self.started:
            raise StateError(
                "the Vault door could not be opened", hint="the log says more"
            ) from self._fault
        address, port = self._bound.getsockname()[:2]
        scheme = "https" if self._is_https else "http"
        return f"{scheme}://{hosts.bracketed(address)}:{port}"


def _has_certificate(node: VaultServices) -> bool:
    try:
        node.configuration.open_secret(https_material.CERTIFICATE)
    except NotFoundError:
        return False
    return True


def _nothing() -> None:
    """Stop nothing."""
