"""A proxy that hands each HTTP request to the next of several nodes, as a gateway without sticky sessions does."""

import itertools
import socket
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from tests.support.emulators import free_port

_LIMIT_S = 60.0
_HEAD = 64 << 10


@dataclass
class RoundRobin:
    """The proxy.

    Attributes:
        nodes: The addresses of the nodes, as `http://host:port`.
        port: The port of 127.0.0.1 on which it listens.
        handed: For each request its first line, and the number of its node.
    """

    nodes: Sequence[str]
    port: int = field(default_factory=free_port)
    handed: list[tuple[str, int]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._turns = itertools.count()
        self._lock = threading.Lock()

    @property
    def url(self) -> str:
        """The address of the proxy."""
        return f"http://127.0.0.1:{self.port}"

    def nodes_of(self, method: str, part: str) -> list[int]:
        """The numbers of the nodes that got the requests of a method with a text in their target."""
        found = [(line.split(" "), number) for line, number in self.handed]
        return [number for words, number in found if words[0] == method and part in words[1]]

    def serve(self, client: socket.socket) -> None:
        """Hand one request on, and its answer back; the connection ends with it."""
        with client, suppress(OSError):
            client.settimeout(_LIMIT_S)
            head = b""
            while b"\r\n\r\n" not in head and len(head) < _HEAD:
                if not (data := client.recv(_HEAD)):
                    return
                head += data
            first, _, rest = head.partition(b"\r\n")
            with self._lock:
                number = next(self._turns) % len(self.nodes)
                self.handed.append((first.decode("ascii", "replace"), number))
            # so that the node ends the connection, and the client's next request is another one's
            lines, _, body = rest.partition(b"\r\n\r\n")
            kept = [x for x in lines.split(b"\r\n") if not x.lower().startswith(b"connection:")]
            sent = b"\r\n".join([first, *kept, b"Connection: close"]) + b"\r\n\r\n" + body
            where = urlsplit(self.nodes[number])
            with socket.create_connection((where.hostname, where.port), _LIMIT_S) as node:
                node.sendall(sent)
                upwards = threading.Thread(target=_copy, args=(client, node), daemon=True)
                upwards.start()
                _copy(node, client)


def _copy(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(256 << 10):
            target.sendall(data)


@contextmanager
def round_robin(*nodes: str) -> Iterator[RoundRobin]:
    """A proxy over nodes until the end of the block."""
    proxy = RoundRobin(nodes)
    with socket.create_server(("127.0.0.1", proxy.port), backlog=64) as listener:

        def accept() -> None:
            with suppress(OSError):
                while True:
                    client, _ = listener.accept()
                    threading.Thread(target=proxy.serve, args=(client,), daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()
        yield proxy
        with suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
