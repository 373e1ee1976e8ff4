"""Jobs of a whole site: many small extracts re-encrypted, and a few big ones (F17)."""

import os
import subprocess
import time

from benchmarks.measure import BenchError
from benchmarks.workshop import Workshop

_SMALL, _SMALL_BYTES, _BIG = 2000, 16_000, 8
_FREE_FACTOR = 4  # a job writes new files before the old ones go


def run(shop: Workshop) -> None:
    """Fill a site, and give each extract a new data key."""
    table = shop.findings.table(
        "Re-encrypt a site by a job", "extracts", "CPU ms an extract", "MB/s", "/ in one pass"
    )
    small = shop.count(_SMALL, 20)
    shop.say(f"jobs: {small} extracts of 16 kB, re-encrypted")
    for site in ("BenchSmall", "BenchBig"):
        shop.node.run("strongroom", "sites", "create", site)
    shop.inside("fill", site="BenchSmall", count=small, bytes=_SMALL_BYTES)
    wall, cpu = _reencrypted(shop, "BenchSmall")
    table.add(
        f"{small:,} of {_SMALL_BYTES // 1000} kB",
        f"{cpu / small * 1e3:.1f}",
        f"{small * _SMALL_BYTES / wall / 1e6:,.0f}",
        "–",
    )
    shop.findings.figures["job cpu ms"] = cpu / small * 1e3
    room = os.statvfs(shop.folder)
    if room.f_bavail * room.f_frsize < _FREE_FACTOR * _BIG * shop.size:
        shop.findings.absent["re-encrypt of big extracts"] = "the disk has too little room"
        return
    shop.say(f"jobs: {_BIG} extracts of {shop.size >> 20} MiB, re-encrypted")
    shop.inside("fill", site="BenchBig", count=_BIG, bytes=shop.size)
    wall, cpu = _reencrypted(shop, "BenchBig")
    one_pass = shop.one_pass_seconds()
    table.add(
        f"{_BIG} of {shop.size / 2**20:,.0f} MiB",
        f"{cpu / _BIG * 1e3:,.0f}",
        f"{_BIG * shop.size / wall / 1e6:,.0f}",
        f"{_BIG * one_pass / wall:.2f}",
    )
    table.notes.append(
        "The job syncs each new file, reads it back, and compares it with the old one; one pass does neither."
    )
    shop.findings.figures["job/one pass"] = _BIG * one_pass / wall


def _reencrypted(shop: Workshop, site: str) -> tuple[float, float]:
    """Wall and CPU seconds of the command that waits for its job, the work within it."""
    before, began = os.times(), time.perf_counter()
    words = ("extracts", "reencrypt", "--site", site, "--wait")
    done = subprocess.run(
        shop.node.command("strongroom", *words),
        env={**os.environ, **shop.node.environment},
        capture_output=True,
        text=True,
        check=False,
    )
    wall, after = time.perf_counter() - began, os.times()
    if done.returncode != 0:
        raise BenchError(f"re-encrypt: {done.stderr[-2000:]}")
    spent = after.children_user + after.children_system
    return wall, spent - before.children_user - before.children_system
