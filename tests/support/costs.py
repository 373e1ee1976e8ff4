"""Seconds of each test, by the clock and of a processor, so that a slow run says whether it computes or waits: `--costs`.

A test's processor time is that of its process and of all that it started, whether these have ended or go on: commands,
forks, servers. A run of three workers on two cores lasts at least half of all processor time; where a test takes much
longer by the clock than by the processor, it waits.

Each process that runs tests measures, and tells by the reports of its tests; the process that collects these writes
a line for every test, and closes the run with the dearest folders and tests.
"""

import os
import resource
import time
from collections import defaultdict
from collections.abc import Generator, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Self

import pytest

_FOLDERS: Final = 12
_TESTS: Final = 12
_WRITTEN_DOWN: Final = ("setup", "call", "teardown")
#: After a shorter phase nobody looks at the processes that go on: what they took counts with the next one.
_SHORT_S: Final = 0.05
#: After a longer phase all threads of all processes are asked for new ones: a worker has hundreds of threads.
_LONG_S: Final = 1.0
_TICKS: Final = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Seconds:
    """Time of a phase of a test, or of several.

    Attributes:
        wall: By the clock.
        cpu: Of a processor, all processes together.
    """

    wall: float = 0.0
    cpu: float = 0.0

    def __add__(self, other: "Seconds") -> "Seconds":
        return Seconds(self.wall + other.wall, self.cpu + other.cpu)


class Meter:
    """What this process, and all below it, has taken since the last look."""

    def __init__(self) -> None:
        self._last = _own()
        self._living = _descendants(os.getpid())
        self._below = sum(self._living.values())

    def since(self, wall: float) -> float:
        """Seconds of a processor since the last look; what has only just been started may count with a later one.

        Args:
            wall: How long the phase took that is looked at.
        """
        own, before = _own(), self._last + self._below
        if wall >= _LONG_S:
            self._living = _descendants(os.getpid())
        elif wall >= _SHORT_S:
            self._living = {pid: _of(pid) for pid in self._living}
        self._below, self._last = sum(self._living.values()), own
        return max(0.0, own + self._below - before)


def _own() -> float:
    """Seconds of a processor of this process and of its children that it has waited for."""
    return sum(
        used.ru_utime + used.ru_stime
        for used in map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    )


def _descendants(pid: int) -> dict[int, float]:
    """All living processes below one, with the seconds of each and of those that it has waited for."""
    found: dict[int, float] = {}
    for child in _children(pid):
        found |= {child: _of(child)} | _descendants(child)
    return found


def _children(pid: int) -> list[int]:
    """The living children of each thread of a process."""
    found: list[str] = []
    with suppress(FileNotFoundError):  # it has just ended
        for thread in Path(f"/proc/{pid}/task").iterdir():
            # one thread that has just ended takes no other's children with it
            with suppress(FileNotFoundError, ProcessLookupError):
                found += (thread / "children").read_text("ascii").split()
    return [int(one) for one in found]


def _of(pid: int) -> float:
    try:
        said = Path(f"/proc/{pid}/stat").read_text("utf-8", errors="replace")
    except (FileNotFoundError, ProcessLookupError):  # it has just ended
        return 0.0
    # behind the name, which may hold spaces: proc_pid_stat(5), utime to cstime are fields 14 to 17
    return sum(map(int, said.rpartition(")")[2].split()[11:15])) / _TICKS


