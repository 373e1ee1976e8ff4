"""Lanes: each class of request has threads of its own and a short line before them, so that no class waits for another.

A line is served in turns: one request of each key (a client's address, or a user), then the next one of each. So who
sends a thousand requests waits for himself, and who sends one waits for one turn. A line that is full says so at once,
and a request whose client has left is dropped before it costs anything (findings S2, R5, R8).

The threads are daemons: a process that ends does not wait for what a client may never send (findings R1). What they
were doing is undone by the next start, as after a kill.
"""

import asyncio
import contextlib
import itertools
import logging
import queue
import threading
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

_log = logging.getLogger("strongroom.web")
ResultT = TypeVar("ResultT")
Gone = Callable[[], bool]
Working = Callable[[], contextlib.AbstractContextManager[None]]


class BusyError(Exception):
    """The line is full, or did not move for too long: the client may come again."""


class ClientGoneError(Exception):
    """The client has left; nobody waits for an answer."""


@dataclass(frozen=True)
class LaneLimits:
    """The bounds of one lane.

    Attributes:
        at_once: Requests that are worked on at the same time.
        at_once_per_key: Of these, how many of one key.
        waiting: Requests that wait, of all keys.
        waiting_per_key: Requests that wait, of one key.
        wait_s: For so long they wait.
    """

    at_once: int
    at_once_per_key: int
    waiting: int
    waiting_per_key: int
    wait_s: float = 30.0


@dataclass(frozen=True, eq=False)
class _Waiter:
    turn: "asyncio.Future[None]"
    is_gone: Gone


class Turnstile:
    """Lets so many in at once, keys in turns; used on the event loop only."""

    def __init__(self, limits: LaneLimits) -> None:
        self._limits = limits
        self._inside: Counter[str] = Counter()
        self._lines: dict[str, deque[_Waiter]] = {}  # in the order of their turns

    @property
    def inside(self) -> int:
        """How many are in."""
        return self._inside.total()

    @property
    def waiting(self) -> int:
        """How many wait."""
        return sum(map(len, self._lines.values()))

    async def enter(self, key: str, is_gone: Gone) -> None:
        """Wait for a place; whoever got one gives it back by `leave`.

        Raises:
            BusyError: Too many wait already, or it took too long.
            ClientGoneError: The client left meanwhile.
        """
        if key not in self._lines and self._has_place(key):
            self._inside[key] += 1
            return
        waiter = self._line_up(key, is_gone)
        try:
            async with asyncio.timeout(self._limits.wait_s):
                await waiter.turn
        except TimeoutError as error:
            self._give_up(key, waiter)
            raise BusyError from error
        except BaseException:
            self._give_up(key, waiter)
            raise

    def leave(self, key: str) -> None:
        """Give a place back: the next one's turn."""
        self._inside[key] -= 1
        if self._inside[key] <= 0:
            del self._inside[key]
        self._admit()

    def _has_place(self, key: str) -> bool:
        limits = self._limits
        return self.inside < limits.at_once and self._inside[key] < limits.at_once_per_key

    def _line_up(self, key: str, is_gone: Gone) -> _Waiter:
        if not self._has_room(key):
            self._drop_gone()
            if not self._has_room(key):
                raise BusyError
        waiter = _Waiter(asyncio.get_running_loop().create_future(), is_gone)
        self._lines.setdefault(key, deque()).append(waiter)
        return waiter

    def _has_room(self, key: str) -> bool:
        mine, limits = self._lines.get(key, ()), self._limits
        return len(mine) < limits.waiting_per_key and self.waiting < limits.waiting

    def _drop_gone(self) -> None:
        for key, line in list(self._lines.items()):
            for waiter in [one for one in line if one.is_gone()]:
                line.remove(waiter)
                _tell_gone(waiter)
            if not line:
                del self._lines[key]

    def _admit(self) -> None:
        """Give free places to those whose turn it is; a key that had its turn goes to the end."""
        for key in list(self._lines):
            if self.inside >= self._limits.at_once:
                return
            self._admit_one(key)
        if any(self._has_place(key) for key in self._lines):
            self._admit()

    def _admit_one(self, key: str) -> None:
        line = self._lines[key]
        while line and self._has_place(key):
            waiter = line.popleft()
            if waiter.turn.done():
                continue
            if waiter.is_gone():
                _tell_gone(waiter)
                continue
            self._inside[key] += 1
            waiter.turn.set_result(None)
            del self._lines[key]
            if line:
                self._lines[key] = line
            return
        if not line:
            del self._lines[key]

    def _give_up(self, key: str, waiter: _Waiter) -> None:
        """Remove a waiter that gave up; a place that it got at the same moment goes to the next waiter."""
        turn = waiter.turn
        if turn.done() and not turn.cancelled() and turn.exception() is None:
            self.leave(key)
            return
        turn.cancel()
        line = self._lines.get(key)
        if line is not None and waiter in line:
            line.remove(waiter)
            if not line:
                del self._lines[key]


