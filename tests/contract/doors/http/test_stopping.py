"""SIGTERM ends the server within its bound, with 0 and without a traceback, whatever clients do meanwhile (findings R1).

One of six ways to send an upload let the server end; the others kept it alive until the service manager killed it.
"""

import contextlib
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from strongroom.repository.rows import SiteMode
from tests.support import servers
from tests.support.servers import BIN
from tests.support.web_client import ADMIN, BOUNDARY, HYPER, PASSWORD, Client, multipart, serve

SHORT_S = 1.0
# far more than the bound, for a machine that is busy; before the repair it was never
LATEST_S = 90.0
PROGRAM = (
    f"#!{sys.executable}\n"
    "import sys, logging\n"
    "from strongroom.node import opening\nfrom strongroom.doors.http import server\n"
    "logging.basicConfig(level=logging.INFO, stream=sys.stderr)\n"
    f"server.SHUTDOWN_S = {SHORT_S}\n"
    "node = opening.open_node(sys.argv[1])\n"
    "server.run(node, '127.0.0.1', 0, lambda url: print('ready:', url, flush=True))\n"
    "node.close()\n"
)


@dataclass
class Stage:
    """A signed-in client, an upload that was begun, and an extract that is larger than what a socket holds."""

    client: Client
    upload: str
    item: str
    stopping: threading.Event

    def connect(self, sent: bytes = b"") -> socket.socket:
        raw = socket.create_connection(("127.0.0.1", self.client.port), timeout=30)
        raw.sendall(sent)
        return raw

    def head(self, method: str, path: str, *lines: str) -> bytes:
        target = f"/api/3.26/sites/{self.client.site_id}{path}"
        token = f"x-tableau-auth: {self.client.token}"
        return "\r\n".join(
            (f"{method} {target} HTTP/1.1", "Host: x", token, *lines, "", "")
        ).encode()

    def publish(self, declared: int) -> bytes:
        payload = b'<tsRequest><datasource name="new"/></tsRequest>'
        body = multipart(("request_payload", "", payload), ("tableau_datasource", "f.hyper", HYPER))
        return self._streamed("POST", "/datasources?datasourceType=hyper", body, declared)

    def chunk(self, declared: int) -> bytes:
        body = multipart(("request_payload", "", b""), ("tableau_file", "f", HYPER))
        return self._streamed("PUT", f"/fileUploads/{self.upload}", body, declared)

    def _streamed(self, method: str, path: str, body: bytes, declared: int) -> bytes:
        kind = f"Content-Type: multipart/mixed; boundary={BOUNDARY}"
        end = len(f"\r\n--{BOUNDARY}--\r\n")
        return self.head(method, path, f"Content-Length: {declared}", kind) + body[:-end]

    def keep_sending(self, raw: socket.socket, piece: bytes, pause_s: float) -> None:
        """From a thread, until the server cuts it or the test ends."""

        def send() -> None:
            with contextlib.suppress(OSError):
                while not self.stopping.is_set():
                    raw.sendall(piece)
                    time.sleep(pause_s)

        threading.Thread(target=send, daemon=True).start()


def _sends(head: Callable[[Stage], bytes], piece: bytes, pause_s: float) -> Callable[[Stage], None]:
    def begin(stage: Stage) -> None:
        raw = stage.connect(head(stage))
        stage.keep_sending(raw, piece, pause_s)
        KEPT.append(raw)

    return begin


def _silent(head: Callable[[Stage], bytes]) -> Callable[[Stage], None]:
    def begin(stage: Stage) -> None:
        KEPT.append(stage.connect(head(stage)))

    return begin


KEPT: list[socket.socket] = []
LARGE = 10**10


def small(stage: Stage) -> bytes:
    return stage.head("PUT", "/datasources/x", "Content-Length: 100") + b"<"


def download(stage: Stage) -> bytes:
    return stage.head("GET", f"/datasources/{stage.item}/content")


def answered(stage: Stage) -> None:
    raw = stage.connect(stage.head("GET", "/datasources"))
    assert raw.recv(100).startswith(b"HTTP/1.1 200")
    KEPT.append(raw)


def pipelined(stage: Stage) -> bytes:
    return download(stage) * 8


def nowhere(stage: Stage) -> bytes:
    return stage.head("POST", "/nosuch", "Content-Length: 100000") + b"x"


