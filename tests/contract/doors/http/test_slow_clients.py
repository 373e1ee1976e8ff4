"""Whoever is silent or drips is ended, in every state of a connection (findings S7, R8).

A table: a connection that is fresh or was used before, a head or a body that does not come, on every class of routes, in
silence or byte by byte, from strangers and users. Each row was a way to keep a connection, and often a thread, for ever.
"""

import contextlib
import itertools
import selectors
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeVar

import pytest

from strongroom.crypto.secret import SecretBytes
from strongroom.doors.http.feed import BodyLimits
from strongroom.doors.http.lanes import LaneLimits
from strongroom.doors.http.outer import Drain
from strongroom.doors.http.protocol import BoundedProtocol, Counted, Patience
from strongroom.doors.http.settings import WebSettings
from strongroom.doors.tableau import publish
from strongroom.node import create
from strongroom.repository.rows import SiteMode
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

T = TypeVar("T")
SHORT_S = 0.4
LATEST_S = 60.0  # the machine may be busy; without a bound it is never
SHORT = WebSettings(
    patience=Patience(SHORT_S, SHORT_S, SHORT_S),
    small_body=BodyLimits(whole_s=SHORT_S),
    upload_body=BodyLimits(idle_s=SHORT_S, least_bytes=4096),
    drain=Drain(seconds=SHORT_S),
    uploads=LaneLimits(64, 64, 64, 64),
)
ROLES = ("nobody", "viewer", "publisher", "administrator")
ROUTES = {
    "open": ("POST", "/api/3.26/auth/signin"),
    "open without a body": ("GET", "/api/3.26/serverInfo"),
    "list": ("GET", "/api/3.26/sites/{site}/datasources"),
    "change": ("PUT", "/api/3.26/sites/{site}/datasources/x"),
    "download": ("GET", "/api/3.26/sites/{site}/datasources/{item}/content"),
    "upload": ("POST", "/api/3.26/sites/{site}/datasources?datasourceType=hyper"),
    "chunk": ("PUT", "/api/3.26/sites/{site}/fileUploads/{upload}"),
    "unknown": ("POST", "/api/3.26/nosuch"),
    "outside": ("POST", "/nosuch"),
    "wrong method": ("PATCH", "/api/3.26/sites"),
    "probe": ("GET", "/healthz"),
    "readiness": ("GET", "/readyz"),
    "admission": ("POST", "/tsm/nodes"),
}
PARTS = {
    "head": "",
    "body": "Content-Length: 1000000\r\n",
    "chunked body": "Transfer-Encoding: chunked\r\n",
    "body that is asked for": "Content-Length: 1000000\r\nExpect: 100-continue\r\n",
    "upgrade": "Content-Length: 1000000\r\nConnection: upgrade\r\nUpgrade: websocket\r\n",
}
PAYLOAD = multipart(("request_payload", "", b'<tsRequest><datasource name="a"/></tsRequest>'))


@dataclass
class Slow:
    """One row of the table on its way."""

    name: str
    raw: socket.socket
    drips: bytes


