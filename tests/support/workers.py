"""Runs the tests in forks of the process that has collected them: `--workers N`.

To import and to collect nineteen thousand tests takes half a minute of a processor. Each worker of xdist does so by itself,
and one process has to do it before them, or each rewrites all assertions. Here it is done once: a worker begins with all
modules imported, in memory that it shares with the others.

Tests of one module, or of one class, are done by one worker, in the order of the collection. A worker has modules of one
kind for its whole life (`Plan`). Those whose tests use the three servers of ZooKeeper are done by half of the workers,
from the beginning: the servers take long to start, and other workers need none. What coverage does not count is begun at
once by one worker, since its modules are the longest: the documents take a third of a run. A worker in which they had
imported the product unseen would not be one for what counts.

A worker that dies fails the test that it ran, by its name, and another one goes on behind it. So does one that is silent
for longer than a phase of its test may take: a lock of a library in C that a fork took along is given back by nobody, and
no limit within the fork ends what waits for it.
"""

import os
import signal
import sys
import threading
import time
import warnings
from collections import Counter, deque
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from enum import Enum, auto
from multiprocessing import Pipe
from multiprocessing.connection import Connection, wait
from typing import Any, Final, NamedTuple

import pytest

from tests.support import unmeasured, worker_process

_DEAR: Final = frozenset({"ensemble"})
"""Fixtures of a session that cost a worker much, though nobody uses them."""
_END_S: Final = 60.0
_SILENT_S: Final = 120.0
"""How long a worker may be silent beyond the time that its test has."""
_LOOK_S: Final = 5.0


class Kind(Enum):
    """What a worker has for its whole life."""

    #: Tests with fixtures that other workers do without.
    DEAR = auto()
    #: Tests that coverage does not count.
    UNCOUNTED = auto()
    PLAIN = auto()


class Scope(NamedTuple):
    """Tests of a module or a class, which share fixtures.

    Attributes:
        kind: Which workers are to do them.
        items: Their places in the collection.
    """

    kind: Kind
    items: tuple[int, ...]


def scopes(items: Sequence[pytest.Item]) -> list[Scope]:
    """The tests of a collection by their scopes, each where its first test stands."""
    found: dict[str, list[int]] = {}
    for place, item in enumerate(items):
        found.setdefault(item.nodeid.rpartition("::")[0], []).append(place)
    return [
        Scope(_kind([items[place] for place in places]), tuple(places)) for places in found.values()
    ]


def _kind(items: Sequence[pytest.Item]) -> Kind:
    if any(not _DEAR.isdisjoint(getattr(item, "fixturenames", ())) for item in items):
        return Kind.DEAR
    return Kind.PLAIN if any(map(unmeasured.is_measured, items)) else Kind.UNCOUNTED