WAYS: dict[str, Callable[[Stage], None]] = {
    "an upload at full speed": _sends(lambda at: at.publish(LARGE), b"\0" * 1_000_000, 0),
    "an upload that drips": _sends(lambda at: at.publish(LARGE), b"\0" * 10_000, 0.05),
    "an upload that is silent": _silent(lambda at: at.publish(LARGE)),
    "an upload of which only the head came": _silent(lambda at: at.publish(LARGE)[:400]),
    "a chunk at full speed": _sends(lambda at: at.chunk(LARGE), b"\0" * 1_000_000, 0),
    "a chunk that is silent": _silent(lambda at: at.chunk(LARGE)),
    "a small body that is silent": _silent(small),
    "a body that nobody reads": _sends(nowhere, b"x", 0.05),
    "a download that is not read": _silent(download),
    "several downloads that are not read": _silent(pipelined),
    "an idle connection": answered,
    "nothing at all": _silent(lambda _: b""),
    "half a head": _silent(lambda at: at.head("GET", "/datasources")[:60]),
    "a head that drips": _sends(lambda at: at.head("GET", "/x")[:-2], b"a: b\r\n", 0.05),
}


@pytest.fixture(scope="module")
def furnished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A node with an extract of 20 MB on an encrypting site, and the extract's id."""
    from strongroom.crypto.secret import SecretBytes
    from strongroom.node import create

    root = tmp_path_factory.mktemp("stopping") / "node"
    create.create_node(str(root), ADMIN, SecretBytes(PASSWORD.encode()))
    with serve(root) as served:
        client = served.site("Site", SiteMode.ENFORCED)
        item = client.publish("data", HYPER * 30).find("datasource").get("id", "")
    return root, item


@contextlib.contextmanager
def running(
    command: list[str], errors: Path, *, forks: bool = False
) -> Iterator[tuple[servers.Process, int]]:
    try:
        with servers.ready(command, errors, errors.parent, os.environ, forks=forks) as (one, url):
            yield one, int(url.rpartition(":")[2])
    finally:
        for raw in KEPT:
            raw.close()
        KEPT.clear()


def prepared(port: int, item: str) -> Stage:
    client = Client(port)
    assert client.sign_in(site="Site").status == 200
    found = client.on_site("POST", "/fileUploads").find("fileUpload")
    return Stage(client, found.get("uploadSessionId", ""), item, threading.Event())


@pytest.mark.parametrize("way", WAYS)
def test_it_ends_whatever_one_client_does(
    furnished: tuple[Path, str], tmp_path: Path, way: str
) -> None:
    """findings R1."""
    root, item = furnished
    errors, program = tmp_path / "errors", tmp_path / "program"
    program.write_text(PROGRAM)
    program.chmod(0o700)
    with running([str(program), str(root)], errors, forks=True) as (process, port):
        stage = prepared(port, item)
        WAYS[way](stage)
        time.sleep(0.3)  # for it to be under way
        process.send_signal(signal.SIGTERM)
        assert process.wait(LATEST_S) == 0
        stage.stopping.set()
    assert "Traceback" not in errors.read_text()


def test_sigterm_that_is_sent_again_cuts_nothing_off(
    furnished: tuple[Path, str], tmp_path: Path
) -> None:
    """findings R1, a sibling: the second one came while the first was obeyed, and killed what cleans up."""
    root, item = furnished
    errors = tmp_path / "errors"
    command = [str(BIN / "strongroom"), "--data-dir", str(root), "serve", "--port", "0"]
    with running(command, errors) as (process, port):
        stage = prepared(port, item)
        WAYS["an upload that drips"](
            stage
        )  # at full speed its sender, too, would work for ten seconds
        latest = time.monotonic() + LATEST_S + 10
        while process.poll() is None and time.monotonic() < latest:
            process.send_signal(signal.SIGTERM)
            time.sleep(0.01)
        assert process.poll() == 0, errors.read_text()
        stage.stopping.set()
    assert errors.read_text() == ""
    left = {name for name in ("serve.json", "control.path") if (root / "tabsvc" / name).exists()}
    assert left == set()


def test_serve_ends_whatever_all_of_them_do(furnished: tuple[Path, str], tmp_path: Path) -> None:
    """findings R1: the whole command, its own bound, every way at once."""
    root, item = furnished
    command = [str(BIN / "strongroom"), "--data-dir", str(root), "serve", "--port", "0"]
    errors = tmp_path / "errors"
    with running(command, errors) as (process, port):
        stage = prepared(port, item)
        for begin in WAYS.values():
            begin(stage)
        time.sleep(0.5)
        process.send_signal(signal.SIGTERM)
        assert process.wait(LATEST_S + 10) == 0
        stage.stopping.set()
    logs = "".join(path.read_text() for path in (root / "tabsvc" / "logs").glob("*.log"))
    assert "Traceback" not in errors.read_text() + logs
    with serve(root) as served:  # nothing half-done stays
        assert served.client("Site").download(item).status == 200
