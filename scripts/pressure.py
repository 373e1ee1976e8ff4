"""Presses a served node from outside for some minutes, beside a reader and a probe, and prints what they felt.

    .venv/bin/python -m scripts.pressure [MINUTES]

All at once, against a real `strongroom serve` on the loopback (findings S1, S2, S6, S7, S8): heads with as many headers
as fit, sign-ins of nobody, guesses of access tokens, slow uploads of a Viewer and of publishers, connections that are silent
or drip. Beside them a reader downloads an extract and compares every byte, and a probe asks `/healthz` and `/readyz` every
half second. It ends with 1 if a probe or a download failed.
"""

import argparse
import contextlib
import hashlib
import http.client
import itertools
import os
import signal
import socket
import statistics
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING
from xml.sax.saxutils import quoteattr

from tests.support.servers import TestNode, create_node, serving
from tests.support.web_client import BOUNDARY, Client, multipart

if TYPE_CHECKING:
    from collections.abc import Callable

EXTRACT_BYTES = 8 * 1024 * 1024
PROBE_S = 0.5
STALE_S = 60.0  # a probe that takes longer has failed
HEADERS = b"a:\r\n" * 15_000
RESULTS: Counter[str] = Counter()
LATENCIES: dict[str, list[float]] = {}
_GUARD = threading.Lock()


def count(what: str, latency_s: float | None = None) -> None:
    """Note that something happened, and how long it took."""
    with _GUARD:
        RESULTS[what] += 1
        if latency_s is not None:
            LATENCIES.setdefault(what, []).append(latency_s)


def connected(port: int, raw: bytes, seconds: float) -> bytes:
    """The beginning of the answer to some bytes."""
    with socket.create_connection(("127.0.0.1", port), timeout=seconds) as connection:
        connection.sendall(raw)
        return connection.recv(65536)


def probe(port: int, stopping: threading.Event) -> None:
    """`/healthz` and `/readyz`, every half second."""
    for path in itertools.cycle(("/healthz", "/readyz")):
        if stopping.wait(PROBE_S):
            return
        begun = time.monotonic()
        try:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=STALE_S)
            connection.request("GET", path)
            is_right = connection.getresponse().status == 200
            connection.close()
        except (OSError, http.client.HTTPException):
            is_right = False
        count(f"probe {path} {'right' if is_right else 'failed'}", time.monotonic() - begun)


def read(client: Client, item: str, digest: str, stopping: threading.Event) -> None:
    """Downloads, each compared."""
    while not stopping.wait(0.2):
        begun = time.monotonic()
        try:
            body = client.download(item).body
            is_right = hashlib.sha256(body).hexdigest() == digest
        except (OSError, http.client.HTTPException):
            is_right = False
        count(f"download {'right' if is_right else 'failed'}", time.monotonic() - begun)


def attack_heads(port: int, stopping: threading.Event) -> None:
    """S1."""
    head = b"GET / HTTP/1.1\r\nHost: x\r\n" + HEADERS + b"\r\n"
    while not stopping.is_set():
        with contextlib.suppress(OSError):
            connected(port, head, 10)
        count("heads of many headers")


def attack_sign_ins(port: int, stopping: threading.Event) -> None:
    """S2: and every other one leaves before it is answered."""
    body = b'<tsRequest><credentials name="admin" password="guess"/></tsRequest>'
    raw = _head("POST", "/api/3.26/auth/signin", len(body)) + body
    for number in itertools.count():
        if stopping.is_set():
            return
        try:
            if number % 2:
                with socket.create_connection(("127.0.0.1", port), timeout=10) as leaving:
                    leaving.sendall(raw)
                count("sign-ins left")
                continue
            status = connected(port, raw, 60)[9:12].decode()
            count(f"sign-ins answered {status or 'not'}")
        except OSError:
            count("sign-ins cut")


def attack_tokens(port: int, stopping: threading.Event) -> None:
    """S8: access tokens that nobody gave."""
    body = (
        b'<tsRequest><credentials personalAccessTokenName="x" personalAccessTokenSecret="y"/>'
        b"</tsRequest>"
    )
    raw = _head("POST", "/api/3.26/auth/signin", len(body)) + body
    while not stopping.is_set():
        try:
            status = connected(port, raw, 60)[9:12].decode()
            count(f"tokens answered {status or 'not'}")
        except OSError:
            count("tokens cut")


def attack_uploads(client: Client, stopping: threading.Event) -> None:
    """S6, R8: publish, a few bytes a second."""
    payload = b'<tsRequest><datasource name="slow"/></tsRequest>'
    body = multipart(("request_payload", "", payload), ("tableau_datasource", "f.hyper", b""))
    target = f"/api/3.26/sites/{client.site_id}/datasources?datasourceType=hyper"
    kind = f"multipart/mixed; boundary={BOUNDARY}"
    head = _head("POST", target, 10**9, f"x-tableau-auth: {client.token}", f"Content-Type: {kind}")
    while not stopping.is_set():
        try:
            with socket.create_connection(("127.0.0.1", client.port), timeout=60) as raw:
                raw.sendall(head + body[:-30])
                raw.settimeout(1)
                answer = b""
                while not answer and not stopping.is_set():
                    with contextlib.suppress(TimeoutError):
                        raw.sendall(b"x" * 300)
                        answer = raw.recv(65536)
            count(f"slow uploads answered {answer[9:12].decode() or 'not'}")
        except OSError:
            count("slow uploads cut")


