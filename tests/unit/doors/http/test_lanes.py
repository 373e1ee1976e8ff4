"""Lanes: turns by key, bounds, and threads that nobody waits for (findings S2, R1)."""

import asyncio
import threading
from collections.abc import Coroutine
from functools import partial
from typing import TYPE_CHECKING, Any, cast

import pytest
from starlette.requests import Request

from strongroom.doors.http import health
from strongroom.doors.http.gate import Gate
from strongroom.doors.http.lanes import (
    BusyError,
    ClientGoneError,
    Lane,
    LaneLimits,
    Threads,
    Turnstile,
)
from strongroom.doors.http.pools import Pools
from strongroom.doors.http.settings import WebSettings

if TYPE_CHECKING:
    from strongroom.node.opening import Node


def never() -> bool:
    return False


def run(work: Coroutine[Any, Any, None]) -> None:
    asyncio.run(work)


def test_keys_have_turns() -> None:
    """findings S2: who sends a hundred requests waits for himself."""

    async def story() -> None:
        line, order = Turnstile(LaneLimits(1, 1, 99, 99)), []

        async def visit(key: str) -> None:
            await line.enter(key, never)
            order.append(key)
            line.leave(key)

        await line.enter("first", never)
        crowd = [asyncio.create_task(visit("crowd")) for _ in range(5)]
        await asyncio.sleep(0)
        one = asyncio.create_task(visit("one"))
        await asyncio.sleep(0)
        line.leave("first")
        await asyncio.gather(*crowd, one)
        assert order.index("one") <= 1
        assert (line.inside, line.waiting) == (0, 0)

    run(story())


def test_one_key_has_its_share_of_the_places() -> None:
    async def story() -> None:
        line = Turnstile(LaneLimits(4, 2, 9, 9))
        await line.enter("a", never)
        await line.enter("a", never)
        third = asyncio.create_task(line.enter("a", never))
        await asyncio.sleep(0)
        await line.enter("b", never)  # does not wait behind it
        assert not third.done()
        line.leave("a")
        await third
        assert line.inside == 3

    run(story())


@pytest.mark.parametrize("limits", [LaneLimits(1, 1, 2, 9), LaneLimits(1, 1, 9, 2)])
def test_a_full_line_refuses(limits: LaneLimits) -> None:
    async def story() -> None:
        line = Turnstile(limits)
        await line.enter("a", never)
        waiting = [asyncio.create_task(line.enter("a", never)) for _ in range(2)]
        await asyncio.sleep(0)
        with pytest.raises(BusyError):
            await line.enter("a", never)
        for one in waiting:
            one.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        assert line.waiting == 0

    run(story())


def test_who_waits_too_long_is_told() -> None:
    async def story() -> None:
        line = Turnstile(LaneLimits(1, 1, 9, 9, wait_s=0.01))
        await line.enter("a", never)
        with pytest.raises(BusyError):
            await line.enter("b", never)
        assert line.waiting == 0
        line.leave("a")
        await line.enter("b", never)

    run(story())


def test_who_has_left_loses_its_place_in_the_line() -> None:
    """findings S2: when its turn comes, and when somebody else finds the line full."""

    async def story() -> None:
        line, gone = Turnstile(LaneLimits(1, 1, 1, 1)), [False]
        await line.enter("a", never)
        left = asyncio.create_task(line.enter("b", lambda: gone[0]))
        await asyncio.sleep(0)
        gone[0] = True
        stays = asyncio.create_task(line.enter("b", never))
        await asyncio.sleep(0)
        with pytest.raises(ClientGoneError):
            await left
        line.leave("a")
        await stays
        late = asyncio.create_task(line.enter("c", lambda: True))
        await asyncio.sleep(0)
        line.leave("b")
        with pytest.raises(ClientGoneError):
            await late
        assert (line.inside, line.waiting) == (0, 0)

    run(story())


def test_a_place_that_comes_as_its_waiter_is_cancelled_goes_on() -> None:
    async def story() -> None:
        line = Turnstile(LaneLimits(1, 1, 9, 9))
        await line.enter("a", never)
        waiter = asyncio.create_task(line.enter("b", never))
        await asyncio.sleep(0)
        line.leave("a")  # its turn
        waiter.cancel()  # at the same moment
        with pytest.raises(asyncio.CancelledError):
            await waiter
        assert line.inside == 0

    run(story())


