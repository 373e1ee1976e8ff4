"""Lists, look-ups, status, start and a backup's rows with up to 100,000 extracts, 2,000 sites and 5,000 users (F15).

The installation is made by rows, without files. A node on SQLite is asked by HTTP and by commands, and its CPU is read
from the kernel. The same questions to the repository are timed over SQLite and, where the environment variable
`STRONGROOM_BENCH_POSTGRES` names an empty database, over PostgreSQL.
"""

import os
from collections.abc import Callable, Mapping

from benchmarks.growth import command_cpu_s, growth_of, total_of
from benchmarks.http_client import Client
from benchmarks.measure import process_cpu_s
from benchmarks.node import ADMIN
from benchmarks.report import ratio
from benchmarks.workshop import Workshop

_SIZES = (1_000, 10_000, 100_000)
_LEAST = 100
_PAGES = 20
_POSTGRES = "STRONGROOM_BENCH_POSTGRES"
Costs = dict[str, float]
_LISTS = ("datasources", "workbooks", "users", "groups", "projects", "jobs")
_COMMANDS: Mapping[str, tuple[str, ...]] = {
    "status": ("strongroom", "status"),
    "kms status": ("tsm", "security", "kms", "status"),
    "list-nodes": ("tsm", "topology", "list-nodes"),
    "find a job by its digits": ("strongroom", "jobs", "show", "00000000-000b"),
    "all: sites list": ("strongroom", "sites", "list", "--json"),
    "all: users list": ("strongroom", "users", "list", "--json"),
    "all: jobs list": ("strongroom", "jobs", "list", "--json"),
    "all: extracts list": ("strongroom", "extracts", "list", "--site", "default", "--json"),
}


def run(shop: Workshop) -> None:
    """Fill, measure, and fill further."""
    sizes = sorted({shop.count(size, max(_LEAST, size // 100)) for size in _SIZES})
    found: dict[int, Costs] = {}
    present = 0
    for size in sizes:
        shop.say(f"installation: {size} extracts")
        shop.inside("rows", present=present, count=size)
        present = size
        found[size] = _measured(shop)
    _tell(shop, "An installation by size: CPU in ms, of the server or the whole command", found)
    databases = {"SQLite": ""}
    if url := os.environ.get(_POSTGRES):
        databases["PostgreSQL"] = url
    else:
        shop.findings.absent["PostgreSQL"] = f"{_POSTGRES} names no empty database"
    for name, url in databases.items():
        shop.say(f"installation: the repository over {name}")
        timed = shop.inside("gateways", url=url, sizes=sizes)
        by_size = {
            int(size): {k: ms / 1000 for k, ms in one.items()} for size, one in timed.items()
        }
        _tell(shop, f"What is asked of {name}, by size: ms, the least of 7", by_size)


def _tell(shop: Workshop, title: str, found: Mapping[int, Costs]) -> None:
    sizes = list(found)
    table = shop.findings.table(
        title, "what", *(f"{size:,} extracts" for size in sizes), "last / first"
    )
    for thing in found[sizes[0]]:
        costs = [found[size][thing] for size in sizes]
        table.add(thing, *(f"{cost * 1000:.2f}" for cost in costs), ratio(growth_of(costs)))


def _measured(shop: Workshop) -> Costs:
    costs: Costs = {}
    with shop.node.serving() as url:
        server, _ = shop.node.pids()
        costs["start of the server"] = process_cpu_s(server)
        client = Client(url)
        password = shop.node.password_file.read_text().strip()
        client.sign_in(ADMIN, password, "")

        def each(work: Callable[[], object], most: int = _PAGES) -> float:
            times = shop.count(most, 2)
            work()
            before = process_cpu_s(server)
            for _ in range(times):
                work()
            return (process_cpu_s(server) - before) / times

        def page(path: str, number: int) -> float:
            target = f"{path}?pageSize=80&pageNumber={number}"
            return each(lambda: client.call("GET", target))

        for name in ("sites", *_LISTS):
            path = "/sites" if name == "sites" else f"/sites/{client.site}/{name}"
            costs[f"first page of {name}"] = page(path, 1)
            last = -(-total_of(client, path) // 80)
            costs[f"last page of {name}"] = page(path, max(1, last))
        costs["sign-in"] = each(lambda: Client(url).sign_in(ADMIN, password, ""), 5)
    for name, words in _COMMANDS.items():
        costs[name] = command_cpu_s(shop, *words, may_fail=name.startswith("find"))
    return costs