def attack_connections(port: int, stopping: threading.Event) -> None:
    """S7: heads that drip, silence after an answer, bodies that nobody reads."""
    ways = itertools.cycle(
        (
            (b"GET / HTTP/1.1\r\n", b"a: b\r\n"),
            (_head("GET", "/api/3.26/serverInfo", 0), b""),
            (_head("GET", "/api/3.26/serverInfo", 0), b"\r\n"),
            (_head("POST", "/nosuch", 10**6), b"x"),
        )
    )
    while not stopping.is_set():
        begin, drip = next(ways)
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=1) as raw:
                raw.sendall(begin)
                while not stopping.is_set():
                    raw.sendall(drip)
                    with contextlib.suppress(TimeoutError):
                        if not raw.recv(65536):
                            break
        except OSError:
            pass
        count("slow connections ended by the server")


def _head(method: str, target: str, length: int, *lines: str) -> bytes:
    said = (f"{method} {target} HTTP/1.1", "Host: x", f"Content-Length: {length}", *lines)
    return "\r\n".join((*said, "", "")).encode()


def prepared(node: TestNode, port: int) -> tuple[list[Client], Client, str, str]:
    """Slow publishers and a Viewer, a reader, and the extract with its digest."""
    node.run("strongroom", "sites", "create", "Site", "--mode", "enforced")
    people = {"viewer": "Viewer", "reader": "Explorer", "slow1": "Creator", "slow2": "Creator"}
    clients = {}
    for name, role in {**people, "maker": "Creator"}.items():
        options = ("--site", "Site", "--role", role, "--password-file", node.password_file)
        node.run("strongroom", "users", "create", name, *options)
        clients[name] = Client(port)
        reply = clients[name].sign_in(name, node.password_file.read_text().strip(), "Site")
        if reply.status != 200:
            raise SystemExit(f"cannot sign in: {reply.body!r}")
    content = b"Hyper\x08\x00\x00\x01\x00\x02\x00" + os.urandom(EXTRACT_BYTES)
    made = clients["maker"].publish("data", content).find("datasource").get("id", "")
    slow = [clients[name] for name in ("viewer", "slow1", "slow2")]
    return slow, clients["reader"], made, hashlib.sha256(content).hexdigest()


def memory_mib(pid: int) -> float:
    """Resident memory of a process."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    return 0.0


def size(folder: Path) -> int:
    """Bytes of all files below."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def press(node: TestNode, minutes: float) -> list[tuple[str, str]]:
    """Do all of it; the rows of the table."""
    port = int(node.url.rpartition(":")[2])
    server = int(node.run("strongroom", "status", "--json").json.get("pid", 0) or _server(node))
    slow, reader, item, digest = prepared(node, port)
    stopping = threading.Event()
    work: list[tuple[Callable[..., None], tuple[object, ...], int]] = [
        (probe, (port,), 1),
        (read, (reader, item, digest), 2),
        (attack_heads, (port,), 4),
        (attack_sign_ins, (port,), 50),
        (attack_tokens, (port,), 8),
        (attack_connections, (port,), 100),
        *((attack_uploads, (client,), 16) for client in slow),
    ]
    events, logs = node.home / "tabsvc" / "events", node.home / "tabsvc" / "logs"
    before = size(events), size(logs), memory_mib(server)
    threads = [
        threading.Thread(target=one, args=(*arguments, stopping), daemon=True)
        for one, arguments, number in work
        for _ in range(number)
    ]
    peak = before[2]
    for thread in threads:
        thread.start()
    end = time.monotonic() + minutes * 60
    with contextlib.suppress(KeyboardInterrupt):
        while time.monotonic() < end:
            time.sleep(1)
            peak = max(peak, memory_mib(server))
    stopping.set()
    for thread in threads[:3]:
        thread.join(STALE_S)
    after = size(events), size(logs), memory_mib(server)
    begun = time.monotonic()
    rows = [(what, told(what, number)) for what, number in sorted(RESULTS.items())]
    rows += [
        (
            "memory of the server",
            f"{before[2]:.0f} MiB before, {peak:.0f} at most, {after[2]:.0f} after",
        ),
        ("event log", f"+{(after[0] - before[0]) / 1024:.0f} KiB"),
        ("service logs", f"+{(after[1] - before[1]) / 1024:.0f} KiB"),
    ]
    os.kill(server, signal.SIGTERM)
    while Path(f"/proc/{server}/stat").exists() and time.monotonic() - begun < STALE_S:
        if Path(f"/proc/{server}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
            break
        time.sleep(0.1)
    rows.append(("the server ended after", f"{time.monotonic() - begun:.1f} s"))
    return rows


def _server(node: TestNode) -> int:
    import json

    return int(json.loads((node.home / "tabsvc" / "serve.json").read_text())["pid"])


def told(what: str, number: int) -> str:
    """A number, and what is known of its latencies."""
    found = LATENCIES.get(what)
    if not found:
        return str(number)
    middle = statistics.median(found)
    return f"{number}, median {middle * 1000:.0f} ms, longest {max(found) * 1000:.0f} ms"


def main() -> int:
    """Run it and print the table."""
    parser = argparse.ArgumentParser(prog="pressure", description=__doc__, allow_abbrev=False)
    parser.add_argument("minutes", type=float, nargs="?", default=30.0)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="pressure-") as folder:
        node = create_node(Path(folder), quoteattr("correct horse battery").strip('"'))
        with serving(node) as served:
            rows = press(served, arguments.minutes)
    width = max(len(what) for what, _ in rows)
    for what, figure in rows:
        print(f"{what:<{width}}  {figure}")
    failed = sum(number for what, number in RESULTS.items() if what.endswith(" failed"))
    print(f"{failed} probes and downloads failed in {arguments.minutes:g} minutes")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
