"""The bare ASGI application beside which uploads and downloads are measured."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.measure import BenchError
from benchmarks.node import ROOT


@dataclass(frozen=True)
class Bare:
    """It runs.

    Attributes:
        url: Where.
        pid: Its process.
    """

    url: str
    pid: int


@contextmanager
def serving(file: Path) -> Iterator[Bare]:
    """Serve this file, and discard what is posted.

    Raises:
        BenchError: It did not start.
    """
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.inside.bare", str(file)],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        line = process.stdout.readline() if process.stdout else ""
        if not line.startswith("ready: "):
            raise BenchError("the bare application did not start")
        yield Bare(line.removeprefix("ready: ").strip(), process.pid)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(20)
        if process.stdout:
            process.stdout.close()
