"""Threads over segments, and the page-aligned buffers that they reuse."""

import mmap
import os
import threading
from collections.abc import Callable


def page_buffer(count: int) -> memoryview:
    """A page-aligned buffer of `count` bytes; copies into unaligned buffers can be ten times slower."""
    return memoryview(mmap.mmap(-1, max(count, 1)))[:count]


def default_threads() -> int:
    """The number of cores that this process may use."""
    return len(os.sched_getaffinity(0))


def run_parallel(threads: int, work: Callable[[threading.Event], None]) -> None:
    """Run `work` in `threads` threads at most, the caller's among them, until all return.

    When a thread fails, the event is set, and the other threads stop when they check it next. The first error is
    raised.
    """
    stop = threading.Event()
    if threads == 1:
        work(stop)
        return
    errors: list[BaseException] = []

    def guarded() -> None:
        try:
            work(stop)
        except BaseException as error:  # noqa: BLE001 carried to the caller's thread, raised there
            errors.append(error)
            stop.set()

    others = _started(threads - 1, guarded)
    guarded()
    try:
        _join(others)
    except BaseException:
        # Ctrl-C while waiting: the other threads must not go on writing after this call has ended
        stop.set()
        _join(others)
        raise
    if errors:
        raise errors[0]


def _started(count: int, target: Callable[[], None]) -> list[threading.Thread]:
    """So many threads, or fewer where the system gives no more: those that run do the work of all."""
    started: list[threading.Thread] = []
    for _ in range(count):
        thread = threading.Thread(target=target, daemon=True)
        try:
            thread.start()
        except (RuntimeError, MemoryError):
            break
        started.append(thread)
    return started


def _join(threads: list[threading.Thread]) -> None:
    for thread in threads:
        thread.join()
