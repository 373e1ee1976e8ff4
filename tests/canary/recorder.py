"""Writes down what can be seen from outside: every byte the server answers, and every process argument on the machine."""

import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

_SAMPLE_S = 0.002
_LONG_SAMPLE_S = 0.02
_BUFFER = 65536


class Arguments:
    """Samples the arguments of all processes until it is stopped."""

    def __init__(self, pause_s: float = _SAMPLE_S) -> None:
        self._pause_s = pause_s
        self.seen: set[bytes] = set()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *failure: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.is_set():
            for path in Path("/proc").glob("[0-9]*/cmdline"):
                # a process may end between the listing and the reading
                with contextlib.suppress(OSError):
                    self.seen.add(path.read_bytes())
            time.sleep(self._pause_s)


class Environments:
    """Samples the environment, as the kernel shows it, of every process that has some bytes in it."""

    def __init__(self, mark: bytes) -> None:
        self.seen: set[bytes] = set()
        self._mark = mark
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *failure: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(_LONG_SAMPLE_S):
            for path in Path("/proc").glob("[0-9]*/environ"):
                # a process may end between the listing and the reading, or be somebody else's
                with contextlib.suppress(OSError):
                    found = path.read_bytes()
                    if self._mark in found:
                        self.seen.add(found)


class Answers:
    """A relay before the server that keeps all answers, one by one connection."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._target = (parts.hostname or "127.0.0.1", parts.port or 80)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._threads: list[threading.Thread] = []
        self.answers: list[bytearray] = []
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def all(self) -> bytes:
        return b"\n".join(bytes(answer) for answer in self.answers)

    def run(self) -> None:
        """Accept until the listener is closed."""
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            thread = threading.Thread(target=self._serve, args=(client,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def close(self) -> None:
        """Take no more connections, and wait for the end of those that are open."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join()

    def _serve(self, client: socket.socket) -> None:
        answer = bytearray()
        self.answers.append(answer)
        with client, socket.create_connection(self._target) as server:
            back = threading.Thread(target=_pump, args=(server, client, answer), daemon=True)
            back.start()
            _pump(client, server, None)
            back.join()


def _pump(source: socket.socket, sink: socket.socket, kept: bytearray | None) -> None:
    # whichever side goes first ends both directions
    with contextlib.suppress(OSError):
        while data := source.recv(_BUFFER):
            if kept is not None:
                kept += data
            sink.sendall(data)
    for end in (source, sink):
        with contextlib.suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)


@contextlib.contextmanager
def recording(url: str) -> Iterator[Answers]:
    """A relay before a server for the length of a block."""
    relay = Answers(url)
    thread = threading.Thread(target=relay.run, daemon=True)
    thread.start()
    try:
        yield relay
    finally:
        relay.close()
        thread.join()
