"""Data keys by the wire of Vault, beside OpenBao's transit with its audit file (F12).

Both are asked by the same client, in turns. Ours syncs each event before its answer; OpenBao's audit writes to a file
and never syncs, and its keys are in memory. So the disk sets a limit to ours that OpenBao does not have, and the same
run measures it: one sync for as many events as there are connections, one behind the other, with no work in between.
"""

import http.client
import json
import os
import secrets
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from benchmarks.measure import BenchError
from benchmarks.node import ROOT
from benchmarks.openbao import OpenBao
from benchmarks.report import ratio
from benchmarks.workshop import Workshop

CONNECTIONS = (8, 64)
_FEW, _MANY = 10, 10_000
_SECONDS, _LEAST_S = 3.0, 0.3
_EVENT_BYTES, _SYNCS = 600, 200
_SETTINGS = "unsafe_allow_api_audit_creation = true\n"


@dataclass(frozen=True)
class _Door:
    """A server to ask, a token, the keys to ask for, and the process whose CPU is counted."""

    port: int
    token: str
    pid: int
    keys: Sequence[str]


@dataclass(frozen=True)
class _Run:
    """Data keys a second, and microseconds of CPU for each: of the server, and of the client that asks."""

    rate: float
    cpu_us: float
    client_us: float


def run(shop: Workshop) -> None:
    """Ours with few and with many keys, and OpenBao's, at 8 and 64 connections."""
    few = [f"bench{number}" for number in range(_FEW)]
    many = [f"many{number}" for number in range(shop.count(_MANY, 100))]
    token = shop.node.run("strongroom", "access", "token", "create", "--policy", "root").split()[-1]
    with shop.node.serving("--vault-port", "0") as url:
        port, pid = urlsplit(url).port or 0, shop.node.pids()[0]
        doors = {"few": _Door(port, token, pid, few), "many": _Door(port, token, pid, many)}
        shop.say(f"doors: {len(many):,} keys")
        for door in doors.values():
            _make_keys(door)
        try:
            with OpenBao(shop.folder, _SETTINGS) as bao:
                bao.call("POST", "sys/mounts/transit", {"type": "transit"})
                audit = {"type": "file", "options": {"file_path": str(shop.folder / "audit.log")}}
                bao.call("PUT", "sys/audit/file", audit)
                doors["openbao"] = _Door(bao.port, bao.token, bao.pid, few)
                _make_keys(doors["openbao"])
                _report(shop, _measured(shop, doors), len(many))
        except BenchError as error:
            doors.pop("openbao", None)
            shop.findings.absent["OpenBao, data keys"] = str(error)
            _report(shop, _measured(shop, doors), len(many))


def _measured(shop: Workshop, doors: Mapping[str, _Door]) -> dict[tuple[str, int], _Run]:
    """Medians of rounds, in each of which all are asked, in random order."""
    runs: dict[tuple[str, int], list[_Run]] = {}
    # a tenth of the whole benchmark still has a steady state; the smallest run only looks whether there are answers
    seconds = min(_SECONDS, max(_LEAST_S, _SECONDS * 10 * shop.scale))
    for _ in range(shop.rounds):
        for connections in CONNECTIONS:
            order = list(doors)
            secrets.SystemRandom().shuffle(order)
            for name in order:
                shop.say(f"doors: {name}, {connections} connections")
                runs.setdefault((name, connections), []).append(
                    _asked(doors[name], connections, seconds)
                )
    return {
        place: _Run(
            statistics.median(one.rate for one in found),
            statistics.median(one.cpu_us for one in found),
            statistics.median(one.client_us for one in found),
        )
        for place, found in runs.items()
    }


def _report(shop: Workshop, found: Mapping[tuple[str, int], _Run], many: int) -> None:
    table = shop.findings.table(
        "Data keys over HTTP, with authentication and audit",
        *("who", "connections", "data keys/s", "CPU µs each", "the client's"),
        *("strongroom is", "of its CPU"),
    )
    names = {
        "few": f"strongroom, {_FEW} keys, synced",
        "many": f"strongroom, {many:,} keys, synced",
        "openbao": "OpenBao, audit not synced",
    }
    for (name, connections), one in sorted(found.items(), key=lambda item: item[0][::-1]):
        ours = found["few", connections]
        table.add(
            names[name],
            str(connections),
            f"{one.rate:,.0f}",
            f"{one.cpu_us:,.0f}",
            f"{one.client_us:,.0f}",
            "–" if name != "openbao" else f"{ratio(ours.rate / one.rate)} x",
            "–" if name != "openbao" else f"{ratio(one.cpu_us / ours.cpu_us)} x",
        )
        figures = shop.findings.figures
        figures[f"data keys {name} {connections}"] = one.rate
        if name == "openbao":
            figures[f"data keys/openbao {connections}"] = ours.rate / one.rate
            figures[f"data keys cpu/openbao {connections}"] = one.cpu_us / ours.cpu_us
        if name == "many":
            figures[f"data keys many/few {connections}"] = one.rate / ours.rate
    for connections in CONNECTIONS:
        limit = _synced(shop.folder, connections)
        words = f"the disk: {connections} events, one sync, and again"
        table.add(words, str(connections), f"{limit:,.0f}", *["–"] * 4)
        shop.findings.figures[f"data keys, the disk's limit {connections}"] = limit


def _synced(folder: Path, connections: int) -> float:
    """Events a second that are appended to a file and synced, as many at once as there are connections."""
    path, data = folder / "synced", bytes(_EVENT_BYTES * connections)
    with path.open("wb", buffering=0) as file:
        began = time.monotonic()
        for _ in range(_SYNCS):
            file.write(data)
            os.fdatasync(file.fileno())
        seconds = time.monotonic() - began
    path.unlink()
    return connections * _SYNCS / seconds


def _asked(door: _Door, connections: int, seconds: float) -> _Run:
    options = {
        "port": door.port,
        "token": door.token,
        "pid": door.pid,
        "keys": door.keys,
        "connections": connections,
        "seconds": seconds,
    }
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.inside.data_keys"],
        input=json.dumps(options),
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise BenchError(f"data keys: {done.stderr.strip()[-1000:]}")
    found = json.loads(done.stdout)
    answers = max(1, found["answers"])
    each = 1e6 / answers
    return _Run(answers / found["seconds"], found["cpu_s"] * each, found["own_s"] * each)


def _make_keys(door: _Door) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", door.port, timeout=60)
    for name in door.keys:
        headers = {"X-Vault-Token": door.token}
        connection.request("POST", f"/v1/transit/keys/{name}", None, headers)
        answer = connection.getresponse()
        told = answer.read()
        if answer.status >= 300:
            raise BenchError(f"a key was not made: {answer.status} {told[:300]!r}")
    connection.close()
