"""Writes down what can be seen from outside: every byte the server answers, and all arguments and environments of processes."""

import contextlib
import os
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Self
from urllib.parse import urlsplit

from tests.support import forked

_SAMPLE_S = 0.005
_LONG_SAMPLE_S = 0.02
_BUFFER = 65536
# a child shows its parent's words until it becomes a program, or a fork its own, and no command of ours lives for a shorter
# time than this takes
_ENOUGH = 5
_RARELY = 10


class Sampler:
    """Collects what the kernel shows of all processes, until it is stopped.

    A command that is a fork shows what a process from its start would; where the kernel cannot have that, commands are such
    processes meanwhile.

    Attributes:
        seen: Each text once.
    """

    def __init__(self, file: str, pause_s: float, marks: tuple[bytes, ...] = (b"",)) -> None:
        """`file` of each process, if one of the marks is in it."""
        self.seen: set[bytes] = set()
        self._file = file
        self._pause_s = pause_s
        self._marks = marks
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._processes = contextlib.ExitStack()

    def __enter__(self) -> Self:
        if not forked.are_seen():
            self._processes.enter_context(forked.as_processes())
        self._thread.start()
        return self

    def __exit__(self, *failure: object) -> None:
        self._stop.set()
        self._thread.join()
        self._processes.close()

    def _run(self) -> None:
        processes: dict[str, _Looked] = {}
        while not self._stop.wait(self._pause_s):
            with os.scandir("/proc") as entries:
                there = [one.name for one in entries if one.name.isdigit()]
            processes = {name: processes.get(name) or _Looked() for name in there}
            for name, looked in processes.items():
                # a process may end between the listing and the reading, or be somebody else's
                with contextlib.suppress(OSError):
                    found = looked.at(f"/proc/{name}/{self._file}")
                    if found is not None and any(mark in found for mark in self._marks):
                        self.seen.add(found)


@dataclass
class _Looked:
    """What a process showed; one that shows the same again and again is looked at more rarely, and a command still in time."""

    text: bytes = b""
    same: int = 0
    left_out: int = 0

    def at(self, file: str) -> bytes | None:
        """What the process shows now; None if that was known, or nobody looked."""
        if self.same >= _ENOUGH and self.left_out < _RARELY:
            self.left_out += 1
            return None
        self.left_out = 0
        descriptor = os.open(file, os.O_RDONLY)
        try:
            text = b"".join(iter(lambda: os.read(descriptor, _BUFFER), b""))
        finally:
            os.close(descriptor)
        self.same = self.same + 1 if text == self.text else 0
        self.text = text
        return text


def arguments(pause_s: float = _SAMPLE_S) -> Sampler:
    """The arguments of all processes."""
    return Sampler("cmdline", pause_s)


def environments(*marks: bytes) -> Sampler:
    """The environments of those processes in which one of the marks stands."""
    return Sampler("environ", _LONG_SAMPLE_S, marks)


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
