"""A listener that takes whatever comes and answers nothing of use: as a proxy, or as a server that nobody configured."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress


class Listener:
    """Listens on a port of 127.0.0.1.

    Attributes:
        port: Where.
        got: The first bytes of each connection.
    """

    def __init__(self) -> None:
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._socket.getsockname()[1]
        self.got: list[bytes] = []
        threading.Thread(target=self._serve, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def close(self) -> None:
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            with connection, suppress(OSError):
                connection.settimeout(30)
                self.got.append(connection.recv(65536))
                connection.sendall(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n")


@contextmanager
def listening() -> Iterator[Listener]:
    """A listener until the end of the block."""
    made = Listener()
    try:
        yield made
    finally:
        made.close()