class Plan:
    """Which tests the workers do next.

    Args:
        found: All scopes, in their order.
        workers: How many workers there are at once.
    """

    def __init__(self, found: Iterable[Scope], workers: int) -> None:
        self._workers = workers
        self._left: dict[Kind, deque[Scope]] = {kind: deque() for kind in Kind}
        for one in found:
            self._left[one.kind].append(one)

    def kind_of_next(self, running: Mapping[Kind, int]) -> Kind | None:
        """What one more worker is for; None if nothing is left that is worth one.

        Args:
            running: How many workers there are of each kind; what is missing has none.
        """
        half = max(1, self._workers // 2)
        shares = {Kind.DEAR: half, Kind.UNCOUNTED: max(1, half // 2), Kind.PLAIN: self._workers}
        first = [kind for kind in Kind if running.get(kind, 0) < shares[kind]]
        return next((kind for kind in (*first, *Kind) if self._is_worth_one(kind, running)), None)

    def _is_worth_one(self, kind: Kind, running: Mapping[Kind, int]) -> bool:
        """Whether there is work for one more; who has the dear fixtures does a last module sooner than who makes them."""
        least = 2 if kind is Kind.DEAR and running.get(kind) else 1
        return len(self._left[kind]) >= least

    def take(self, kind: Kind) -> Scope | None:
        """The next tests of a worker; None if it is to end."""
        left = self._left[kind]
        return left.popleft() if left else None

    def put_back(self, scope: Scope) -> None:
        """Tests that a worker had taken, and did not come to."""
        if scope.items:
            self._left[scope.kind].appendleft(scope)

    def stop(self) -> None:
        """Nothing more is to be done."""
        for left in self._left.values():
            left.clear()


@dataclass
class _Worker:
    """A fork, as the process sees it that collected.

    Attributes:
        name: Its number, as a word.
        pid: Its process id.
        kind: What it does.
        given: The tests that it has, and has not begun.
        running: The test that it runs.
        has_ended: Whether it said so.
        heard: When it said something, in seconds of the monotonic clock.
        was_ended: Why this process ended it; empty if it did not.
    """

    name: str
    pid: int
    kind: Kind
    given: deque[int] = field(default_factory=deque)
    running: int | None = None
    has_ended: bool = False
    heard: float = field(default_factory=time.monotonic)
    was_ended: str = ""


class Workers:
    """All workers of a session.

    Args:
        session: A session that has collected.
        count: How many workers there are at once.
    """

    def __init__(self, session: pytest.Session, count: int) -> None:
        self._session = session
        self._count = count
        self._plan = Plan(scopes(session.items), count)
        self._workers: dict[Connection[Any, Any], _Worker] = {}
        self._made = 0

    def run(self) -> None:
        """Run all tests.

        Raises:
            pytest.Session.Failed: `--maxfail` was reached.
            pytest.Session.Interrupted: The session was asked to stop.
            RuntimeError: A worker could not go on, for a reason that is no test's.
        """
        try:
            self._fill()
            while self._workers:
                for channel in wait(list(self._workers), timeout=_LOOK_S):
                    assert isinstance(channel, Connection)
                    self._attend(channel)
                self._end_silent()
        finally:
            self._end_all()
        if self._session.shouldfail:
            raise self._session.Failed(self._session.shouldfail)
        if self._session.shouldstop:
            raise self._session.Interrupted(self._session.shouldstop)

    def _fill(self) -> None:
        """Start as many workers as there may be and are of use."""
        while len(self._workers) < self._count:
            running = Counter(one.kind for one in self._workers.values())
            kind = self._plan.kind_of_next(running)
            scope = None if kind is None else self._plan.take(kind)
            if kind is None or scope is None:
                return
            self._start(kind, scope)

    def _start(self, kind: Kind, scope: Scope) -> None:
        # a fork has one thread: whatever another one holds would be held for ever
        assert threading.active_count() == 1, threading.enumerate()
        name, self._made = str(self._made), self._made + 1
        ours, theirs = Pipe()
        sys.stdout.flush()
        sys.stderr.flush()
        with warnings.catch_warnings():
            # libraries that calculate have threads that Python does not know, and are prepared for a fork
            warnings.simplefilter("ignore", DeprecationWarning)
            pid = os.fork()
        if not pid:
            for other in (*self._workers, ours):
                other.close()
            worker_process.work(self._session, name, theirs)
        theirs.close()
        self._workers[ours] = _Worker(name, pid, kind, deque(scope.items))
        ours.send(scope.items)

    def _attend(self, channel: "Connection[Any, Any]") -> None:
        worker = self._workers[channel]
        message: tuple[str, Any] | None = None
        with suppress(EOFError, ConnectionResetError):
            message = channel.recv()
        if message is None:
            # outside of the handler: a fork that is made within would show the error in each of its own
            self._gone(channel, worker)
            return
        worker.heard = time.monotonic()
        what, content = message
        if what == worker_process.NEXT:
            scope = self._plan.take(worker.kind)
            if scope is not None:
                worker.given.extend(scope.items)
            channel.send(scope and scope.items)
        elif what == worker_process.BEGINS:
            worker.running = worker.given.popleft()
            assert worker.running == content
        elif what == worker_process.REPORT:
            self._tell({**content, "worker_id": worker.name})
        elif what == worker_process.FINISHED:
            worker.running = None
        elif what == worker_process.WARNING:
            self._session.config.hook.pytest_warning_recorded.call_historic(kwargs=content)
        elif what == worker_process.ENDS:
            worker.has_ended = True
        else:
            raise RuntimeError(f"worker {worker.name}: {content}")

    def _end_silent(self) -> None:
        """End workers of which nothing was heard for longer than a phase of a test may take."""
        for worker in self._workers.values():
            silent = time.monotonic() - worker.heard
            if not worker.was_ended and silent > self._limit(worker):
                worker.was_ended = f"nothing was heard of it for {silent:.0f} s"
                os.kill(worker.pid, signal.SIGKILL)

    def _limit(self, worker: _Worker) -> float:
        """How long a worker may say nothing, in seconds; for ever, if its test has no limit."""
        config, mark = self._session.config, None
        if worker.running is not None:
            mark = self._session.items[worker.running].get_closest_marker("timeout")
        seconds = config.getini("timeout")
        if config.getoption("timeout", None) is not None:
            seconds = config.getoption("timeout")
        if mark is not None:
            seconds = mark.args[0] if mark.args else mark.kwargs["timeout"]
        return float(seconds or "inf") + _SILENT_S

    def _tell(self, content: dict[str, Any]) -> None:
        """Have all plugins of this process hear of a phase of a test."""
        config = self._session.config
        report = config.hook.pytest_report_from_serializable(config=config, data=content)
        config.hook.pytest_runtest_logreport(report=report)
        if report.when == "teardown":
            config.hook.pytest_runtest_logfinish(nodeid=report.nodeid, location=report.location)
        if self._session.shouldfail or self._session.shouldstop:
            self._plan.stop()

    def _gone(self, channel: "Connection[Any, Any]", worker: _Worker) -> None:
        """A worker's end, in order or not; another one takes its place."""
        del self._workers[channel]
        channel.close()
        status = os.waitstatus_to_exitcode(os.waitpid(worker.pid, 0)[1])
        if not worker.has_ended:
            if worker.running is not None:
                self._tell_of_death(worker, self._session.items[worker.running], status)
            self._plan.put_back(Scope(worker.kind, tuple(worker.given)))
        self._fill()

    def _tell_of_death(self, worker: _Worker, item: pytest.Item, status: int) -> None:
        how = f"signal {signal.Signals(-status).name}" if status < 0 else f"exit code {status}"
        how = worker.was_ended or how
        now = time.time()
        failed = pytest.TestReport(
            item.nodeid,
            item.location,
            {},
            "failed",
            f"worker {worker.name} died while it ran this test: {how}",
            "call",
            start=now,
            stop=now,
        )
        self._session.config.hook.pytest_runtest_logreport(report=failed)

    def _end_all(self) -> None:
        """End whoever still works, as Ctrl-C does: its fixtures are taken down."""
        for worker in self._workers.values():
            with suppress(ProcessLookupError):
                os.kill(worker.pid, signal.SIGINT)
        for channel, worker in self._workers.items():
            channel.close()
            end = time.monotonic() + _END_S
            while not os.waitpid(worker.pid, os.WNOHANG)[0]:
                if time.monotonic() > end:
                    os.kill(worker.pid, signal.SIGKILL)
                time.sleep(0.05)
        self._workers.clear()


@pytest.hookimpl(tryfirst=True)
def pytest_runtestloop(session: pytest.Session) -> bool | None:
    """Take the place of pytest's own loop, if there are to be workers."""
    count: int = session.config.option.workers
    if not count or session.config.option.collectonly or session.testsfailed:
        return None
    session.config._tmp_path_factory.getbasetemp()  # type: ignore[attr-defined]
    Workers(session, count).run()
    return True


def add_option(group: "pytest.OptionGroup") -> None:
    """Take the number of workers; without one this process runs the tests, or xdist's do (`-n`)."""
    group.addoption(
        "--workers", metavar="N", type=int, default=0, help="run tests in N forks of this process"
    )
