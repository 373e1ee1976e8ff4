"""Fifty of each anonymous request beside a probe and a download: none of these fails, none waits for them (findings S2, R5, R8).

Nothing is measured: what the crowd waits for is held, so it can not be over before what must not wait for it.
"""

import contextlib
import itertools
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from strongroom.access import passwords
from strongroom.crypto.secret import SecretBytes
from strongroom.doors.http.lanes import LaneLimits
from strongroom.doors.http.settings import WebSettings
from strongroom.node import create
from strongroom.repository.rows import SiteMode
from strongroom.services.nodes.admit import TopologyService
from tests.support.web_client import (
    ADMIN,
    BOUNDARY,
    HYPER,
    PASSWORD,
    Client,
    Served,
    multipart,
    serve,
)

CROWD = 50
GUESS = b'<tsRequest><credentials name="admin" password="wrong"/></tsRequest>'


@pytest.fixture(scope="module")
def furnished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("fair") / "node"
    create.create_node(str(root), ADMIN, SecretBytes(PASSWORD.encode()))
    return root


@pytest.fixture(scope="module")
def stage(furnished: Path) -> Iterator[tuple[Served, Client, str]]:
    with serve(furnished) as served:
        client = served.site("Site", SiteMode.ENFORCED)
        yield served, client, client.publish("data").find("datasource").get("id", "")


class Gate:
    """Holds whoever comes until it is opened."""

    def __init__(self) -> None:
        self._is_open = threading.Event()
        self.came = 0
        self._guard = threading.Lock()

    def __call__(self, *_: object, **__: object) -> bool:
        with self._guard:
            self.came += 1
        assert self._is_open.wait(120)
        return False

    def open(self) -> None:
        self._is_open.set()


def head(method: str, target: str, body: bytes = b"", *lines: str) -> bytes:
    said = (f"{method} {target} HTTP/1.1", "Host: x", f"Content-Length: {len(body)}", *lines)
    return "\r\n".join((*said, "", "")).encode() + body


ANONYMOUS = {
    "sign-ins": head("POST", "/api/3.26/auth/signin", GUESS),
    "sign-outs": head("POST", "/api/3.26/auth/signout", b"", "x-tableau-auth: " + "x" * 43),
    "unknown tokens": head("GET", "/api/3.26/sites", b"", "x-tableau-auth: " + "x" * 43),
    "no tokens": head("GET", "/api/3.26/sites"),
    "serverInfo": head("GET", "/api/3.26/serverInfo"),
    "admissions": head("POST", "/tsm/nodes", b"{}"),
    "probes": head("GET", "/healthz"),
    "readiness": head("GET", "/readyz"),
    "unknown paths": head("GET", "/nosuch"),
    "bodies that do not come": head("POST", "/api/3.26/auth/signin")[:-2] + b"a: b\r\n",
    "bodies of nobody": head("POST", "/nosuch").replace(b"Length: 0", b"Length: 999"),
}


@contextlib.contextmanager
def crowd(port: int, requests: bytes, size: int = CROWD) -> Iterator[list[socket.socket]]:
    made = [socket.create_connection(("127.0.0.1", port), timeout=60) for _ in range(size)]
    for one in made:
        one.sendall(requests)
    try:
        yield made
    finally:
        for one in made:
            one.close()


def nobody_waits(client: Client, item: str) -> None:
    """A probe, a list and a whole download, all of them right."""
    for path in ("/healthz", "/readyz"):
        with socket.create_connection(("127.0.0.1", client.port), timeout=60) as raw:
            raw.sendall(head("GET", path))
            assert raw.recv(100).startswith(b"HTTP/1.1 200")
    assert client.on_site("GET", "/datasources").status == 200
    assert client.download(item).body == HYPER


def status_of(raw: socket.socket) -> tuple[int, bytes]:
    answer = b""
    while b"\r\n\r\n" not in answer:
        more = raw.recv(65536)
        if not more:
            return 0, answer
        answer += more
    return int(answer.split()[1]), answer


@pytest.fixture
def gate() -> Iterator[Gate]:
    made = Gate()
    yield made
    made.open()


@pytest.mark.parametrize("kind", ANONYMOUS)
def test_a_crowd_of_strangers(
    stage: tuple[Served, Client, str], monkeypatch: pytest.MonkeyPatch, gate: Gate, kind: str
) -> None:
    """findings S2: what is slow about the crowd's requests does not end before the others are served."""
    served, client, item = stage
    monkeypatch.setattr(passwords, "verify", gate)
    monkeypatch.setattr(TopologyService, "admit", gate)
    with crowd(served.port, ANONYMOUS[kind]):
        nobody_waits(client, item)
    if kind == "sign-ins":
        assert gate.came > 0


def test_all_crowds_at_once(
    stage: tuple[Served, Client, str], monkeypatch: pytest.MonkeyPatch, gate: Gate
) -> None:
    """findings S2, R5."""
    served, client, item = stage
    monkeypatch.setattr(passwords, "verify", gate)
    monkeypatch.setattr(TopologyService, "admit", gate)
    with contextlib.ExitStack() as stack:
        for requests in ANONYMOUS.values():
            stack.enter_context(crowd(served.port, requests))
        nobody_waits(client, item)
        assert client.publish("beside").status == 201


