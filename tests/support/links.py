"""A link to a server that a test slows down, cuts, or lets lose what goes in one direction only.

It knows no protocol, so TLS goes through it. A fault counts for the bytes that come from then on.
"""

import socket
import threading
import time
from contextlib import suppress
from enum import Enum, auto
from typing import Self

_CHUNK = 65536


class Mode(Enum):
    """What a link does with what it gets."""

    PASS = auto()
    #: Connections are taken and closed at once.
    REFUSE = auto()
    #: The server gets the requests, and its answers are lost.
    LOSE_ANSWERS = auto()
    #: The server gets nothing more.
    LOSE_REQUESTS = auto()
    #: Requests wait until `deliver`, even if the client is gone meanwhile.
    HOLD_REQUESTS = auto()
    #: Nothing gets through, and nobody is told.
    LOSE_ALL = auto()


class Link:
    """A listener on 127.0.0.1 that passes connections on to another port of it.

    Attributes:
        port: Where it listens.
        mode: What it does now.
        delay_s: Seconds that each answer waits.
        swallowed: Bytes that were lost or held since the mode was set.
        heard: All that came from either side, if somebody listens; None if nobody does.
    """

    def __init__(self, target: int) -> None:
        self._target = target
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.mode = Mode.PASS
        self.delay_s = 0.0
        self.swallowed = 0
        self.heard: bytearray | None = None
        self._guard = threading.Lock()
        self._pairs: set[tuple[socket.socket, socket.socket]] = set()
        self._held: list[tuple[socket.socket, bytes]] = []
        self._accepting = threading.Thread(target=self._accept, daemon=True)

    def __enter__(self) -> Self:
        self._accepting.start()
        return self

    def __exit__(self, *failure: object) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._accepting.join()
        self._listener.close()
        self.cut()

    def become(self, mode: Mode) -> None:
        """Take another mode."""
        self.swallowed = 0
        self.mode = mode

    def cut(self) -> None:
        """Close every connection, both sides."""
        for pair in self._taken():
            for one in pair:
                _close(one)

    def cut_clients(self) -> None:
        """Close every connection for its client; the server's side stays open."""
        for client, _ in self._taken():
            _close(client)

    def deliver(self) -> int:
        """Send the servers what was held; how many bytes went to connections that they still had."""
        with self._guard:
            held, self._held = self._held, []
        return sum(len(data) for server, data in held if _sent(server, data))

    def _taken(self) -> set[tuple[socket.socket, socket.socket]]:
        with self._guard:
            pairs, self._pairs = self._pairs, set()
        return pairs

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            if self.mode is Mode.REFUSE:
                client.close()
                continue
            try:
                server = socket.create_connection(("127.0.0.1", self._target))
            except OSError:
                client.close()
                continue
            for one in (client, server):
                one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self._guard:
                self._pairs.add((client, server))
            for work in (self._requests, self._answers):
                threading.Thread(target=work, args=(client, server), daemon=True).start()

    def _requests(self, client: socket.socket, server: socket.socket) -> None:
        while data := self._listened(client):
            if self.mode is Mode.HOLD_REQUESTS:
                with self._guard:
                    self._held.append((server, data))
                self.swallowed += len(data)
            elif self.mode in {Mode.LOSE_REQUESTS, Mode.LOSE_ALL}:
                self.swallowed += len(data)
            elif not _sent(server, data):
                break
        # a client that is gone does not take along what is still to be delivered to the server
        if not any(held is server for held, _ in self._held):
            self._end(client, server)

    def _answers(self, client: socket.socket, server: socket.socket) -> None:
        while data := self._listened(server):
            if self.delay_s:
                time.sleep(self.delay_s)
            if self.mode in {Mode.LOSE_ANSWERS, Mode.LOSE_ALL}:
                self.swallowed += len(data)
            elif not _sent(client, data) and self.mode is not Mode.HOLD_REQUESTS:
                break
        self._end(client, server)

    def _listened(self, connection: socket.socket) -> bytes:
        data = _read(connection)
        if self.heard is not None:
            with self._guard:
                self.heard += data
        return data

    def _end(self, client: socket.socket, server: socket.socket) -> None:
        with self._guard:
            self._pairs.discard((client, server))
        _close(client)
        _close(server)


def _read(connection: socket.socket) -> bytes:
    try:
        return connection.recv(_CHUNK)
    except OSError:
        return b""


def _sent(connection: socket.socket, data: bytes) -> bool:
    try:
        connection.sendall(data)
    except OSError:
        return False
    return True


def _close(connection: socket.socket) -> None:
    with suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
    connection.close()
