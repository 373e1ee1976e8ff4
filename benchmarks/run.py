"""`make bench`: runs the suites, prints tables of ratios and the goals.

It fails if a measurement fails, never over a figure.
"""

import argparse
import shutil
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

from benchmarks import (
    commands,
    doors,
    download,
    files,
    goals,
    growth,
    installation,
    jobs,
    machine,
    pressure,
    reads,
    releases,
    rotate,
    small,
    store,
    upload,
)
from benchmarks.measure import TIME, BenchError
from benchmarks.node import ROOT
from benchmarks.report import Findings
from benchmarks.workshop import Suites, Workshop

SUITES: Suites = {
    "files": files.run,
    "big": files.run_big,
    "inside": files.run_inside,
    "random": reads.run,
    "small": small.run,
    "rotate": rotate.run,
    "upload": upload.run,
    "download": download.run,
    "pressure": pressure.run,
    "commands": commands.run,
    "jobs": jobs.run,
    "growth": growth.run,
    "installation": installation.run,
    "store": store.run,
    "doors": doors.run,
}
_UNITS = {"K": 2**10, "M": 2**20, "G": 2**30}
_FULL_BYTES = 2**30


def main() -> int:
    """Run what the command line asks for; returns the exit code."""
    options = _parser().parse_args()
    folder = Path(tempfile.mkdtemp(prefix="strongroom-bench-", dir=options.folder))
    began, load = time.monotonic(), machine.load()
    size = options.size
    scale = min(1.0, max(0.001, size / _FULL_BYTES))
    shop = Workshop(folder, size, options.rounds, scale, _say)
    try:
        failed = _run(shop, options.suite or list(SUITES))
        about = [
            *machine.describe(folder),
            f"{datetime.now(UTC).date()}, strongroom {metadata.version('strongroom')} at {_revision()}",
            f"one file of {size / 2**20:,.0f} MiB, {options.rounds} rounds, medians",
            f"load {load:.1f} before, {machine.load():.1f} after; {time.monotonic() - began:,.0f} s",
        ]
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    if TIME is None:
        shop.findings.absent["peak memory"] = "the command `time` is not installed"
    if options.keep and shop.findings.figures:
        releases.keep(shop.findings, about, metadata.version("strongroom"))
    _print(shop.findings, about, whole=not options.suite)
    if options.json:
        shop.findings.save(options.json, {"about": about, "failed": failed})
    for name, reason in failed.items():
        _say(f"the suite {name} failed: {reason}")
    return 1 if failed else 0


def _run(shop: Workshop, names: list[str]) -> dict[str, str]:
    """Every suite, although one fails; returns why which failed."""
    failed = {}
    for name in names:
        try:
            SUITES[name](shop)
        except (BenchError, OSError, subprocess.SubprocessError) as error:
            failed[name] = str(error)
    return failed


def _print(findings: Findings, about: list[str], *, whole: bool) -> None:
    print("\n".join(f"- {line}" for line in about), end="\n\n")
    for table in [*findings.tables, goals.judge(findings, whole=whole), releases.table()]:
        print(table.markdown())
    if findings.absent:
        print("### Not measured\n")
        for name, reason in sorted(findings.absent.items()):
            print(f"- {name}: {reason}")


def _revision() -> str:
    """What of the source was measured."""
    return machine.version("git", "-C", str(ROOT), "describe", "--always", "--dirty")


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__, allow_abbrev=False)
    parser.add_argument("--size", type=_bytes, default=_FULL_BYTES, help="of the file; 64M, 1G …")
    parser.add_argument("--rounds", type=int, default=5, help="how often each command runs")
    parser.add_argument(
        "--suite", action="append", choices=list(SUITES), help="only these; may be given again"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything as JSON, too")
    parser.add_argument(
        "--keep",
        action="store_true",
        help="keep the figures as this version's, in benchmarks/figures",
    )
    parser.add_argument("--folder", type=Path, default=None, help="a folder on the disk to measure")
    return parser


def _bytes(text: str) -> int:
    """A size such as 64M."""
    unit = _UNITS.get(text[-1:].upper(), 0)
    digits = text[:-1] if unit else text
    if not digits.isdigit() or int(digits) == 0:
        raise argparse.ArgumentTypeError(f"not a size: {text!r}")
    return int(digits) * (unit or 1)


if __name__ == "__main__":
    sys.exit(main())
