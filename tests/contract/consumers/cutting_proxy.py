"""A way to a component that breaks at a chosen message, so that a call ends in mid-way."""

import selectors
import socket
import threading
from typing import Self

from tests.contract.consumers.harness import Address

_CHUNK = 65536


class CuttingProxy:
    """Passes connections on, and cuts everything at one message of the client.

    The n-th message is what the client sends in its n-th turn, counted over all connections. It is
    passed on or not (`delivered`), and its answer never: the client cannot know which. The message 0 never comes.
    """

    def __init__(self, target: Address, cut_at: int, *, delivered: bool) -> None:
        self._target = target
        self._cut_at = cut_at
        self._delivered = delivered
        self._turns = 0
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._threads: list[threading.Thread] = []
        self._accepting = threading.Thread(target=self._accept, daemon=True)
        self.has_cut = False

    @property
    def address(self) -> tuple[str, int]:
        host, port = self._listener.getsockname()
        return host, port

    def __enter__(self) -> Self:
        self._accepting.start()
        return self

    def __exit__(self, *failure: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._accepting.join()
        self._listener.close()
        for thread in self._threads:
            thread.join()

    @property
    def open_connections(self) -> int:
        """How many neither side has closed."""
        return sum(thread.is_alive() for thread in self._threads)

    def cut(self) -> None:
        """Cut every connection now."""
        self.has_cut = True

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            thread = threading.Thread(target=self._pass, args=(client,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _connect(self) -> socket.socket:
        if isinstance(self._target, tuple):
            return socket.create_connection(self._target)
        server = socket.socket(socket.AF_UNIX)
        server.connect(self._target)
        return server

    def _pass(self, client: socket.socket) -> None:
        with client:
            if self.has_cut:
                return
            with self._connect() as server, selectors.DefaultSelector() as selector:
                selector.register(client, selectors.EVENT_READ)
                selector.register(server, selectors.EVENT_READ)
                clients_turn = False
                while not self.has_cut:
                    for key, _ in selector.select(0.05):
                        data = _read(key.fileobj)
                        if not data:
                            return
                        if key.fileobj is server:
                            clients_turn = False
                            client.sendall(data)
                            continue
                        if not clients_turn and self._cuts_now():
                            if self._delivered:
                                self._deliver(server, data)
                            return
                        clients_turn = True
                        server.sendall(data)

    def _cuts_now(self) -> bool:
        with self._lock:
            self._turns += 1
            if self._turns == self._cut_at:
                self.has_cut = True
            return self.has_cut

    @staticmethod
    def _deliver(server: socket.socket, data: bytes) -> None:
        """Send, and wait for the answer: then it was done. A server that does not answer is left alone."""
        server.settimeout(20)
        try:
            server.sendall(data)
            server.recv(_CHUNK)
        except OSError:
            return


def _read(connection: object) -> bytes:
    assert isinstance(connection, socket.socket)
    try:
        return connection.recv(_CHUNK)
    except OSError:
        return b""
