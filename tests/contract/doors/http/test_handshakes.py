"""Connections of HTTPS in their handshake: counted, bounded, and no bar to the end (findings S7, R1, R17)."""

import signal
import socket
import ssl
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path

import pytest

from strongroom.doors.http.protocol import Connections
from strongroom.doors.http.settings import WebSettings
from strongroom.node import opening
from strongroom.node.opening import Node
from tests.contract.doors.http.test_https import apply, becomes, certificate, health, served
from tests.contract.doors.http.test_stopping import LATEST_S, PROGRAM, running
from tests.support.emulators import free_port

MOST = 6
Connect = Callable[[int], socket.socket]


def silent(port: int) -> socket.socket:
    """Connects, and says nothing."""
    return socket.create_connection(("127.0.0.1", port), timeout=60)


def begun(port: int) -> socket.socket:
    """Sends the first half of a first message."""
    raw = silent(port)
    raw.sendall(_hello()[:100])
    return raw


def halfway(port: int) -> socket.socket:
    """Has the server's answer, and does not go on."""
    raw = silent(port)
    raw.sendall(_hello())
    assert raw.recv(1)
    return raw


def _hello() -> bytes:
    context = ssl.create_default_context()
    outgoing = ssl.MemoryBIO()
    client = context.wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname="localhost")
    with pytest.raises(ssl.SSLWantReadError):
        client.do_handshake()
    return outgoing.read()


STATES = pytest.mark.parametrize("connect", [silent, begun, halfway], ids=lambda one: one.__name__)


class Secured:
    """A node that serves HTTPS, with few connections."""

    def __init__(self, port: int, ca_file: Path, connections: Connections) -> None:
        self.port, self.ca_file, self.connections = port, ca_file, connections

    @property
    def count(self) -> int:
        return len(self.connections.open)


@pytest.fixture
def node(node_dir: Path) -> Iterator[Node]:
    opened = opening.open_node(str(node_dir))
    yield opened
    opened.close()


@contextmanager
def secured(node: Node, folder: Path, connections: Connections) -> Iterator[Secured]:
    port = free_port()
    ca_file, values = certificate(folder / "authority")
    apply(node, values | {"gateway.https.port": str(port)})
    with served(node, WebSettings(connections=connections)):
        yield Secured(port, ca_file, connections)


@STATES
def test_a_handshake_is_counted_and_gives_way(node: Node, tmp_path: Path, connect: Connect) -> None:
    """Sixty who said nothing held sixty files beside those that the bound allows."""
    with ExitStack() as stack:
        at = stack.enter_context(secured(node, tmp_path, Connections(most=MOST)))
        stack.enter_context(connect(at.port))
        assert becomes(lambda: at.count == 1)
        held = [stack.enter_context(connect(at.port)) for _ in range(5 * MOST)]
        assert becomes(lambda: at.count == MOST)
        assert health(at.port, at.ca_file) == 200
        assert becomes(lambda: _closed(held) >= 4 * MOST)
        assert at.count <= MOST


def _closed(held: list[socket.socket]) -> int:
    """How many were cut by the server."""
    return sum(_is_closed(one) for one in held)


def _is_closed(one: socket.socket) -> bool:
    one.setblocking(False)
    try:
        while one.recv(65536):
            pass
    except BlockingIOError:
        return False
    except ConnectionError:
        return True
    return True


@pytest.mark.parametrize("sent", [b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\xff\xff", b"\0" * 64])
def test_what_is_no_tls_leaves_nothing(node: Node, tmp_path: Path, sent: bytes) -> None:
    with secured(node, tmp_path, Connections(most=MOST)) as at:
        before = _files()
        for _ in range(3 * MOST):
            with silent(at.port) as raw:
                raw.sendall(sent)
        assert becomes(lambda: at.count == 0)
        assert health(at.port, at.ca_file) == 200
        assert becomes(lambda: at.count == 0 and _files() <= before)


def _files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_a_connection_that_shook_hands_is_counted_once(node: Node, tmp_path: Path) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    with ExitStack() as stack:
        at = stack.enter_context(secured(node, tmp_path, Connections(most=MOST)))
        for number in range(1, MOST + 1):
            raw = stack.enter_context(silent(at.port))
            one = stack.enter_context(context.wrap_socket(raw))
            one.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
            assert one.recv(12) == b"HTTP/1.1 200"
            assert at.count == number


@STATES
def test_the_end_does_not_wait_for_handshakes(node: Node, tmp_path: Path, connect: Connect) -> None:
    """findings R1: the server ends, and closes what has not shown that it speaks TLS."""
    with ExitStack() as stack:
        with secured(node, tmp_path, Connections(most=MOST)) as at:
            held = [stack.enter_context(connect(at.port)) for _ in range(MOST - 1)]
            assert becomes(lambda: at.count == MOST - 1)
        assert at.count == 0
        assert _closed(held) == MOST - 1


def _sockets(process: int) -> int:
    found = 0
    for entry in Path(f"/proc/{process}/fd").iterdir():
        with suppress(FileNotFoundError):  # closed since it was listed
            found += str(entry.readlink()).startswith("socket:")
    return found


@STATES
def test_sigterm_ends_the_process_while_hands_are_shaken(
    node_dir: Path, tmp_path: Path, connect: Connect
) -> None:
    """findings R1, S7: what was accepted is seen in the process's files, so nothing here waits for a guess."""
    port = free_port()
    _, values = certificate(tmp_path / "authority")
    with closing(opening.open_node(str(node_dir))) as node:
        apply(node, values | {"gateway.https.port": str(port)})
    errors = tmp_path / "errors"
    command = [sys.executable, "-c", PROGRAM, str(node_dir)]
    with running(command, errors) as (process, _), ExitStack() as stack:
        before = _sockets(process.pid)
        held = [stack.enter_context(connect(port)) for _ in range(MOST)]
        assert becomes(lambda: _sockets(process.pid) >= before + MOST)
        process.send_signal(signal.SIGTERM)
        assert process.wait(LATEST_S) == 0
        assert _closed(held) == MOST
    assert "Traceback" not in errors.read_text()
