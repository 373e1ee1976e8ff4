"""64 sign-ins with wrong passwords at a time, and what a probe and a download feel of them (F16)."""

import http.client
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

from benchmarks.http_client import API
from benchmarks.inside.guess import ATTACKERS
from benchmarks.node import ADMIN, ROOT
from benchmarks.report import ratio
from benchmarks.upload import signed_in
from benchmarks.workshop import Workshop

_SITE, _SAMPLES, _RANGE_BYTES, _PAUSE_S = "BenchPressed", 200, 64 * 1024, 0.05


def run(shop: Workshop) -> None:
    """First in quiet, then beside the attackers."""
    samples = shop.count(_SAMPLES, 4)
    shop.say(
        f"pressure: {samples} probes and first bytes, in quiet and beside {ATTACKERS} sign-ins"
    )
    shop.node.run("strongroom", "sites", "create", _SITE)
    shop.node.run("strongroom", "sites", "set-mode", _SITE, "enforced")
    with shop.node.serving() as url:
        client = signed_in(shop, url, _SITE)
        _, item = client.publish(shop.source, "downloaded")
        path = f"{API}/sites/{client.site}/datasources/{item}/content"
        works: dict[str, Callable[[], float]] = {
            "probe": lambda: _seconds(lambda: _probe(url)),
            "first byte": lambda: client.get(path, (0, _RANGE_BYTES)).first_s,
        }
        quiet = {name: _sampled(work, samples) for name, work in works.items()}
        with _attack(url) as answered:
            pressed = {name: _sampled(work, samples) for name, work in works.items()}
    table = shop.findings.table(
        f"Beside {ATTACKERS} sign-ins with wrong passwords at a time",
        *("what", "median in quiet", "p99 in quiet", "median", "p99", "p99 / in quiet"),
    )
    for name in works:
        shown = [
            f"{value * 1e3:.1f} ms"
            for found in (quiet[name], pressed[name])
            for value in (statistics.median(found), _p99(found))
        ]
        table.add(name, *shown, ratio(_p99(pressed[name]) / _p99(quiet[name])))
        shop.findings.figures[f"pressed {name}"] = _p99(pressed[name])
    table.notes.append(f"Sign-ins that were answered meanwhile: {sum(answered):,}.")
    shop.findings.figures["pressed sign-ins"] = sum(answered)


@contextmanager
def _attack(url: str) -> Iterator[list[int]]:
    """Sign-ins from a process of its own, which takes nothing of ours; gives how many were answered, at the end."""
    answered: list[int] = []
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.inside.guess", url, ADMIN],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None  # noqa: S101 for the type checker
    process.stdout.readline()  # the first guess was answered
    try:
        yield answered
    finally:
        told, _ = process.communicate()
        answered.append(int(told or 0))


def _probe(url: str) -> None:
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=60)
    connection.request("GET", "/readyz")
    connection.getresponse().read()
    connection.close()


def _seconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def _sampled(work: Callable[[], float], count: int) -> list[float]:
    """One after the other, over some seconds: what the attackers do comes in waves."""
    found = []
    work()
    for _ in range(count):
        found.append(work())
        time.sleep(_PAUSE_S)
    return found


def _p99(found: list[float]) -> float:
    return sorted(found)[max(0, -(-len(found) * 99 // 100) - 1)]
