"""The keys of a node on this machine: only its owner's process is asked and believed (docs/format/data-keys.md 3)."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from strongroom.client import NodeKeyService, node_service
from strongroom.envelope.header import Placement
from strongroom.errors import KeyServiceError, PermissionDeniedError
from strongroom.node.opening import Node
from strongroom.runtime import running
from strongroom.system import wire
from tests.support.memory_keys import MemoryKeys
from tests.support.strange_peer import as_by_a_stranger
from tests.support.web_client import Served

HEADER, _ = MemoryKeys().new_envelope(Placement.standalone())


@contextmanager
def answering(node: Node, line: bytes) -> Iterator[None]:
    """A process that has taken the name of the node's socket, and says this to whoever comes."""
    name = f"@strongroom-test-{id(line)}"
    running.control_note_path(node.paths).write_text(name)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(wire.address(name))
        listener.listen()

        def serve() -> None:
            connection, _ = listener.accept()
            with connection, suppress(OSError):  # whoever refuses us is gone
                connection.recv(1 << 16)
                connection.sendall(line)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield
        thread.join(20)


def test_a_node_that_nobody_serves(node: Node) -> None:
    keys = NodeKeyService(str(node.paths.root))
    with pytest.raises(KeyServiceError, match="no process serves") as caught:
        keys.generate()
    assert "strongroom serve" in caught.value.hint
    running.control_note_path(node.paths).write_text("@strongroom-of-a-server-that-was-killed")
    with pytest.raises(KeyServiceError, match="cannot be asked"):
        keys.generate()


def test_no_node_there(tmp_path: Path) -> None:
    with pytest.raises(KeyServiceError, match="no process serves"):
        NodeKeyService(tmp_path).unwrap(HEADER)


def test_a_strangers_process_is_told_nothing(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once a server was killed, anybody may take its socket's name. Here the kernel names a stranger."""

    as_by_a_stranger(node_service, monkeypatch)
    with (
        answering(node, b'{"result": {}}\n'),
        pytest.raises(PermissionDeniedError, match="does not own"),
    ):
        NodeKeyService(node.paths.root).unwrap(HEADER)


def test_a_directory_of_another_user(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(path: Path) -> str:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "read_text", refused)
    with pytest.raises(PermissionDeniedError, match="another user"):
        NodeKeyService(node.paths.root).generate()


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"no JSON\n",
        b'{"result": null}\n',
        b'{"result": {"key": "QQ==", "header": "QQ=="}}\n',
        b'{"result": {"key": 5}}\n',
        b'{"say": "working"}\n',
        b'{"result": ' + b"1" * (1 << 20) + b"}\n",
    ],
    ids=lambda line: repr(line[:20]),
)
def test_answers_that_make_no_sense(node: Node, line: bytes) -> None:
    keys = NodeKeyService(node.paths.root)
    with answering(node, line), pytest.raises(KeyServiceError):
        keys.generate()
    with answering(node, line), pytest.raises(KeyServiceError):
        keys.unwrap(HEADER)


def test_the_socket_is_found_where_the_node_says(served: Served) -> None:
    """The client reads two places of the data directory by itself: they are the node's own."""
    paths = served.node.paths
    assert running.control_note_path(paths) == paths.root / "tabsvc" / "control.path"
    assert paths.owner() == (paths.root / "tabsvc" / "coordination").stat().st_uid