def test_a_full_line_says_so_at_once(
    stage: tuple[Served, Client, str], monkeypatch: pytest.MonkeyPatch, gate: Gate
) -> None:
    """findings S2: 429 with Retry-After, while everybody before it still waits."""
    served, _, _ = stage
    monkeypatch.setattr(passwords, "verify", gate)
    limits = WebSettings().sign_in
    with crowd(served.port, ANONYMOUS["sign-ins"], limits.at_once + limits.waiting_per_key + 10):
        reply = Client(served.port).sign_in()
        assert (reply.status, reply.code) == (429, "429000")
        assert int(reply.headers["retry-after"]) > 0
        assert gate.came <= limits.at_once


def test_who_has_left_is_not_hashed_for(
    stage: tuple[Served, Client, str], monkeypatch: pytest.MonkeyPatch, gate: Gate
) -> None:
    """findings S2: for 57 s after they had left the server went on hashing for nobody."""
    served, _, _ = stage
    monkeypatch.setattr(passwords, "verify", gate)
    limits = WebSettings().sign_in
    with crowd(served.port, ANONYMOUS["sign-ins"], limits.at_once + limits.waiting_per_key):
        until(lambda: gate.came == limits.at_once)
    until(lambda: not is_connected(served, "sign-in"))
    # the line was full: now it has room, since whoever left does not count
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(Client(served.port).sign_in)
        gate.open()
        assert answer.result(60).status == 401
    assert gate.came <= limits.at_once + 1


def is_connected(served: Served, _: str) -> bool:
    return len(served.connections.open) > 0


def until(true: Callable[[], bool], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it did not come"
        time.sleep(0.01)


@pytest.mark.parametrize("count", [1, 8])
def test_reads_do_not_wait_for_writes(stage: tuple[Served, Client, str], count: int) -> None:
    """findings R20, R21: whoever holds the repository's lock holds up those who write, and nobody else."""
    served, client, item = stage
    change = '<tsRequest><project name="p"/></tsRequest>'
    with ThreadPoolExecutor(count) as pool:
        with served.node.repository.transaction():
            waiting = [
                pool.submit(client.on_site, "POST", "/projects", change) for _ in range(count)
            ]
            nobody_waits(client, item)
            assert not any(one.done() for one in waiting)
        assert {one.result(60).status for one in waiting} <= {201, 409}


def begin_upload(client: Client, name: str) -> socket.socket:
    payload = f'<tsRequest><datasource name="{name}"/></tsRequest>'.encode()
    body = multipart(("request_payload", "", payload), ("tableau_datasource", "f.hyper", HYPER))
    lines = (
        f"POST /api/3.26/sites/{client.site_id}/datasources?datasourceType=hyper HTTP/1.1",
        "Host: x",
        f"x-tableau-auth: {client.token}",
        f"Content-Type: multipart/mixed; boundary={BOUNDARY}",
        f"Content-Length: {10**9}",
        "",
        "",
    )
    raw = socket.create_connection(("127.0.0.1", client.port), timeout=60)
    raw.sendall("\r\n".join(lines).encode() + body[:2000])
    return raw


def test_uploads_are_bounded_per_user(furnished: Path) -> None:
    """findings S6, R8: one who has all his places taken is told; another user still publishes."""
    numbers = itertools.count()
    settings = WebSettings(uploads=LaneLimits(4, 2, 4, 1, wait_s=60))
    with serve(furnished, settings) as served, contextlib.ExitStack() as stack:
        slow, other = served.client(), served.user("other", "default", "Creator")
        for _ in range(3):  # two are worked on, one waits
            stack.enter_context(begin_upload(slow, f"slow{next(numbers)}"))
            until(lambda: len(served.connections.open) > 0)
        time.sleep(0.2)  # for the third one to wait
        with begin_upload(slow, "more") as refused:
            status, answer = status_of(refused)
            assert status == 429
            assert b"retry-after" in answer.lower()
        assert other.publish("theirs").status == 201
        nobody_waits(other, other.publish("again").find("datasource").get("id", ""))


def test_who_may_publish_nowhere_is_refused_before_the_body(furnished: Path) -> None:
    """findings S6: sixteen slow requests of a Viewer stopped all publishing."""
    with serve(furnished) as served:
        viewer = served.user("viewer", "default", "Viewer")
        lines = (
            f"POST /api/3.26/sites/{viewer.site_id}/datasources?datasourceType=hyper HTTP/1.1",
            "Host: x",
            f"x-tableau-auth: {viewer.token}",
            f"Content-Type: multipart/mixed; boundary={BOUNDARY}",
            "Expect: 100-continue",
            f"Content-Length: {10**9}",
            "",
            "",
        )
        with socket.create_connection(("127.0.0.1", served.port), timeout=60) as raw:
            raw.sendall("\r\n".join(lines).encode())
            status, answer = status_of(raw)
        assert status == 403
        assert b"100 Continue" not in answer
        assert b"connection: close" in answer
