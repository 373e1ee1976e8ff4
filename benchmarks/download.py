"""Downloading an encrypted extract, beside the same bytes sent plain by a bare ASGI application (F14)."""

import secrets
import statistics
from collections.abc import Callable
from dataclasses import dataclass, field

from benchmarks import bare
from benchmarks.http_client import API, Client, Received
from benchmarks.measure import BenchError, prime, process_cpu_s
from benchmarks.report import ratio
from benchmarks.upload import signed_in
from benchmarks.workshop import Workshop

_OURS, _BARE = "an encrypted extract", "a plain file, by a bare ASGI application"
_SITE, _RANGE_BYTES, _RANGE_AT = "BenchDown", 64 * 1024, 500_000_000
_RANGES = 100
Get = Callable[[tuple[int, int] | None], Received]


@dataclass
class _Side:
    """One server, and what was measured of it."""

    get: Get
    pid: int
    walls: list[float] = field(default_factory=list)
    cpus: list[float] = field(default_factory=list)
    firsts: list[float] = field(default_factory=list)

    @property
    def wall_s(self) -> float:
        return statistics.median(self.walls)

    @property
    def first_s(self) -> float:
        return statistics.median(self.firsts)


def run(shop: Workshop) -> None:
    """The whole file and a range of it, from both, in random order."""
    shop.say("download: an extract over HTTP")
    shop.node.run("strongroom", "sites", "create", _SITE)
    shop.node.run("strongroom", "sites", "set-mode", _SITE, "enforced")
    with shop.node.serving() as url, bare.serving(shop.source) as other:
        client = signed_in(shop, url, _SITE)
        _, item = client.publish(shop.source, "downloaded")
        path = f"{API}/sites/{client.site}/datasources/{item}/content"
        plain = Client(other.url)
        sides = {
            _OURS: _Side(lambda span: client.get(path, span), shop.node.pids()[0]),
            _BARE: _Side(lambda span: plain.get("/file", span), other.pid),
        }
        _check(client, path, plain)
        for _ in range(shop.rounds):
            for side in _shuffled(sides):
                prime(shop.source, shop.folder)
                before = process_cpu_s(side.pid)
                side.walls.append(side.get(None).whole_s)
                side.cpus.append(process_cpu_s(side.pid) - before)
        start = min(_RANGE_AT, shop.size // 2)
        for _ in range(shop.count(_RANGES, 5)):
            for side in _shuffled(sides):
                side.firsts.append(side.get((start, start + _RANGE_BYTES)).first_s)
    _tell(shop, sides)


def _shuffled(sides: dict[str, _Side]) -> list[_Side]:
    order = list(sides.values())
    secrets.SystemRandom().shuffle(order)
    return order


def _check(client: Client, path: str, plain: Client) -> None:
    """Both send what was put in; ours has the mark of its format before it."""
    marked = client.get(path, hashed=True).count - plain.get("/file", hashed=True).count
    span = (1000, 200_000)
    one = client.get(path, (span[0] + marked, span[1] + marked), hashed=True)
    if one.digest != plain.get("/file", span, hashed=True).digest:
        raise BenchError("the download is not what was published")


def _tell(shop: Workshop, sides: dict[str, _Side]) -> None:
    table = shop.findings.table(
        "Download over HTTP on loopback",
        *("what", "MB/s", "best", "server's CPU s/GiB", "/ bare", "64 KiB range, first byte"),
    )
    bare_side, ours = sides[_BARE], sides[_OURS]
    for name, side in sides.items():
        cpu = statistics.median(side.cpus) / shop.size * 2**30
        table.add(
            name,
            f"{shop.size / side.wall_s / 1e6:,.0f}",
            f"{shop.size / min(side.walls) / 1e6:,.0f}",
            f"{cpu:.2f}",
            ratio(bare_side.wall_s / side.wall_s),
            f"{side.first_s * 1e3:.1f} ms",
        )
    figures = shop.findings.figures
    figures["download/bare"] = bare_side.wall_s / ours.wall_s
    figures["first byte/bare"] = ours.first_s / bare_side.first_s
    figures["cpu download/bare"] = statistics.median(ours.cpus) / max(
        statistics.median(bare_side.cpus), 0.01
    )
