"""A link to a real PostgreSQL that a test cuts at a COMMIT, or where it likes."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from enum import Enum, auto
from pathlib import Path

_COMMIT = b"COMMIT\0"  # not that of "READ COMMITTED"
_PIECE = 1 << 16


class AtCommit(Enum):
    """What happens to the next COMMIT that comes by."""

    PASSES = auto()
    LOST = auto()  # it never arrives, and the link breaks
    ANSWER_LOST = auto()  # it arrives, and the link breaks before the answer
    GONE = auto()  # as LOST, and nobody gets a new link
    HELD = auto()  # it never arrives, and the link stays
    ANSWER_HELD = auto()  # it arrives, and the answer never comes; the link stays


class Link:
    """A Unix socket before the server's own; one thread for each direction of each connection."""

    def __init__(self, real: Path, folder: Path, port: int) -> None:
        self.folder = folder
        self.at_commit = AtCommit.PASSES
        #: What the connection must have asked since its last COMMIT, for this one to be meant.
        self.of_statement = b""
        self.commits = 0
        self.is_down = False
        self._real = real
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(folder / f".s.PGSQL.{port}"))
        self._listener.listen()
        self._open: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                if self.is_down:
                    client.close()
                    continue
                server = socket.socket(socket.AF_UNIX)
                server.connect(str(self._real))
                self._open += [client, server]
                answers, dropped = threading.Event(), threading.Event()
                answers.set()
                for work in (self._requests, self._answers):
                    threading.Thread(
                        target=work, args=(client, server, answers, dropped), daemon=True
                    ).start()

    def _requests(
        self,
        client: socket.socket,
        server: socket.socket,
        answers: threading.Event,
        dropped: threading.Event,
    ) -> None:
        asked = b""
        with suppress(OSError):
            while data := client.recv(_PIECE):
                asked += data
                is_meant = self.of_statement in asked
                if _COMMIT in data:
                    asked = b""
                if _COMMIT in data and is_meant:
                    self.commits += 1
                    how, self.at_commit = self.at_commit, AtCommit.PASSES
                    if how is AtCommit.HELD:
                        continue
                    if how in {AtCommit.LOST, AtCommit.GONE}:
                        self.is_down = how is AtCommit.GONE
                        break
                    if how in {AtCommit.ANSWER_LOST, AtCommit.ANSWER_HELD}:
                        answers.clear()
                    server.sendall(data)
                    if how is AtCommit.ANSWER_LOST:
                        dropped.wait(60)  # it is done when its answer is there
                        break
                else:
                    server.sendall(data)
        _close(client, server)

    def _answers(
        self,
        client: socket.socket,
        server: socket.socket,
        answers: threading.Event,
        dropped: threading.Event,
    ) -> None:
        with suppress(OSError):
            while data := server.recv(_PIECE):
                if answers.is_set():
                    client.sendall(data)
                else:
                    dropped.set()
        if answers.is_set():
            _close(client, server)

    def cut(self) -> None:
        """Break every connection, and refuse new ones until `is_down` is taken back."""
        self.is_down = True
        _close(*self._open)
        self._open.clear()

    def close(self) -> None:
        """End it."""
        _close(self._listener, *self._open)


def _close(*links: socket.socket) -> None:
    for link in links:
        with suppress(OSError):
            link.shutdown(socket.SHUT_RDWR)
        link.close()


@contextmanager
def linked(real: Path, folder: Path, port: int) -> Iterator[Link]:
    """A link in this folder, to the socket of a server."""
    link = Link(real, folder, port)
    try:
        yield link
    finally:
        link.close()
