"""Random reads of 64 KiB from a big encrypted file."""

import subprocess

from benchmarks.measure import BenchError
from benchmarks.peers import Gocryptfs
from benchmarks.report import ratio
from benchmarks.workshop import Workshop

GOCRYPTFS = "gocryptfs"
_READS = 2000


def run(shop: Workshop) -> None:
    """Ours beside a plain file, and beside gocryptfs where it mounts."""
    shop.say("random: reads of 64 KiB")
    mount, others = Gocryptfs(shop.folder), {}
    try:
        try:
            mount.start()
            stored = mount.mount / "stored"
            subprocess.run(["cp", str(shop.source), str(stored)], check=True)
            others[GOCRYPTFS] = str(stored)
        except BenchError as error:
            shop.findings.absent[GOCRYPTFS] = str(error)
        count = shop.count(_READS, 200)
        found = shop.inside("random_reads", source=str(shop.source), reads=count, others=others)
    finally:
        mount.stop()
    table = shop.findings.table(
        "Random reads of 64 KiB, page cache", "who", "p50", "p99", "p50 / plain file"
    )
    plain = found["plain file"]["p50"]
    for name, times in found.items():
        shown = (f"{times[key] * 1e6:.0f} µs" for key in ("p50", "p99"))
        table.add(name, *shown, ratio(times["p50"] / plain))
    figures = shop.findings.figures
    figures["random p50/plain"] = found["strongroom"]["p50"] / plain
    if GOCRYPTFS in found:
        theirs = found[GOCRYPTFS]["p50"]
        figures["random p50/gocryptfs"] = found["strongroom"]["p50"] / theirs
