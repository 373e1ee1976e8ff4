"""Threads over segments."""

import threading
import time

import pytest

from strongroom.crypto import workers


def test_all_threads_run_and_the_first_error_is_raised() -> None:
    seen = set()
    barrier = threading.Barrier(3)

    def work(stop: threading.Event) -> None:
        barrier.wait(60)
        seen.add(threading.get_ident())
        assert stop is not None

    workers.run_parallel(3, work)
    assert len(seen) == 3


def test_an_error_stops_the_others() -> None:
    calls: list[int] = []

    def work(stop: threading.Event) -> None:
        calls.append(1)
        if len(calls) == 1:
            raise ValueError("first")
        assert stop.wait(60)

    with pytest.raises(ValueError, match="first"):
        workers.run_parallel(2, work)


def test_an_interrupt_while_waiting_stops_the_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody may write on after the caller has left."""
    ended = threading.Event()
    started = threading.Event()
    main = threading.current_thread()
    join, calls = threading.Thread.join, []

    def interrupted(self: threading.Thread, timeout: float | None = None) -> None:
        calls.append(self)
        if len(calls) == 1:
            raise KeyboardInterrupt
        join(self, timeout)

    def work(stop: threading.Event) -> None:
        started.set()
        if threading.current_thread() is not main:
            assert stop.wait(60)
            time.sleep(0.01)
            ended.set()

    monkeypatch.setattr(threading.Thread, "join", interrupted)
    with pytest.raises(KeyboardInterrupt):
        workers.run_parallel(2, work)
    assert ended.is_set()


def test_a_page_buffer_is_aligned_and_as_long_as_asked() -> None:
    for count in (0, 1, 4096, 5000):
        assert len(workers.page_buffer(count)) == count


def test_there_is_at_least_one_core() -> None:
    assert workers.default_threads() >= 1


def test_fewer_threads_do_the_work_where_the_system_gives_no_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Found by faults R16: the threads that had begun went on behind the caller's back, who had raised."""
    start, begun = threading.Thread.start, list[threading.Thread]()

    def start_one(thread: threading.Thread) -> None:
        if begun:
            raise RuntimeError("can't start new thread")
        begun.append(thread)
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", start_one)
    seen = []
    workers.run_parallel(4, lambda _: seen.append(threading.get_ident()))
    assert len(seen) == 2
    assert not begun[0].is_alive()