@dataclass
class Costs:
    """What a run's reports have told."""

    of_tests: dict[str, dict[str, Seconds]] = field(default_factory=lambda: defaultdict(dict))
    ends: dict[str, float] = field(default_factory=dict)
    _begun: float = field(default_factory=time.time)

    def take(self, report: pytest.TestReport) -> None:
        """Note what a phase of a test has taken, and which worker ran it."""
        cpu: float = getattr(report, "cpu_s", 0.0)
        self.of_tests[report.nodeid][report.when] = Seconds(report.duration, cpu)
        self.ends[getattr(report, "worker_id", "one process")] = report.stop - self._begun

    def write(self, path: Path) -> None:
        """Write a line for each test, the dearest by the clock first: its seconds, of its phases, and its id."""
        path.parent.mkdir(parents=True, exist_ok=True)
        head = ["wall", "cpu", *(f"{one} {s}" for one in _WRITTEN_DOWN for s in ("wall", "cpu"))]
        lines = ["\t".join([*head, "test"])]
        for name, whole in _dearest({one: self._whole(one) for one in self.of_tests}):
            phases = [self.of_tests[name].get(one, Seconds()) for one in _WRITTEN_DOWN]
            figures = [figure for one in (whole, *phases) for figure in (one.wall, one.cpu)]
            lines.append("\t".join([*(f"{one:.3f}" for one in figures), name]))
        path.write_text("\n".join(lines) + "\n", "utf-8")

    def told(self) -> list[str]:
        """The lines that close a run."""
        wholes = {name: self._whole(name) for name in self.of_tests}
        folders: dict[str, Seconds] = defaultdict(Seconds)
        for name, one in wholes.items():
            folders[_folder(name)] += one
        both = sum(wholes.values(), Seconds())
        ends = ", ".join(f"{end:,.0f}" for end in sorted(self.ends.values()))
        first = (
            f"{len(wholes):,} tests took {both.wall:,.0f} s by the clock, {both.cpu:,.0f} s of a processor;"
            f" the workers ended after {ends} s"
        )
        return [
            first,
            *_table("folder", _dearest(folders)[:_FOLDERS]),
            *_table("test", _dearest(wholes)[:_TESTS]),
        ]

    def _whole(self, name: str) -> Seconds:
        return sum(self.of_tests[name].values(), Seconds())


def _dearest(costs: Mapping[str, Seconds]) -> list[tuple[str, Seconds]]:
    return sorted(costs.items(), key=lambda one: (-one[1].wall, one[0]))


def _folder(name: str) -> str:
    """Two levels below the tests: `tests/contract/cluster`, `tests/interop`."""
    return "/".join(Path(name.partition("::")[0]).parent.parts[:3])


def _table(head: str, rows: Iterable[tuple[str, Seconds]]) -> list[str]:
    return [
        f"{'wall':>8} {'cpu':>8}  {head}",
        *(f"{one.wall:8,.1f} {one.cpu:8,.1f}  {name}" for name, one in rows),
    ]


class Plugin:
    """Measures, if this process runs tests; collects, if it is the one that other people see.

    Args:
        file: Where the figures of all tests go.
        collects: Whether this process is no worker of xdist.
    """

    def __init__(self, file: Path, *, collects: bool) -> None:
        self._file = file
        self._costs = Costs() if collects else None
        self._meter = Meter()

    @classmethod
    def for_run(cls, config: pytest.Config) -> Self:
        """The plugin of this process."""
        return cls(Path(config.option.costs), collects=not hasattr(config, "workerinput"))

    @pytest.hookimpl(optionalhook=True)
    def pytest_worker_begins(self) -> None:
        """In a fork of the process that collects: measure what the fork takes, and leave the collecting to the other."""
        self._costs, self._meter = None, Meter()

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Have the report of a phase tell its processor time."""
        report = yield
        vars(report)["cpu_s"] = self._meter.since(report.duration)
        return report

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Collect."""
        if self._costs is not None:
            self._costs.take(report)

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Write all figures, and close the run with the dearest."""
        if self._costs is None or not self._costs.of_tests:
            return
        self._costs.write(self._file)
        terminalreporter.section(f"what the tests took (each: {self._file})")
        terminalreporter.write("".join(f"{line}\n" for line in self._costs.told()))


def add_option(group: "pytest.OptionGroup") -> None:
    """Take the file's name; without one nothing is measured."""
    group.addoption("--costs", metavar="FILE", default=None, help="seconds of each test, and CPU")