def test_a_place_is_free_when_the_thread_is() -> None:
    """Whoever stops waiting does not make room for one more beside what still runs."""

    async def story() -> None:
        lane, going = Lane("test", LaneLimits(1, 1, 9, 9)), threading.Event()
        await lane.line.enter("a", never)
        task = lane.start("a", lambda: going.wait(60))
        task.cancel()
        await asyncio.sleep(0.01)
        assert lane.line.inside == 1
        going.set()
        assert await lane.run("b", lambda: 7) == 7

    run(story())


def test_threads_are_daemons_and_pass_errors_on() -> None:
    """findings R1: a process that ends joins every thread of a usual pool."""

    async def story() -> None:
        threads = Threads("test", 2)
        assert await threads.run(lambda: threading.current_thread().daemon)
        with pytest.raises(ZeroDivisionError):
            await threads.run(lambda: 1 // 0)
        ended: list[bool] = []
        await threads.start(lambda: None, lambda: ended.append(True))
        assert ended == [True]

    run(story())


def test_a_loop_that_is_closed_is_no_error() -> None:
    going = threading.Event()

    async def story() -> None:
        Threads("test", 1).start(lambda: going.wait(60))

    run(story())
    going.set()


class _Refusing:
    """`Thread.start` of a system that gives no thread so many times."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.left = 0
        original = threading.Thread.start

        def start(thread: threading.Thread) -> None:
            if self.left > 0:
                self.left -= 1
                raise RuntimeError("can't start new thread")
            original(thread)

        monkeypatch.setattr(threading.Thread, "start", start)


def test_a_lane_outlives_a_system_that_gives_no_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each failure took one thread of the lane for ever: after as many, nobody had an answer (TasksMax)."""
    system = _Refusing(monkeypatch)

    async def story() -> None:
        lane, done = Lane("test", LaneLimits(2, 2, 9, 9)), list[int]()
        system.left = 2
        for number in range(2):
            with pytest.raises(BusyError):
                await lane.run("a", partial(done.append, number))
        assert (system.left, lane.line.inside) == (0, 0)
        async with asyncio.timeout(60):
            assert await lane.run("a", lambda: 7) == 7
        assert done == []  # what was refused is not done later

    run(story())


def test_what_no_thread_was_given_for_has_its_turn_with_those_that_are_there(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    system, going, both = _Refusing(monkeypatch), threading.Event(), threading.Barrier(2)

    async def story() -> None:
        threads = Threads("test", 2)
        first = threads.start(lambda: going.wait(60))
        system.left = 1
        second = threads.start(lambda: 7)
        assert system.left == 0
        going.set()
        async with asyncio.timeout(60):
            assert await first
            assert await second == 7
            # and the thread that was missing is started when it is needed again
            await asyncio.gather(*(threads.start(lambda: both.wait(60)) for _ in range(2)))

    run(story())


def test_readiness_is_asked_again_after_the_system_gave_no_thread(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """`/readyz` has one thread: after one failure it answered nobody any more."""
    system, pools = _Refusing(monkeypatch), Pools(WebSettings())

    async def story() -> None:
        node = cast("Node", None)  # what a thread would ask
        ready = next(one for one in health.routes(node, pools) if one.path == "/readyz")
        request = Request({"type": "http"})
        monkeypatch.setattr(health, "_check", lambda _: True)
        system.left = 1
        async with asyncio.timeout(60):
            answers = [(await ready.endpoint(request)).status_code for _ in range(2)]
        assert answers == [503, 200]

    run(story())


def test_every_thread_that_works_for_a_request_counts_also_before_one_begins() -> None:
    """A node that drains signs that nobody works (maintenance.md 3.4): also for a request that was cut off and is gone."""

    async def story() -> None:
        gate, going = Gate(), threading.Event()
        pools = Pools(WebSettings(), gate.working)
        lanes = (pools.gate, pools.sign_in, pools.reads, pools.writes, pools.uploads)
        works = [lane.start("me", going.wait) for lane in (*lanes, pools.admission)]
        works += [pools.pieces.start(going.wait), pools.pieces.start(going.wait)]
        works.append(
            pools.admission.start("me", going.wait)
        )  # behind the other one, for which there is the one thread
        assert gate.under_way == len(works)
        for work in works:
            work.cancel()
        await asyncio.sleep(0)
        assert gate.under_way == len(works), "a thread goes on that nobody waits for"
        probe = pools.probes.start(going.wait)
        assert gate.under_way == len(works), "a probe serves nobody"
        going.set()
        await probe
        while gate.under_way:  # noqa: ASYNC110 a thread tells the gate, which has no event
            await asyncio.sleep(0.001)

    run(story())
