"""Runs commands and measures them: wall time, CPU seconds, peak memory; interleaved, primed, checked.

Four traps decide whether a figure is true (each is a factor of 2 to 10), and all four are handled here:
1. a ballooned host gives freed memory back slowly: before each run two copies are made and removed;
2. overwriting a file makes the file system flush: every output is removed before its run;
3. deleting many small files slows later creations: folders are fresh, and removed at the very end;
4. a child's peak memory begins at its parent's: a small program stands between (`time`).
"""

import contextlib
import filecmp
import os
import secrets
import shutil
import statistics
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

CHUNK_BYTES = 256 * 1024
TIME = shutil.which("time")
_TICKS = os.sysconf("SC_CLK_TCK")


class BenchError(Exception):
    """A measured command failed, or did not do what it should."""


@dataclass(frozen=True)
class Sample:
    """One run."""

    wall_s: float
    cpu_s: float
    peak_kib: int


@dataclass
class Series:
    """The runs of one item."""

    samples: list[Sample] = field(default_factory=list)

    @property
    def wall_s(self) -> float:
        """Median wall time."""
        return statistics.median(sample.wall_s for sample in self.samples)

    @property
    def best_s(self) -> float:
        """Shortest wall time."""
        return min(sample.wall_s for sample in self.samples)

    @property
    def worst_s(self) -> float:
        """Longest wall time."""
        return max(sample.wall_s for sample in self.samples)

    @property
    def cpu_s(self) -> float:
        """Median CPU seconds, of the process and of all that it waited for."""
        return statistics.median(sample.cpu_s for sample in self.samples)

    @property
    def peak_kib(self) -> int:
        """Highest peak memory; 0 if it could not be measured."""
        return max(sample.peak_kib for sample in self.samples)


@dataclass(frozen=True)
class Item:
    """One command to measure.

    Attributes:
        name: Whose.
        work: What it does: copy, encrypt, decrypt ….
        argv: The command.
        reads: Its input; brought into the page cache before.
        writes: Its output; removed before and after.
        environment: Added to ours.
        equals: The output must be this file's bytes (looked at in the first round).
        daemon: A process whose CPU and memory count too; 0 for none.
    """

    name: str
    work: str
    argv: Sequence[str]
    reads: Path
    writes: Path
    environment: Mapping[str, str] = field(default_factory=dict)
    equals: Path | None = None
    daemon: int = 0


Results = dict[tuple[str, str], Series]
Say = Callable[[str], None]


def run_command(
    argv: Sequence[str], folder: Path, environment: Mapping[str, str] | None = None, daemon: int = 0
) -> Sample:
    """Run one command to its end.

    Raises:
        BenchError: It failed.
    """
    report, errors = folder / "time.txt", folder / "stderr.txt"
    words = [TIME, "-f", "%M", "-o", str(report), *argv] if TIME else list(argv)
    before = process_cpu_s(daemon)
    with errors.open("wb") as sink:
        began = time.perf_counter()
        process = subprocess.Popen(
            words,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=sink,
            env={**os.environ, **(environment or {})},
        )
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.perf_counter() - began
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        told = errors.read_text(errors="replace").strip()[-2000:]
        raise BenchError(f"'{' '.join(argv)}' ended with {process.returncode}: {told}")
    cpu = usage.ru_utime + usage.ru_stime + process_cpu_s(daemon) - before
    peak = int(report.read_text().split()[-1]) if TIME else 0
    return Sample(wall, cpu, max(peak, _daemon_peak(daemon)))


def measure(items: Sequence[Item], rounds: int, folder: Path, say: Say) -> Results:
    """Measure all items once in each round, in random order."""
    results: Results = {(item.name, item.work): Series() for item in items}
    for number in range(rounds):
        order = list(items)
        secrets.SystemRandom().shuffle(order)
        say(f"  round {number + 1} of {rounds}: {len(order)} commands")
        for item in order:
            _remove(item.writes)
            prime(item.reads, folder)
            sample = run_command(item.argv, folder, item.environment, item.daemon)
            if number == 0:
                _check(item)
            _remove(item.writes)
            results[item.name, item.work].samples.append(sample)
    return results


def prime(source: Path, folder: Path) -> None:
    """Have the host give memory back, and the input in the page cache (trap 1)."""
    copies = [folder / "prime-1", folder / "prime-2"]
    for copy in copies:
        subprocess.run(["cp", str(source), str(copy)], check=True)
    for copy in copies:
        copy.unlink()


def random_file(path: Path, size: int) -> Path:
    """A file of random bytes."""
    with path.open("wb") as file:
        for start in range(0, size, CHUNK_BYTES):
            file.write(os.urandom(min(CHUNK_BYTES, size - start)))
    return path


def latencies(
    commands: Mapping[str, Sequence[str]], environment: Mapping[str, str], count: int
) -> dict[str, list[float]]:
    """Seconds of short commands, `count` runs of each, in random order within each round."""
    whole = {**os.environ, **environment}
    walls: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(count):
        order = list(commands)
        secrets.SystemRandom().shuffle(order)
        for name in order:
            began = time.perf_counter()
            done = subprocess.run(
                commands[name],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                env=whole,
                check=False,
            )
            walls[name].append(time.perf_counter() - began)
            if done.returncode != 0:
                told = done.stderr.decode(errors="replace")[-500:]
                raise BenchError(f"'{name}' ended with {done.returncode}: {told}")
    return walls


def _check(item: Item) -> None:
    if not item.writes.exists():
        raise BenchError(f"{item.name}, {item.work}: no output")
    if item.equals is not None and not filecmp.cmp(item.writes, item.equals, shallow=False):
        raise BenchError(f"{item.name}, {item.work}: the output is not what was put in")


def _remove(path: Path) -> None:
    with contextlib.suppress(FileNotFoundError):
        path.unlink()


def process_cpu_s(pid: int) -> float:
    """User and system seconds of a process so far; 0 for no process."""
    if not pid:
        return 0.0
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def _daemon_peak(pid: int) -> int:
    if not pid:
        return 0
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1])
    return 0
