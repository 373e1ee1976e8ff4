"""Threads over segments, and the page-aligned buffers that they reuse."""

import mmap
import os
import threading
from collections.abc import Callable


def page_buffer(count: int) -> memoryview:
    """A page-aligned buffer of `count` bytes; unlucky alignment costs copies a factor of ten."""
    return memoryview(mmap.mmap(-1, max(count, 1)))[:count]


def default_threads() -> int:
    """As many threads as this process may use cores."""
    return len(os.sched_getaffinity(0))


def run_parallel(threads: int, work: Callable[[threading.Event], None]) -> None:
    """Run `work` in `threads` threads, the caller's among them, until all return.

    The event is set as soon as one of them fails; the others stop at their next look at it. The first error is raised.
    """
    stop = threading.Event()
    errors: list[BaseException] = []

    def guarded() -> None:
        try:
            work(stop)
        except BaseException as error:  # noqa: BLE001 carried to the caller's thread, raised there
            errors.append(error)
            stop.set()

    others = [threading.Thread(target=guarded, daemon=True) for _ in range(threads - 1)]
    for thread in others:
        thread.start()
    guarded()
    try:
        _join(others)
    except BaseException:  # an interrupt while waiting: nobody may write on after we have left
        stop.set()
        _join(others)
        raise
    if errors:
        raise errors[0]


def _join(threads: list[threading.Thread]) -> None:
    for thread in threads:
        thread.join()
