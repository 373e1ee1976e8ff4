"""Enumerates a command's mutating system calls, and runs it again with a kill or a fault at one of them.

A point is "the n-th openat that creates, of this process": all threads' calls are counted together, by name. The process
dies on entering the call; what the call would have done has not happened, what all earlier ones did has.

The runs are forks of a process that has imported the command's modules already (`forks.py`), followed by a tracer of our
own (`tracing.py`); that is what makes it possible to try every point. One point in twenty is enumerated and tried anew by
strace, in a process with a start of its own, as a user starts the command. strace counts in each thread by itself, and
reads of openat too.
"""

import errno
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.support.servers import BIN
from tests.torture import disk, forks, tracing
from tests.torture.disk import Disk, Left
from tests.torture.forks import Command, Disturbance, Done, ForkServer

KILL = "signal=SIGKILL"
TERM = "signal=SIGTERM"
INTERRUPT = "signal=SIGINT"
FULL = "error=ENOSPC"
BROKEN = "error=EIO"
AGAIN = "error=EINTR"
"""The call is interrupted before it has done anything."""
SHORT = "short"
"""A write takes half of the bytes, as one that a signal interrupts does, or one at the end of a disk."""
CUTS = tuple(f"power cut, {left} left" for left in Left)
"""The machine stops while a call syncs, or behind the end: what nobody had synced may be there or not."""
_OFTEN, _SELDOM = {"kill": (KILL,), "fault": (FULL, BROKEN)}, {"odd": (SHORT, AGAIN), "power": CUTS}
EVERY_FAULT = pytest.mark.parametrize(
    "faults", [*_OFTEN.values(), *_SELDOM.values()], ids=[*_OFTEN, *_SELDOM]
)
"""What an enumeration of a command tries."""
FAULTS = pytest.mark.parametrize(
    "faults",
    [
        *_OFTEN.values(),
        *(pytest.param(one, marks=pytest.mark.whole) for one in _SELDOM.values()),
    ],
    ids=[*_OFTEN, *_SELDOM],
)
"""The same for a command of which each point costs a second: of the last two no sample is tried."""
_ERRORS = {
    KILL: 0,
    TERM: -signal.SIGTERM,
    INTERRUPT: -signal.SIGINT,
    FULL: errno.ENOSPC,
    BROKEN: errno.EIO,
    AGAIN: errno.EINTR,
    SHORT: tracing.SHORT,
}
_SIGNALS = (KILL, TERM, INTERRUPT)
_LIMIT_S = 120
_OWN_START_EVERY = 20
_TOLD_BYTES = 3000
_END = "end"
# what was tried, one line each; the session's closing lines tell it
FIGURES: list[str] = []

_GROWING = ("openat", "write", "pwrite64", "pwritev", "ftruncate", "fallocate", "mkdir", "mkdirat")
_SYNCING = ("fsync", "fdatasync", "sync_file_range", "syncfs")
_NAMING = ("rename", "renameat", "renameat2", "link", "linkat", "unlink", "unlinkat", "rmdir")
_SENDING = ("sendto", "sendmsg")
_OTHER = (
    "sendfile",
    "chmod",
    "fchmod",
    "fchmodat",
    "symlink",
    "symlinkat",
    "copy_file_range",
    "pwritev2",
)
_CREATING = ("O_CREAT", "O_TRUNC", "O_TMPFILE")
_WRITING = ("write", "pwrite64")
_INTERRUPTED = ("openat", *_WRITING, "ftruncate", "fsync", "fdatasync")
_BREAKING = (*_SYNCING, "write", "pwrite64", "pwritev", "rename", "unlink")
MUTATING = (*_GROWING, *_SYNCING, *_NAMING, *_OTHER, *_SENDING)
_LINE = re.compile(r"^(\d+)\s+(\w+)\((.*)$")
_SOCKET = re.compile(r"\d+<(socket|TCP|UDP|UNIX)\b")


@dataclass
class OwnStarts:
    """Whether labs try some points in processes with a start of their own, too: strace makes such a run ten times as slow."""

    wanted: bool = True


own_starts = OwnStarts()


@dataclass(frozen=True)
class Point:
    """One place to fail: the `number`-th call of this name in the process.

    `own_start`: under strace, in a process with a start of its own; the number counts in a thread.
    """

    call: str
    number: int
    fault: str
    own_start: bool = False

    @property
    def title(self) -> str:
        return f"{self.call}#{self.number} {self.fault}{' (own start)' * self.own_start}"


