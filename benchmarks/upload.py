"""Publishing over HTTP into a site that encrypts, beside the same request discarded by a bare ASGI application (F11).

In one request, and in parts of 64 MB, as TSC sends what is large.
"""

import secrets
import statistics
from collections.abc import Callable
from functools import partial

from benchmarks import bare
from benchmarks.http_client import Client
from benchmarks.measure import prime
from benchmarks.node import ADMIN
from benchmarks.report import ratio
from benchmarks.workshop import Workshop

_SITE = "Bench"
_ENFORCED, _PLAIN = "published, encrypted and synced", "published, not encrypted, synced"
_PARTS = "published in parts of 64 MB, encrypted and synced"
_DISCARDED = "discarded by a bare ASGI application"
_PART_BYTES, _LEAST_PARTS = 64_000_000, 4


def run(shop: Workshop) -> None:
    """One request for the whole file, each time a new item."""
    shop.say("upload: publishing over HTTP")
    for name, mode in ((_SITE, "enforced"), (f"{_SITE}Plain", "disabled")):
        shop.node.run("strongroom", "sites", "create", name)
        shop.node.run("strongroom", "sites", "set-mode", name, mode)
    with shop.node.serving() as url, bare.serving(shop.source) as other:
        client = signed_in(shop, url, _SITE)
        plain = signed_in(shop, url, f"{_SITE}Plain")
        part_bytes = min(_PART_BYTES, shop.size // _LEAST_PARTS)
        works: dict[str, Callable[[], float]] = {
            _ENFORCED: _publisher(client, partial(client.publish, shop.source)),
            _PARTS: _publisher(
                client, lambda name: client.publish_in_parts(shop.source, name, part_bytes)
            ),
            _PLAIN: _publisher(plain, partial(plain.publish, shop.source)),
            _DISCARDED: lambda: Client(other.url, "token").post("/", b"", shop.source)[0],
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
    shop.findings.figures["publish in parts/one part"] = middle[_ENFORCED] / middle[_PARTS]


def signed_in(shop: Workshop, url: str, site: str) -> Client:
    """A session of the administrator on a site."""
    client = Client(url)
    client.sign_in(ADMIN, shop.node.password_file.read_text().strip(), site.lower())
    return client


def _publisher(client: Client, publish: Callable[[str], tuple[float, str]]) -> Callable[[], float]:
    """Publishes under a new name, and deletes the item again outside the measured time."""

    def work() -> float:
        wall, item = publish(f"item {secrets.token_hex(4)}")
        client.call("DELETE", f"/sites/{client.site}/datasources/{item}")
        return wall

    return work
