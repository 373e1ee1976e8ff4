"""Publishing over HTTP into a site that encrypts, beside the same request discarded by a bare ASGI application (F11)."""

import secrets
import signal
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from benchmarks.http_client import Client
from benchmarks.measure import BenchError, prime
from benchmarks.node import ADMIN, ROOT
from benchmarks.report import ratio
from benchmarks.workshop import Workshop

_SITE = "Bench"
_ENFORCED, _PLAIN = "published, encrypted and synced", "published, not encrypted, synced"
_DISCARDED = "discarded by a bare ASGI application"


def run(shop: Workshop) -> None:
    """One request for the whole file, each time a new item."""
    shop.say("upload: publishing over HTTP")
    for name, mode in ((_SITE, "enforced"), (f"{_SITE}Plain", "disabled")):
        shop.node.run("strongroom", "sites", "create", name)
        shop.node.run("strongroom", "sites", "set-mode", name, mode)
    with shop.node.serving() as url, _discarding() as other:
        works: dict[str, Callable[[], float]] = {
            _ENFORCED: _publisher(shop, _signed_in(shop, url, _SITE)),
            _PLAIN: _publisher(shop, _signed_in(shop, url, f"{_SITE}Plain")),
            _DISCARDED: lambda: Client(other, "token").post("/", b"", shop.source)[0],
        }
        walls: dict[str, list[float]] = {name: [] for name in works}
        for _ in range(shop.rounds):
            order = list(works)
            secrets.SystemRandom().shuffle(order)
            for name in order:
                prime(shop.source, shop.folder)
                walls[name].append(works[name]())
    table = shop.findings.table(
        "Upload over HTTP on loopback", "what", "MB/s", "best", "/ discarded"
    )
    middle = {name: statistics.median(found) for name, found in walls.items()}
    for name, found in walls.items():
        speeds = (f"{shop.size / wall / 1e6:,.0f}" for wall in (middle[name], min(found)))
        table.add(name, *speeds, ratio(middle[_DISCARDED] / middle[name]))
    shop.findings.figures["publish/discard"] = middle[_DISCARDED] / middle[_ENFORCED]


def _signed_in(shop: Workshop, url: str, site: str) -> Client:
    client = Client(url)
    client.sign_in(ADMIN, shop.node.password_file.read_text().strip(), site.lower())
    return client


def _publisher(shop: Workshop, client: Client) -> Callable[[], float]:
    """Publishes, and deletes the item again outside the measured time."""

    def publish() -> float:
        wall, item = client.publish(shop.source, f"item {secrets.token_hex(4)}")
        client.call("DELETE", f"/sites/{client.site}/datasources/{item}")
        return wall

    return publish


@contextmanager
def _discarding() -> Iterator[str]:
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.inside.discard"],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        line = process.stdout.readline() if process.stdout else ""
        if not line.startswith("ready: "):
            raise BenchError("the bare application did not start")
        yield line.removeprefix("ready: ").strip()
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(20)
        if process.stdout:
            process.stdout.close()