@pytest.fixture(scope="module")
def people(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[tuple[Served, dict[str, Client], dict[str, str]]]:
    root = tmp_path_factory.mktemp("slow") / "node"
    create.create_node(str(root), ADMIN, SecretBytes(PASSWORD.encode()))
    with serve(root) as patient:
        admin = patient.site("Site", SiteMode.ENFORCED)
        found = {
            "site": admin.site_id,
            "item": admin.publish("data", HYPER * 20).find("datasource").get("id", ""),
        }
        publisher = patient.user("publisher", "Site", "Creator")
        reply = publisher.on_site("POST", "/fileUploads")
        found["upload"] = reply.find("fileUpload").get("uploadSessionId", "")
        clients = {
            "nobody": Client(patient.port),
            "viewer": patient.user("viewer", "Site", "Viewer"),
            "publisher": publisher,
            "administrator": admin,
        }
    with serve(root, SHORT) as served:
        for client in clients.values():
            client.port = served.port
        yield served, clients, found


@pytest.fixture(autouse=True)
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(publish, "PAYLOAD_S", SHORT_S)


def tried(attempt: Callable[[], T | None]) -> T:
    """What an attempt comes to, tried again if it comes too late: on a busy machine also who hurries is slow at times."""
    end = time.monotonic() + LATEST_S
    while True:
        with contextlib.suppress(ConnectionError):
            if (found := attempt()) is not None:
                return found
        assert time.monotonic() < end, "nobody is quick enough for this server"


def connect(port: int, *, used: bool) -> socket.socket:
    raw = tried(lambda: _used(port)) if used else _new(port)
    raw.setblocking(False)
    return raw


def _new(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=LATEST_S)


def _used(port: int) -> socket.socket | None:
    """A connection that was answered once; none if it was ended before."""
    with contextlib.ExitStack() as stack:
        raw = stack.enter_context(contextlib.closing(_new(port)))
        raw.sendall(b"GET /api/3.26/serverInfo HTTP/1.1\r\nHost: x\r\n\r\n")
        answer = b""
        while piece := raw.recv(65536):
            answer += piece
            if b"</tsResponse>" in answer:
                stack.pop_all()
                return raw
    return None


def begun(part: str, method: str, target: str, token: str) -> bytes:
    lines = f"{method} {target} HTTP/1.1\r\nHost: x\r\nx-tableau-auth: {token}\r\n{PARTS[part]}"
    if part == "head":
        return lines.encode()
    kind = f"Content-Type: multipart/mixed; boundary={BOUNDARY}\r\n\r\n"
    return (lines + kind).encode() + (b"" if "chunked" in part else PAYLOAD[:-20])


def drip_of(part: str, *, drips: bool) -> bytes:
    if not drips:
        return b""
    return {"head": b"a: b\r\n", "chunked body": b"1\r\nx\r\n"}.get(part, b"x")


@contextlib.contextmanager
def dripping(rows: list[Slow]) -> Iterator[None]:
    """Send a little on each connection again and again, from a thread."""
    stopping = threading.Event()

    def drip() -> None:
        while not stopping.wait(0.05):
            for row in rows:
                with contextlib.suppress(OSError):
                    row.raw.send(row.drips)

    thread = threading.Thread(target=drip)
    thread.start()
    try:
        yield
    finally:
        stopping.set()
        thread.join()


def is_over(raw: socket.socket) -> bool:
    """Whether the server has ended it; takes what it sent."""
    try:
        return raw.recv(65536) == b""
    except BlockingIOError:
        return False
    except OSError:
        return True


def those_that_stay(rows: list[Slow]) -> list[str]:
    """Drip until the server has ended every connection; which ones it did not."""
    end = time.monotonic() + LATEST_S
    with selectors.DefaultSelector() as selector, dripping([one for one in rows if one.drips]):
        for row in rows:
            selector.register(row.raw, selectors.EVENT_READ, row)
        while selector.get_map() and time.monotonic() < end:
            for key, _ in selector.select(0.2):
                if is_over(key.data.raw):
                    selector.unregister(key.fileobj)
        stay = [key.data.name for key in selector.get_map().values()]
    for row in rows:
        row.raw.close()
    return stay


def published(client: Client, name: str) -> bool | None:
    """Whether it is there; None if the server did not wait for all of it."""
    reply = client.publish(name)
    return None if reply.status == 400 else reply.status in {201, 409}


@pytest.mark.parametrize("used", [False, True], ids=["fresh", "used"])
@pytest.mark.parametrize("part", PARTS)
def test_every_slow_client_is_ended(
    people: tuple[Served, dict[str, Client], dict[str, str]], part: str, used: bool
) -> None:
    """findings S7: all routes and roles at once, silent and dripping."""
    served, clients, found = people
    rows = []
    for (name, (method, path)), role, drips in itertools.product(
        ROUTES.items(), ROLES, (False, True)
    ):
        raw = connect(served.port, used=used)
        raw.send(begun(part, method, path.format(**found), clients[role].token or "nobody's"))
        rows.append(Slow(f"{name} {role} {drips=}", raw, drip_of(part, drips=drips)))
    assert those_that_stay(rows) == []
    name = f"after {part} {used}"
    assert tried(lambda: published(clients["publisher"], name))
    assert served.nothing_is_left()


@pytest.mark.parametrize("used", [False, True], ids=["fresh", "used"])
@pytest.mark.parametrize("drip", [b"", b"\r\n", b"G"], ids=["silence", "empty lines", "letters"])
def test_a_connection_without_a_request_is_ended(
    people: tuple[Served, dict[str, Client], dict[str, str]], drip: bytes, used: bool
) -> None:
    """findings S7: after an answer no timer ran any more once a byte had come."""
    served, _, _ = people
    raw = connect(served.port, used=used)
    raw.send(drip or b"")
    assert those_that_stay([Slow("idle", raw, drip)]) == []


@pytest.mark.parametrize("times", [1, 3])
def test_an_answer_that_is_not_read_is_ended(
    people: tuple[Served, dict[str, Client], dict[str, str]], times: int
) -> None:
    """findings S7: a download that nobody reads held its file, two pieces and a connection for ever."""
    served, clients, found = people
    target = ROUTES["download"][1].format(**found)
    token = clients["administrator"].token
    head = f"GET {target} HTTP/1.1\r\nHost: x\r\nx-tableau-auth: {token}\r\n\r\n".encode()
    raw = socket.socket()
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    raw.connect(("127.0.0.1", served.port))
    raw.sendall(head * times)
    is_open = served.connections.open
    end = time.monotonic() + LATEST_S
    mine = raw.getsockname()
    while any(_client_of(one) == mine for one in is_open.copy()) and time.monotonic() < end:
        time.sleep(0.05)
    assert not [one for one in is_open.copy() if _client_of(one) == mine]
    raw.close()


def _client_of(one: Counted) -> object:
    return one.client if isinstance(one, BoundedProtocol) else None


def test_a_slow_reader_is_not_ended(
    people: tuple[Served, dict[str, Client], dict[str, str]],
) -> None:
    """Who reads some of it in each period gets all of it."""
    served, clients, found = people
    target = ROUTES["download"][1].format(**found)
    token = clients["administrator"].token
    head = f"GET {target} HTTP/1.1\r\nHost: x\r\nx-tableau-auth: {token}\r\n\r\n".encode()

    def read() -> bytes | None:
        """All of it; None if the reader did not get the processor for a whole period."""
        got, late = bytearray(), False
        with contextlib.closing(_new(served.port)) as raw:
            raw.sendall(head)
            began = before = time.monotonic()
            while len(got) < len(HYPER) * 20 and (piece := raw.recv(512 * 1024)):
                got += piece
                late = late or time.monotonic() - before > SHORT_S / 2
                if time.monotonic() - began < SHORT_S * 4:
                    time.sleep(SHORT_S / 10)
                before = time.monotonic()
        is_whole = len(got) >= len(HYPER) * 20
        return bytes(got) if is_whole or not late else None

    assert tried(read).endswith(HYPER)
