"""How long commands take: what one does all day must not be felt (F13)."""

import shutil
import statistics
import sys
from contextlib import ExitStack

from benchmarks.measure import BenchError, latencies
from benchmarks.node import BIN
from benchmarks.openbao import OpenBao
from benchmarks.report import ratio
from benchmarks.workshop import Workshop

_RUNS = 40
GET, PASS, BAO = "tsm configuration get (a secret)", "python -c pass", "bao kv get"
STATUS = "tsm security kms status"
_KEY = "redis.password"


def run(shop: Workshop) -> None:
    """Our commands beside Python's own start, OpenBao's client and other tools."""
    shop.say("commands: start to end of short commands")
    node = shop.node
    commands = {
        PASS: [sys.executable, "-c", "pass"],
        GET: node.command("tsm", "configuration", "get", "-k", _KEY),
        "tsm configuration get (plain)": node.command(
            "tsm", "configuration", "get", "-k", "gateway.timeout"
        ),
        STATUS: node.command("tsm", "security", "kms", "status"),
        "tsm version": node.command("tsm", "version"),
    }
    environment = dict(node.environment)
    with ExitStack() as stack:
        try:
            bao = stack.enter_context(OpenBao(shop.folder))
            bao.call("POST", "secret/data/bench", {"data": {"password": "x" * 43}})
            commands[BAO] = bao.command("kv", "get", "-mount=secret", "-field=password", "bench")
            environment |= {k: v for k, v in bao.environment.items() if k != "HOME"}
        except BenchError as error:
            shop.findings.absent[BAO] = str(error)
        if (BIN / "tabcmd").exists():
            commands["tabcmd --version"] = [str(BIN / "tabcmd"), "--version"]
        if shutil.which("keytool"):
            commands["keytool -list"] = _keytool(shop)
        walls = latencies(commands, environment, shop.count(_RUNS, 2))
    _tell(shop, walls)


def _keytool(shop: Workshop) -> list[str]:
    """The JDK on our keystore: what a Java-based product does at each such command."""
    import json

    shown = json.loads(shop.node.run("tsm", "security", "keystore", "show", "--json"))
    words = ["-keystore", shown["path"], "-storepass:file", shown["password_file"]]
    return ["keytool", "-list", *words]


def _tell(shop: Workshop, walls: dict[str, list[float]]) -> None:
    table = shop.findings.table("Command latency", "command", "median", "least", "/ python -c pass")
    base = statistics.median(walls[PASS])
    for name, found in sorted(walls.items(), key=lambda pair: statistics.median(pair[1])):
        middle = statistics.median(found)
        least = f"{min(found) * 1e3:.0f} ms"
        table.add(name, f"{middle * 1e3:.0f} ms", least, ratio(middle / base))
    figures = shop.findings.figures
    figures["get/pass"] = statistics.median(walls[GET]) / base
    figures["status/pass"] = statistics.median(walls[STATUS]) / base
    if BAO in walls:
        figures["get/bao"] = statistics.median(walls[GET]) / statistics.median(walls[BAO])
