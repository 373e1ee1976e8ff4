"""A client of the wire of Vault that costs next to nothing: one thread, kept connections, requests made beforehand.

Each connection asks for a data key, and for the next one when that is there. Each key is asked for once before anything
is counted, and a third of the time more is left out. Answers that are not 200 end the run.
"""

import json
import os
import re
import select
import socket
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

_HEAD_END = b"\r\n\r\n"
_LENGTH = re.compile(rb"(?i)\r\ncontent-length: *([0-9]+)")


class LoadError(Exception):
    """The server answered something else than a data key."""


def run(options: Mapping[str, Any]) -> Mapping[str, float]:
    """Ask for some seconds.

    Args:
        options: `port`, `token`, `keys` (names), `connections`, `seconds`, and `pid`, whose CPU is counted.
    """
    asked = [_request(name, options["token"]) for name in options["keys"]]
    load = _Load(options["port"], asked, options["connections"])
    while load.answered < len(asked):
        load.until(time.monotonic() + 0.1)
    load.until(time.monotonic() + options["seconds"] / 3)
    before, began, cpu_s = load.answered, time.monotonic(), _cpu_s(options["pid"])
    own_s = time.process_time()
    load.until(began + options["seconds"])
    return {
        "answers": load.answered - before,
        "seconds": time.monotonic() - began,
        "cpu_s": _cpu_s(options["pid"]) - cpu_s,
        "own_s": time.process_time() - own_s,
    }


def _cpu_s(pid: int) -> float:
    words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")


def _request(name: str, token: str) -> bytes:
    body = b'{"bits":256}'
    return (
        f"POST /v1/transit/datakey/plaintext/{name} HTTP/1.1\r\nHost: bench\r\n"
        f"X-Vault-Token: {token}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    ).encode() + body


class _Load:
    def __init__(self, port: int, asked: Sequence[bytes], connections: int) -> None:
        self.answered = 0
        self._asked = asked
        self._next = 0
        self._poll = select.epoll()
        self._open: dict[int, tuple[socket.socket, bytearray]] = {}
        for _ in range(connections):
            one = socket.create_connection(("127.0.0.1", port), timeout=60)
            one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._open[one.fileno()] = one, bytearray()
            self._poll.register(one.fileno(), select.EPOLLIN)
            self._ask(one)

    def until(self, end: float) -> None:
        """Go on until a moment."""
        while time.monotonic() < end:
            for handle, _ in self._poll.poll(1):
                self._take(*self._open[handle])

    def _ask(self, one: socket.socket) -> None:
        one.sendall(self._asked[self._next % len(self._asked)])
        self._next += 1

    def _take(self, one: socket.socket, found: bytearray) -> None:
        part = one.recv(65536)
        if not part:
            raise LoadError("the server closed a connection")
        found += part
        end = found.find(_HEAD_END)
        if end < 0 or len(found) < end + len(_HEAD_END) + _length(found[:end]):
            return
        if not found.startswith(b"HTTP/1.1 200") or b'"ciphertext":"vault:v' not in found:
            raise LoadError(f"{bytes(found[:600])!r}")
        found.clear()
        self.answered += 1
        self._ask(one)


def _length(head: bytearray) -> int:
    found = _LENGTH.search(head)
    if found is None:
        raise LoadError(f"an answer without a length: {bytes(head)!r}")
    return int(found[1])


if __name__ == "__main__":
    json.dump(run(json.loads(sys.stdin.read())), sys.stdout)
