"""Enumerates a command's mutating system calls, and runs it again with a kill or a fault at one of them.

Needs strace. A point is "the n-th openat of a thread": strace counts each call's name in each thread
by itself, so this does too. The process dies on entering the call; what the call would have done
has not happened, what all earlier ones did has.
"""

import os
import re
import shutil
import signal
import subprocess
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.servers import BIN

KILL = "signal=SIGKILL"
FULL = "error=ENOSPC"
BROKEN = "error=EIO"
_LIMIT_S = 120

_GROWING = ("openat", "write", "pwrite64", "pwritev", "ftruncate", "fallocate", "mkdir", "mkdirat")
_SYNCING = ("fsync", "fdatasync", "sync_file_range", "syncfs")
_NAMING = ("rename", "renameat", "renameat2", "link", "linkat", "unlink", "unlinkat", "rmdir")
_OTHER = ("chmod", "fchmod", "fchmodat", "symlink", "symlinkat", "copy_file_range", "pwritev2")
_CREATING = ("O_CREAT", "O_TRUNC", "O_TMPFILE")
MUTATING = (*_GROWING, *_SYNCING, *_NAMING, *_OTHER)
_LINE = re.compile(r"^(\d+)\s+(\w+)\((.*)$")


@dataclass(frozen=True)
class Point:
    """One place to fail: the `number`-th call of this name in a thread."""

    call: str
    number: int
    fault: str

    @property
    def title(self) -> str:
        return f"{self.call}#{self.number} {self.fault}"


@dataclass(frozen=True)
class Outcome:
    """How a tortured run ended."""

    point: Point
    code: int
    out: str
    err: str

    @property
    def killed(self) -> bool:
        return self.code in {-signal.SIGKILL, 128 + signal.SIGKILL}

    @property
    def succeeded(self) -> bool:
        return self.code == 0


@dataclass
class Lab:
    """A folder to start from, copied anew for every run, and the command that runs in it.

    Attributes:
        start: The folder as it is before the command.
        place: Where the copies go; always the same path.
        words: The command; the first word is a script of this environment, or a path.
        variables: More of its environment; `{place}` in words and variables is filled in.
    """

    start: Path
    place: Path
    words: Sequence[str]
    variables: dict[str, str]

    def points(self, *faults: str) -> list[Point]:
        """Every point of this command, in the order in which they come, once for each fault that fits."""
        trace = self.place.with_name("trace")
        self._renew()
        done = self._strace(["-o", str(trace), "-e", f"trace={','.join(MUTATING)}"])
        if done.returncode != 0:
            raise AssertionError(f"the command fails by itself: {done.stderr}")
        calls = _calls(trace.read_text(errors="replace"))
        return [
            Point(call, number, fault)
            for fault in faults
            for call, number in calls
            if _fits(call, fault)
        ]

    def run(self, point: Point) -> Outcome:
        """Run the command on a fresh copy, failing at one point."""
        self._renew()
        inject = f"inject={point.call}:{point.fault}:when={point.number}"
        done = self._strace(["-o", os.devnull, "-e", f"trace={point.call}", "-e", inject])
        return Outcome(point, done.returncode, done.stdout, done.stderr)

    def _renew(self) -> None:
        shutil.rmtree(self.place, ignore_errors=True)
        shutil.copytree(self.start, self.place, symlinks=True)

    def _strace(self, options: list[str]) -> "subprocess.CompletedProcess[str]":
        words = [word.replace("{place}", str(self.place)) for word in self.words]
        program = BIN / words[0] if "/" not in words[0] else Path(words[0])
        return subprocess.run(
            # not --seccomp-bpf: strace 6.1 then injects no signals
            ["strace", "-f", "-qq", *options, str(program), *words[1:]],
            cwd=self.place,
            env=self._environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_LIMIT_S,
            check=False,
        )

    def _environment(self) -> dict[str, str]:
        # no bytecode is written and nothing is measured: both would move the points from run to run
        fixed = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.place),
            "LC_ALL": "C.UTF-8",
            "PYTHONDONTWRITEBYTECODE": "1",
            "PYTHONHASHSEED": "0",
        }
        if "PYTHONPATH" in os.environ:
            fixed["PYTHONPATH"] = os.environ["PYTHONPATH"]
        own = {
            name: value.replace("{place}", str(self.place))
            for name, value in self.variables.items()
        }
        return fixed | own


def torture(lab: Lab, points: Sequence[Point], check: Callable[[Outcome], None]) -> None:
    """Run all points; `check` looks at the folder afterwards and raises AssertionError.

    Raises:
        AssertionError: Names every point after which something was wrong.
    """
    wrong, missed = [], []
    for point in points:
        outcome = lab.run(point)
        if point.fault == KILL and not outcome.killed:
            missed.append(point.title)
        try:
            check_manners(outcome)
            check(outcome)
        except Exception as error:  # noqa: BLE001 all points are tried, and each failure is told
            wrong.append(f"{point.title} (code {outcome.code}): {type(error).__name__}: {error}")
    # a command with threads does not make the same calls in each thread every time
    assert len(missed) <= len(points) // 5, f"the command never came to {missed}"
    assert not wrong, f"{len(wrong)} of {len(points)} points:\n" + "\n".join(wrong)


def check_manners(outcome: Outcome) -> None:
    """A fault ends in one sentence and an exit code of its own, never in a traceback."""
    if outcome.killed:
        return
    assert "Traceback" not in outcome.err, outcome.err
    assert outcome.succeeded or outcome.err.strip(), "it failed without a word"


def _fits(call: str, fault: str) -> bool:
    if fault == FULL:
        return call in _GROWING
    if fault == BROKEN:
        return call in (*_SYNCING, "write", "pwrite64", "pwritev", "rename", "unlink")
    return True


def _calls(trace: str) -> list[tuple[str, int]]:
    """The mutating calls of a trace by name and number, in the order of their first appearance."""
    counts: Counter[tuple[str, str]] = Counter()
    found: dict[tuple[str, int], None] = {}
    for line in trace.splitlines():
        match = _LINE.match(line)
        if match is None:
            continue
        thread, call, arguments = match.groups()
        counts[thread, call] += 1
        if call == "openat" and not any(flag in arguments for flag in _CREATING):
            continue
        found[call, counts[thread, call]] = None
    return list(found)
