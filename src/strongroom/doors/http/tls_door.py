"""Accepts connections of HTTPS, and counts each from its first moment: in its handshake, too (findings S7, R17).

The framework makes a connection known when its handshake is done. Until then it holds a file and is in nobody's count,
so that whoever connects and says nothing could take every file that the process has.
"""

import asyncio
import logging
import socket
import ssl
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

from strongroom.doors.http.protocol import BoundedProtocol, Connections, peer_of
from strongroom.system import disk

_PAUSE_S = 0.5
_log = logging.getLogger("strongroom.web.https")


@dataclass(frozen=True)
class Handshakes:
    """The settings of TLS handshakes, and the protocol that follows them.

    Attributes:
        context: The TLS context with the certificate chain.
        make_protocol: Makes the protocol that serves the connection after the handshake.
        all_open: The connections that are open.
        limit_s: The time limit of a handshake.
        goodbye_s: The time limit for a client's answer to the end of the connection.
    """

    context: ssl.SSLContext
    make_protocol: Callable[[], BoundedProtocol]
    all_open: Connections
    limit_s: float
    goodbye_s: float


class TlsServer:
    """Accepts from a listening socket until it is closed; the framework ends it as one of its own servers."""

    def __init__(self, listener: socket.socket, handshakes: Handshakes, backlog: int) -> None:
        listener.setblocking(False)
        listener.listen(backlog)
        self._listener, self._handshakes = listener, handshakes
        self._doors: set[TlsDoor] = set()
        self._accepting = asyncio.get_running_loop().create_task(self._accept())

    def close(self) -> None:
        """Accept no more, and give up what is in its handshake; connections that are served go on."""
        self._accepting.cancel()
        self._listener.close()
        for door in tuple(self._doors):
            door.cut()

    async def wait_closed(self) -> None:
        """Until no handshake is left."""
        await asyncio.gather(
            self._accepting, *(door.task for door in tuple(self._doors)), return_exceptions=True
        )

    async def _accept(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                accepted, address = await loop.sock_accept(self._listener)
            except (
                OSError
            ) as error:  # the client is gone, or no file is left: the line keeps the others
                _log.warning("HTTPS: a connection was not accepted: %s", disk.reason(error))
                await asyncio.sleep(_PAUSE_S)
                continue
            door = TlsDoor(accepted, peer_of(str(address[0])), self._handshakes)
            self._doors.add(door)
            door.task.add_done_callback(partial(self._forget, door))

    def _forget(self, door: "TlsDoor", _: object) -> None:
        self._doors.discard(door)


class TlsDoor:
    """A connection in its handshake.

    Attributes:
        transport: The door itself, since its socket is the one to close.
        peer: The client's address.
        waiting_since: The time at which the client connected.
        task: The task of the handshake.
    """

    waits_for_client = True  # to go on

    def __init__(self, accepted: socket.socket, peer: str, handshakes: Handshakes) -> None:
        loop = asyncio.get_running_loop()
        accepted.setblocking(False)
        self._accepted, self._handshakes = accepted, handshakes
        self._is_cut = self._is_served = False
        self.peer, self.waiting_since = peer, loop.time()
        self.transport: Any = self
        self.task = loop.create_task(self._shake_hands(loop))
        self.task.add_done_callback(self._end)
        if not handshakes.all_open.admit(self):
            # closed without an answer, which a client could not read before the handshake's end
            self.cut()

    def is_closing(self) -> bool:
        """Whether the connection was cut."""
        return self._is_cut

    def cut(self) -> None:
        """Close now."""
        self._is_cut = True
        self._handshakes.all_open.open.discard(self)
        self.task.cancel()
        with suppress(OSError):
            self._accepted.shutdown(socket.SHUT_RDWR)

    async def _shake_hands(self, loop: asyncio.AbstractEventLoop) -> None:
        with suppress(
            OSError, RuntimeError
        ):  # no TLS, too slow, or gone; TLS errors are the system's
            await loop.connect_accepted_socket(
                self._protocol,
                self._accepted,
                ssl=self._handshakes.context,
                ssl_handshake_timeout=self._handshakes.limit_s,
                ssl_shutdown_timeout=self._handshakes.goodbye_s,
            )
            self._is_served = True

    def _end(self, _: object) -> None:
        # not in the task itself: one that is cancelled before its first step never runs
        self._handshakes.all_open.open.discard(self)
        if not self._is_served:
            self._accepted.close()

    def _protocol(self) -> BoundedProtocol:
        protocol = self._handshakes.make_protocol()
        protocol.door = self
        return protocol
