"""What grows with the number of extracts, and what must not (F15): CPU of the processes that serve.

The same node is filled further and further; at each size the same few things are done. CPU seconds are read from the
kernel, so that a busy machine disturbs little; its ticks are 10 ms, therefore each thing is done many times.
"""

import contextlib
import os
import subprocess
import time
from collections.abc import Callable

from benchmarks.http_client import Client
from benchmarks.measure import BenchError, process_cpu_s
from benchmarks.node import ADMIN
from benchmarks.report import Table, ratio
from benchmarks.workshop import Workshop

_SIZES = (80, 800, 8_000, 80_000)
_LEAST = 4
_TICK_S = 1 / os.sysconf("SC_CLK_TCK")
_TIMES = {"page": 60, "item": 200, "probe": 200, "sign-in": 10, "job": 10}
_JOB_LIMIT_S = 120
_WORKERS_TRIED = 3
_LEAST_S = _TICK_S / max(_TIMES.values())
Costs = dict[str, float]


def run(shop: Workshop) -> None:
    """Fill, measure, and fill further."""
    sizes = [shop.count(size, _LEAST << number) for number, size in enumerate(_SIZES)]
    found: dict[int, Costs] = {}
    for size in sizes:
        shop.say(f"growth: {size} extracts")
        shop.inside("fill", count=size)
        found[size] = _measured(shop)
    things = list(found[sizes[0]])
    table = shop.findings.table(
        "Growth: CPU in ms, of the server or the whole command",
        *("what", *(f"{size:,} extracts" for size in sizes), "last / first"),
    )
    for thing in things:
        _add(table, thing, [found[size][thing] for size in sizes])
    # two ends of a whole walk: what reads all of them may grow with them
    flat = [thing for thing in things if not thing.startswith("all:")]
    worst = max(growth_of([found[size][thing] for size in sizes]) for thing in flat)
    shop.findings.figures["growth"] = worst


def _add(table: Table, thing: str, costs: list[float]) -> None:
    table.add(thing, *(f"{cost * 1000:.1f}" for cost in costs), ratio(growth_of(costs)))


def growth_of(costs: list[float]) -> float:
    """The last by the first, which may be less than the kernel counts."""
    return costs[-1] / max(costs[0], _LEAST_S)


def _measured(shop: Workshop) -> Costs:
    costs: Costs = {}
    with shop.node.serving() as url:
        server, _ = shop.node.pids()
        costs["start of the server"] = process_cpu_s(server)
        client = Client(url)
        password = shop.node.password_file.read_text().strip()
        client.sign_in(ADMIN, password, "")
        base = f"/sites/{client.site}/datasources"
        last = -(-total_of(client, base) // 80)
        item = client.call("GET", f"{base}?pageSize=1").split('<datasource id="')[1].split('"')[0]

        def each(pid: int, name: str, work: Callable[[], object]) -> float:
            times = shop.count(_TIMES[name], 2)
            work()
            before = process_cpu_s(pid)
            for _ in range(times):
                work()
            return (process_cpu_s(pid) - before) / times

        costs["first page of 80"] = each(
            server, "page", lambda: client.call("GET", f"{base}?pageSize=80")
        )
        costs["last page of 80"] = each(
            server, "page", lambda: client.call("GET", f"{base}?pageSize=80&pageNumber={last}")
        )
        costs["one item"] = each(server, "item", lambda: client.call("GET", f"{base}/{item}"))
        costs["probe"] = each(server, "probe", lambda: _probe(url))
        costs["sign-in"] = each(server, "sign-in", lambda: Client(url).sign_in(ADMIN, password, ""))
        costs["job for one extract"] = _of_the_worker(
            shop, lambda pid: each(pid, "job", lambda: _job(client, base, item))
        )
    costs["all: rewrap with nothing to do"] = command_cpu_s(
        shop, "strongroom", "extracts", "rewrap", "--site", "Default", "--wait"
    )
    return costs


def _of_the_worker(shop: Workshop, measured: Callable[[int], float]) -> float:
    """CPU of the backgrounder, measured anew with the next one where one was replaced meanwhile."""
    for _ in range(_WORKERS_TRIED):
        _, worker = shop.node.pids()
        with contextlib.suppress(FileNotFoundError):
            return measured(worker)
        shop.say(f"growth: the backgrounder {worker} ended while it was measured")
    raise BenchError("the backgrounder ends again and again")


def total_of(client: Client, path: str) -> int:
    """How many there are of what a list shows."""
    shown = client.call("GET", f"{path}?pageSize=1")
    return int(shown.split('totalAvailable="')[1].split('"')[0])


def _probe(url: str) -> None:
    import urllib.request

    with urllib.request.urlopen(f"{url}/readyz", timeout=60) as answer:  # noqa: S310 our own server
        answer.read()


def _job(client: Client, base: str, item: str) -> None:
    asked = client.call("POST", f"{base}/{item}/refresh", "<tsRequest/>")
    job = asked.split('<job id="')[1].split('"')[0]
    end = time.monotonic() + _JOB_LIMIT_S
    while "completedAt" not in client.call("GET", f"/sites/{client.site}/jobs/{job}"):
        if time.monotonic() > end:
            raise BenchError(f"job {job} does not end")
        time.sleep(0.02)


def command_cpu_s(shop: Workshop, *words: str, may_fail: bool = False) -> float:
    """CPU seconds of a whole command.

    Raises:
        BenchError: It failed.
    """
    before = os.times()
    done = subprocess.run(
        shop.node.command(*words),
        env={**os.environ, **shop.node.environment},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0 and not may_fail:
        raise BenchError(done.stderr[-2000:])
    after = os.times()
    spent = after.children_user + after.children_system
    return spent - before.children_user - before.children_system
