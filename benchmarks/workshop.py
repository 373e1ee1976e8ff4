"""What every suite has: a folder on the disk that is measured, a node in it, options, and where findings go."""

import json
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from benchmarks import node as nodes
from benchmarks.measure import BenchError, random_file
from benchmarks.node import ROOT, Node
from benchmarks.report import Findings


@dataclass
class Workshop:
    """One run of the benchmark.

    Attributes:
        folder: Temporary, on the disk to measure.
        size: Bytes of the big file.
        rounds: How often each command runs.
        scale: How many small files and rows, relative to the full benchmark.
        findings: What was found.
        say: Tells whoever waits.
    """

    folder: Path
    size: int
    rounds: int
    scale: float
    say: Callable[[str], None]
    findings: Findings = field(default_factory=Findings)

    @cached_property
    def node(self) -> Node:
        """The node that is measured; its logins and its keys are its own."""
        self.say("creating a node")
        return nodes.create(self.folder)

    @cached_property
    def source(self) -> Path:
        """The big file: random bytes."""
        self.say(f"writing {self.size >> 20} MiB of random bytes")
        return random_file(self.folder / "source", self.size)

    def count(self, full: int, least: int) -> int:
        """A count for this run's scale."""
        return max(least, round(full * self.scale))

    def one_pass_seconds(self) -> float:
        """How long one process re-encrypts the big file in one pass; measured once in a run."""
        figures = self.findings.figures
        if "inside re-encrypt seconds" not in figures:
            self.say("re-encryption within one process")
            found = self.inside("data_path", source=str(self.source), rounds=self.rounds)
            figures["inside re-encrypt seconds"] = found["re-encrypt"]["wall"]
        return figures["inside re-encrypt seconds"]

    def inside(self, module: str, **options: Any) -> Any:
        """Run a measurement in a process of its own; its JSON."""
        words = {"home": str(self.node.home), "folder": str(self.folder), **options}
        done = subprocess.run(
            [sys.executable, "-m", f"benchmarks.inside.{module}", json.dumps(words)],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            raise BenchError(f"{module}: {done.stderr.strip()[-2000:]}")
        return json.loads(done.stdout)


Suite = Callable[[Workshop], None]
Suites = Mapping[str, Suite]