class Threads:
    """Daemon threads, started as they are needed."""

    def __init__(self, name: str, count: int, working: Working = contextlib.nullcontext) -> None:
        """Take the bounds; no thread is started.

        Args:
            name: The beginning of the threads' names.
            count: The most threads.
            working: Returns a block that lasts as long as a piece of work, from its place in the queue to its end.
        """
        self._working = working
        self._name = name
        self._count = count
        self._jobs: queue.SimpleQueue[tuple[Callable[[], Any], Callable[[Any, Any], None]]] = (
            queue.SimpleQueue()
        )
        self._numbers = itertools.count()
        self._started = 0
        self._busy = 0
        self._is_short = False

    def start(
        self, work: Callable[[], ResultT], ended: Callable[[], None] = lambda: None
    ) -> "asyncio.Future[ResultT]":
        """Have it done in a thread.

        Args:
            work: The work to do in the thread.
            ended: Called on the event loop when the thread is free again, whether or not a caller still waits.

        Raises:
            BusyError: There is no thread, and the system gives none; `ended` has been called.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[ResultT] = loop.create_future()

        def settle(result: Any, error: Any) -> None:
            self._busy -= 1
            ended()
            if future.done():  # the caller was cancelled, and needs no result
                return
            if error is None:
                future.set_result(result)
            else:
                future.set_exception(error)

        # also what no thread has begun with: it would begin when its request is cut off and gone
        counted = contextlib.ExitStack()
        counted.enter_context(self._working())

        def told(result: Any, error: Any) -> None:
            counted.close()
            with contextlib.suppress(RuntimeError):  # the loop is closed: the process ends
                loop.call_soon_threadsafe(settle, result, error)

        self._busy += 1
        self._jobs.put((work, told))
        problem = self._grow()
        if problem is not None and not self._started:
            # without any thread the work would never begin; with one it would begin later
            self._jobs.get_nowait()
            self._busy -= 1
            counted.close()
            ended()
            raise BusyError from problem
        return future

    def _grow(self) -> Exception | None:
        """Start one more thread if it is needed; returns what the system said that gave none (TasksMax, memory)."""
        if self._busy <= self._started or self._started >= self._count:
            return None
        name = f"{self._name}_{next(self._numbers)}"
        try:
            threading.Thread(target=self._work, name=name, daemon=True).start()
        except (RuntimeError, MemoryError, OSError) as error:
            if not self._is_short:  # once, not with every request
                _log.warning("the system gives no thread for %r: %s", self._name, error)
            self._is_short = True
            return error
        self._started += 1
        self._is_short = False
        return None

    async def run(self, work: Callable[[], ResultT]) -> ResultT:
        """Have it done in a thread, and wait for it."""
        return await self.start(work)

    def _work(self) -> None:
        while True:
            work, told = self._jobs.get()
            result = error = None
            try:
                result = work()
            except BaseException as problem:  # noqa: BLE001 it is raised where somebody waits for it
                error = problem
            told(result, error)
            del work, told, result, error  # an idle thread holds nothing of the request before


class Lane:
    """Threads with a line before them."""

    def __init__(
        self, name: str, limits: LaneLimits, working: Working = contextlib.nullcontext
    ) -> None:
        self.line = Turnstile(limits)
        self._threads = Threads(name, limits.at_once, working)

    async def run(
        self, key: str, work: Callable[[], ResultT], is_gone: Gone = lambda: False
    ) -> ResultT:
        """Do it when there is a place.

        Raises:
            BusyError: Too many wait already, or it took too long.
            ClientGoneError: The client left before it was begun.
        """
        await self.line.enter(key, is_gone)
        return await self.start(key, work)

    def start(self, key: str, work: Callable[[], ResultT]) -> "asyncio.Future[ResultT]":
        """Do it in the place that `line.enter` gave; the place is free when the thread is.

        Raises:
            BusyError: There is no thread, and the system gives none; the place is given back.
        """
        return self._threads.start(work, lambda: self.line.leave(key))


def _tell_gone(waiter: _Waiter) -> None:
    if not waiter.turn.done():
        waiter.turn.set_exception(ClientGoneError())