@dataclass(frozen=True)
class Outcome:
    """How a tortured run ended; `log` is what its node's logs end with, if it failed without a word."""

    point: Point
    code: int
    out: str
    err: str
    log: str = ""

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
    _server: ForkServer | None = field(default=None, init=False, repr=False, compare=False)
    _record: "tuple[Done, list[dict[str, Any]]] | None" = field(
        default=None, init=False, repr=False, compare=False
    )

    def points(self, *faults: str) -> list[Point]:
        """Every point of this command, in the order in which they come, once for each fault that fits.

        At the end some of them stand once more, for a process with a start of its own; in a sample, for some labs only.
        """
        cuts = [fault for fault in faults if fault in CUTS]
        faults = tuple(fault for fault in faults if fault not in CUTS)
        if not tracing.IS_POSSIBLE:
            return self._points_of(*faults, own_start=True)
        points = [Point(*place, cut) for place in self._cut_places() * bool(cuts) for cut in cuts]
        points += self._points_of(*faults, own_start=False) if faults else []
        if own_starts.wanted and not {SHORT, AGAIN}.intersection(faults) and faults:
            separate = self._points_of(*faults, own_start=True)
            points += separate[_OWN_START_EVERY // 2 :: _OWN_START_EVERY]
        return points

    def _points_of(self, *faults: str, own_start: bool) -> list[Point]:
        calls = _calls(self.strace()) if own_start else _numbered(self.changes())
        return _points(calls, faults, own_start=own_start)

    def changes(self) -> list[tuple[str, str]]:
        """The mutating calls of a run that nothing disturbs, in their order, and what each changes."""
        server = self._warm_server()
        self._renew()
        done, changes = server.trace(self._command())
        _check_undisturbed(done)
        return changes

    def strace(self) -> str:
        """What strace tells of such a run with a start of its own."""
        trace = self.place.with_name("trace")
        self._renew()
        _check_undisturbed(
            self._under_strace(["-y", "-o", str(trace), "-e", f"trace={','.join(MUTATING)}"])
        )
        return trace.read_text(errors="replace")

    def run(self, point: Point) -> Outcome:
        """Run the command on a fresh copy, failing at one point."""
        if point.fault in CUTS:
            return self._cut(point)
        if point.own_start:
            self._renew()
            inject = f"inject={point.call}:{point.fault}:when={point.number}"
            done = self._under_strace(["-o", os.devnull, "-e", f"trace={point.call}", "-e", inject])
        else:
            server = self._warm_server()
            self._renew()
            disturbance = Disturbance(point.call, point.number, _ERRORS[point.fault])
            done = server.disturb(self._command(), disturbance)
        return self._outcome(point, done)

    def hold(self, point: Point, meanwhile: Callable[[], None]) -> Outcome:
        """Run the command on a fresh copy; it waits at one point until something else was done beside it."""
        server = self._warm_server()
        self._renew()
        disturbance = Disturbance(point.call, point.number, 0, held=True)
        done = server.hold(self._command(), disturbance, meanwhile)
        return self._outcome(point, done)

    def recorded(self) -> tuple[Done, list[dict[str, Any]]]:
        """A run that nothing disturbs, and its calls with all their data; later ones are not recorded anew."""
        if self._record is None:
            server = self._warm_server()
            self._renew()
            self._record = server.record(self._command())
            _check_undisturbed(self._record[0])
        return self._record

    def _cut_places(self) -> list[tuple[str, int]]:
        """Each sync, and the end: between two syncs more and more is pending, of which the second may have any part."""
        counts: Counter[str] = Counter()
        found = []
        for told in self.recorded()[1]:
            counts[told["call"]] += 1
            if told["call"] in _SYNCING and told.get("path", "").startswith(str(self.place)):
                found.append((told["call"], counts[told["call"]]))
        return [*found, (_END, 1)]

    def _cut(self, point: Point) -> Outcome:
        """What is there after a power cut at a sync, which has not been made; at the end the answer was given."""
        done, calls = self.recorded()
        model = Disk(self.start, self.place)
        left = point.number
        for told in calls:
            left -= told["call"] == point.call
            if not left:
                break
            model.do(told)
        state = model.cut(Left(point.fault.split()[2]), f"{point.call}#{point.number}")
        disk.put(state, self.place)
        if point.call == _END:
            return Outcome(point, done.code, done.out, done.err)
        return Outcome(point, -signal.SIGKILL, "", "")

    def close(self) -> None:
        """Let the process go that is forked: another lab may use it."""
        self._server = None

    def _outcome(self, point: Point, done: Done) -> Outcome:
        log = ""
        if done.code and not done.err.strip():
            logs = sorted(self.place.rglob("tabsvc/logs/*.log"))
            log = "".join(f"{one.name}: {_end_of(one)}\n" for one in logs)
        return Outcome(point, done.code, done.out, done.err, log)

    def _renew(self) -> None:
        shutil.rmtree(self.place, ignore_errors=True)
        shutil.copytree(self.start, self.place, symlinks=True)

    def _under_strace(self, options: list[str]) -> Done:
        command = self._command()
        done = subprocess.run(
            # not --seccomp-bpf: strace 6.1 then injects no signals
            ["strace", "-f", "-qq", *options, *command.from_the_start],
            cwd=command.folder,
            env=dict(command.environment),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_LIMIT_S,
            check=False,
        )
        return Done(done.returncode, done.stdout, done.stderr)

    def _warm_server(self) -> ForkServer:
        if self._server is None:
            command = self._command()
            self._renew()
            self._server = forks.shared(command.environment)
            self._server.learn(command)
        return self._server

    def _command(self) -> Command:
        words = [word.replace("{place}", str(self.place)) for word in self.words]
        if Path(words[0]).name.startswith("python"):
            del words[0]
        elif "/" not in words[0]:
            words[0] = str(BIN / words[0])
        return Command(words, self.place, self._environment())

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
    began = time.monotonic()
    wrong, missed = [], []
    for point in points:
        outcome = None
        try:
            outcome = lab.run(point)
            check_manners(outcome)
            check(outcome)
        except Exception as error:  # noqa: BLE001 all points are tried, and each failure is told
            ended = f" (code {outcome.code})" if outcome else ""
            wrong.append(f"{point.title}{ended}: {type(error).__name__}: {error}")
            sys.stdout.write(f"{wrong[-1]}\n")  # told also if the test does not come to its end
        if point.fault == KILL and outcome is not None and not outcome.killed:
            missed.append(point.title)
    lab.close()
    check_wrong(points, wrong)
    check_reached(points, missed)
    separate = sum(point.own_start for point in points)
    FIGURES.append(
        f"{len(points)} points, {len(wrong)} wrong, {len(missed)} never reached, {separate} with a start of their own,"
        f" {time.monotonic() - began:.0f} s"
    )


def check_wrong(points: Sequence[Point], wrong: Sequence[str]) -> None:
    """Tell what was wrong; the first reason in the first line, which is all that a summary of many tests shows."""
    assert not wrong, f"{len(wrong)} of {len(points)} points: " + "\n".join(wrong)


def check_reached(points: Sequence[Point], missed: Sequence[str]) -> None:
    """A command with threads, or one that waits for another, does not make the same calls every time: a fifth may be missed."""
    assert len(missed) <= -(-len(points) // 5), f"the command never came to {missed}"


def check_manners(outcome: Outcome) -> None:
    """A fault ends in one sentence and an exit code of its own, never in a traceback or a crash."""
    if outcome.killed or (outcome.point.fault == TERM and outcome.code == -signal.SIGTERM):
        return
    assert outcome.code >= 0, f"it died of {signal.Signals(-outcome.code).name}: {outcome.err}"
    assert "Traceback" not in outcome.err, outcome.err
    assert outcome.succeeded or outcome.point.fault != SHORT, f"more was to be written: {outcome}"
    assert outcome.succeeded or outcome.err.strip(), (
        f"it failed without a word: {outcome.code}, {outcome.out!r}, {outcome.log}"
    )


def _end_of(log: Path) -> str:
    return log.read_bytes()[-_TOLD_BYTES:].decode(errors="replace")


def _check_undisturbed(done: Done) -> None:
    if done.code != 0:
        raise AssertionError(f"the command fails by itself: {done.err}")


def _fits(call: str, fault: str) -> bool:
    calls = {FULL: _GROWING, BROKEN: _BREAKING, SHORT: _WRITING, AGAIN: _INTERRUPTED}
    return fault not in calls or call in calls[fault]


def _points(
    calls: Sequence[tuple[str, int, bool]], faults: Sequence[str], *, own_start: bool
) -> list[Point]:
    return [
        Point(call, number, fault, own_start)
        for fault in faults
        for call, number, to_socket in calls
        # no disk refuses what is sent to a socket, and a client that takes less is another matter
        if _fits(call, fault) and not (to_socket and fault not in _SIGNALS)
    ]


def _numbered(changes: Sequence[tuple[str, str]]) -> list[tuple[str, int, bool]]:
    counts: Counter[str] = Counter()
    found = []
    for name, what in changes:
        counts[name] += 1
        found.append((name, counts[name], what.startswith("socket:")))
    return found


def _calls(trace: str) -> list[tuple[str, int, bool]]:
    """The mutating calls of strace's trace by name and number, in the order of their first appearance.

    The last says whether in any thread that call goes to a socket.
    """
    counts: Counter[tuple[str, str]] = Counter()
    found: dict[tuple[str, int], bool] = {}
    for line in trace.splitlines():
        match = _LINE.match(line)
        if match is None:
            continue
        thread, call, arguments = match.groups()
        counts[thread, call] += 1
        if call == "openat" and not any(flag in arguments for flag in _CREATING):
            continue
        one = call, counts[thread, call]
        found[one] = found.get(one, False) or bool(_SOCKET.match(arguments))
    return [(call, number, to_socket) for (call, number), to_socket in found.items()]
