"""What a refused request, or a client that leaves, costs: no traceback, and few bytes of log (findings S14, S16, R17, ST)."""

import http.client
import logging
import resource
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from strongroom.backup import manifest
from strongroom.doors.http import descriptors
from strongroom.doors.http.protocol import Connections, peer_of
from strongroom.doors.http.settings import WebSettings
from strongroom.doors.tableau.errors import Noun, fault_of
from strongroom.errors import KeystoreError, StorageError, UsageError
from strongroom.repository.rows import SiteMode
from strongroom.services.backups import make
from strongroom.system import disk
from strongroom.system.compat import override
from tests.contract.doors.http.test_loop_budget import BODIES, HEADS
from tests.support.servers import BIN
from tests.support.web_client import BOUNDARY, HYPER, Client, Served, multipart, serve

MOST_BYTES = 400  # of log, for one refused request


class Kept(logging.Handler):
    """Every record as the service's log would have it."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.lines: list[str] = []
        self.tracebacks: list[str] = []

    @override
    def emit(self, record: logging.LogRecord) -> None:
        line = self.format(record)
        self.lines.append(line)
        if record.exc_info:
            self.tracebacks.append(line)


@pytest.fixture
def log() -> Iterator[Kept]:
    kept, root = Kept(), logging.getLogger()
    before = root.level
    root.addHandler(kept)
    root.setLevel(logging.INFO)
    yield kept
    root.removeHandler(kept)
    root.setLevel(before)


def until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not true():
        assert time.monotonic() < end, "it did not come"
        time.sleep(0.01)


def send(port: int, raw: bytes) -> bytes:
    """The answer to what may be cut while it is sent."""
    answer = b""
    with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
        try:
            connection.sendall(raw)
            connection.shutdown(socket.SHUT_WR)
            while more := connection.recv(65536):
                answer += more
        except ConnectionError:
            pass
    return answer


@pytest.mark.parametrize("raw", [*HEADS.values(), *BODIES.values()], ids=[*HEADS, *BODIES])
def test_a_refused_request_writes_few_bytes(served: Served, log: Kept, raw: bytes) -> None:
    """findings ST: a path of 64 KiB was written as it came, each byte as four."""
    send(served.port, raw)
    until(lambda: not served.connections.open)
    requests = max(1, sum("serverInfo" in line for line in log.lines))
    assert sum(map(len, log.lines)) <= MOST_BYTES * requests
    assert log.tracebacks == []


def begun(client: Client, sent: int) -> bytes:
    payload = b'<tsRequest><datasource name="cut"/></tsRequest>'
    body = multipart(("request_payload", "", payload), ("tableau_datasource", "f.hyper", HYPER))
    lines = (
        f"POST /api/3.26/sites/{client.site_id}/datasources?datasourceType=hyper HTTP/1.1",
        "Host: x",
        f"x-tableau-auth: {client.token}",
        f"Content-Type: multipart/mixed; boundary={BOUNDARY}",
        f"Content-Length: {len(body)}",
        "",
        "",
    )
    return "\r\n".join(lines).encode() + body[:sent]


@pytest.mark.parametrize("sent", [0, 1, 150, 300_000])
def test_a_client_that_leaves_an_upload_is_no_error(served: Served, log: Kept, sent: int) -> None:
    """findings S14: two tracebacks for each."""
    client = served.site("Site", SiteMode.ENFORCED)
    with socket.create_connection(("127.0.0.1", served.port), timeout=60) as raw:
        raw.sendall(begun(client, sent))
        time.sleep(0.2)
    until(lambda: not served.connections.open and served.stored == [] and served.nothing_is_left())
    assert log.tracebacks == []


@pytest.mark.parametrize("read", [0, 1, 1_000_000])
def test_a_client_that_leaves_a_download_is_no_error(served: Served, log: Kept, read: int) -> None:
    """findings S14."""
    client = served.site("Site", SiteMode.ENFORCED)
    item = client.publish("data", HYPER * 30).find("datasource").get("id", "")
    target = f"/api/3.26/sites/{client.site_id}/datasources/{item}/content"
    with socket.create_connection(("127.0.0.1", served.port), timeout=60) as raw:
        head = f"GET {target} HTTP/1.1\r\nHost: x\r\nx-tableau-auth: {client.token}\r\n\r\n"
        raw.sendall(head.encode())
        got = 0
        while got < read:
            got += len(raw.recv(65536))
    until(lambda: not served.connections.open)
    time.sleep(0.2)
    assert log.tracebacks == []


@pytest.mark.parametrize(
    "host",
    [b"", b"Host: a\r\nHost: b\r\n", b"Host: a\r\nHost: a\r\n", b"Host: a/b\r\n", b"Host: a b\r\n"],
)
def test_there_is_one_host(served: Served, host: bytes) -> None:
    """findings S16; RFC 9112 section 3.2."""
    raw = b"GET /healthz HTTP/1.1\r\n" + host + b"\r\n"
    with socket.create_connection(("127.0.0.1", served.port), timeout=60) as connection:
        connection.sendall(raw)
        assert connection.recv(100).startswith(b"HTTP/1.1 400 ")


@pytest.mark.parametrize("host", ["x", "x:80", "127.0.0.1:8000", "[::1]:8000", "a-b.example."])
def test_usual_hosts_are_taken(served: Served, host: str) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", served.port, timeout=60)
    connection.request("GET", "/healthz", headers={"Host": host})
    answer = connection.getresponse()
    # without TLS nobody is told to come back by it (findings S15)
    assert (answer.status, answer.getheader("strict-transport-security")) == (200, None)
    connection.close()


def test_headers_of_proxies_are_not_believed(served: Served) -> None:
    """findings S16: anybody can write them, and they ended in the links of answers."""
    client = served.client()
    client.publish("data")
    headers = {
        "x-forwarded-proto": "https",
        "x-forwarded-host": "evil.example",
        "x-forwarded-for": "203.0.113.9",
        "forwarded": "proto=https;host=evil.example",
    }
    reply = client.on_site("GET", "/datasources", headers=headers)
    assert reply.find("datasource").get("webpageUrl", "").startswith("http://127.0.0.1:")


@pytest.mark.parametrize(
    ("host", "peer"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3::4", "2001:db8:1:2::/64"),
        ("::1", "::1"),
        ("fe80::1%eth0", "fe80::/64"),
        ("", ""),
    ],
)
def test_peers(host: str, peer: str) -> None:
    """findings S2: whoever has a network of 2^64 addresses is one peer."""
    assert peer_of(host) == peer


def test_the_longest_idle_connection_makes_room(node_dir: Path) -> None:
    """findings R17: who holds all connections and asks for nothing keeps nobody out."""
    with serve(node_dir, WebSettings(connections=Connections(most=4))) as served:
        idle = [socket.create_connection(("127.0.0.1", served.port), timeout=60) for _ in range(12)]
        until(lambda: len(served.connections.open) <= 4)
        client = served.client()
        assert client.send("GET", "/sites").status == 200
        for one in idle:
            one.close()


def test_there_is_room_for_files_beside_connections() -> None:
    """findings R17."""
    for limit in (16, 64, 256, 640, 1024, 65_536):
        found = descriptors.connections(limit)
        assert 4 <= found.most <= max(4, limit // 2, limit - descriptors.RESERVED)
        assert found.most_per_peer <= max(4, found.most)


def test_too_many_open_files_are_said_as_such() -> None:
    """findings R17: "the server's storage cannot be used" made people look at the disk."""
    system = OSError(24, "Too many open files")
    wrapped = KeystoreError("the keystore cannot be read")
    wrapped.__cause__ = system
    for error in (disk.problem("cannot write /secret/path", system), wrapped):
        fault = fault_of(error, Noun.NOTHING)
        assert fault.status == 423
        assert "too many open files" in fault.detail
        assert "/secret" not in fault.detail
        assert fault.retry_after_s > 0
    assert "open files" not in fault_of(StorageError("x"), Noun.NOTHING).detail


def test_a_low_limit_is_told_and_survived(node_dir: Path, tmp_path: Path) -> None:
    """findings R17: 64 files, 60 clients at once; no reset once they are gone, and the log says what is the matter."""
    command = [str(BIN / "strongroom"), "--data-dir", str(node_dir), "serve", "--port", "0"]
    program = (
        "import os, resource, sys\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))\n"
        "os.execv(sys.argv[1], sys.argv[1:])\n"
    )
    with (tmp_path / "errors").open("w") as errors:
        process = subprocess.Popen(
            [sys.executable, "-c", program, *command, "--no-backgrounder"],
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        )
    assert process.stdout is not None
    try:
        port = int(process.stdout.readline().rpartition(":")[2])
        crowd = [socket.create_connection(("127.0.0.1", port), timeout=60) for _ in range(60)]
        for one in crowd:
            one.sendall(b"GET /readyz HTTP/1.1\r\nHost: x\r\n\r\n")
        for one in crowd:
            one.close()
        client = Client(port)
        until(lambda: client.sign_in().status == 200)
        assert client.publish("data").status == 201
    finally:
        process.terminate()
        process.wait(60)
        process.stdout.close()
    logs = "".join(path.read_text() for path in (node_dir / "tabsvc" / "logs").glob("*.log"))
    assert "at most 64 files can be open at once" in logs
    assert "LimitNOFILE" in logs
    assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] > 64


@pytest.mark.parametrize(
    "name", ["a\nb", "a\r", "a\tb", "a\x1b[2J", "a\u2028b", "a\0b", "../a", ""]
)
def test_a_backup_has_a_name_of_one_line(name: str) -> None:
    """findings S17: a line break in it wrote lines of its own into lists and logs."""
    with pytest.raises(UsageError, match="no name of a backup"):
        make.check_name(name)
    assert make.check_name("日本 nightly") == "日本 nightly" + make.SUFFIX
    assert manifest.MAX_DESCRIPTION > 0
