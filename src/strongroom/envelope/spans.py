"""Divides the work on an envelope into units that threads share, and says how many threads are of use.

A unit is a number of whole segments, about a mebibyte: it costs one read, one write, and a seal or an open for each
segment, which still finds the segment in the processor's cache.
"""

import itertools
import threading
from collections.abc import Callable, Iterator

from strongroom.crypto.stream import Layout
from strongroom.crypto.workers import page_buffer, run_parallel
from strongroom.errors import IntegrityError, StorageError
from strongroom.system.positions import Progress, Sink, Source

UNIT_BYTES = (
    1024 * 1024
)  # larger single writes run into the host's page reporting, smaller cost calls
PAGE_BYTES = 4096

_Work = Callable[[int, int], None]
"""Does the work for one unit, given the positions in the plaintext at which the unit begins and ends."""


class Meter:
    """Counts bytes for many threads; if `progress` sleeps to limit the rate, it holds up all of them."""

    def __init__(self, progress: Progress | None) -> None:
        self._progress = progress
        self._lock = threading.Lock()

    def add(self, count: int) -> None:
        """Report that `count` more bytes are done."""
        if self._progress is not None:
            with self._lock:
                self._progress(count)


def segments_per_unit(layout: Layout) -> int:
    """How many segments make a unit."""
    return max(1, UNIT_BYTES // layout.segment_bytes)


def useful_threads(threads: int, layout: Layout, size: int) -> int:
    """The number of threads to use: as many as given, and no more than there are units."""
    return max(1, min(threads, -(-layout.segments(size) // segments_per_unit(layout))))


def read_exactly(source: Source, offset: int, target: memoryview) -> None:
    """Fill the whole buffer.

    Raises:
        StorageError: The source ended before the buffer was full.
    """
    if source.read_into_at(offset, target) != len(target):
        raise StorageError("the file became shorter while it was read", hint="try again")


def copy(
    source: Source, sink: Sink, layout: Layout, *, threads: int, progress: Progress | None = None
) -> int:
    """Copy in units, in parallel; returns the bytes copied.

    Each buffer starts at the same offset within a page as its part of the file does, since the kernel copies aligned
    pages fastest.
    """

    def begin(most: int) -> _Work:
        buffer = page_buffer(most + PAGE_BYTES)

        def work(start: int, end: int) -> None:
            phase = start % PAGE_BYTES
            view = buffer[phase : phase + end - start]
            read_exactly(source, start, view)
            sink.write_at(start, view)

        return work

    return _for_each_unit(source.size, layout, begin, threads, progress)


def compare(
    one: Source, other: Source, layout: Layout, *, threads: int, progress: Progress | None = None
) -> int:
    """Check that two sources hold the same bytes; returns how many.

    Raises:
        IntegrityError: The sources differ.
    """
    if one.size != other.size:
        raise IntegrityError

    def begin(most: int) -> _Work:
        left, right = bytearray(most), page_buffer(most)

        def work(start: int, end: int) -> None:
            count = end - start
            read_exactly(one, start, memoryview(left)[:count])
            read_exactly(other, start, right[:count])
            # as memory: two views are compared number by number, which takes longer than to open both
            if not left.startswith(right[:count]):
                raise IntegrityError

        return work

    return _for_each_unit(one.size, layout, begin, threads, progress)


def drain(source: Source, layout: Layout, *, threads: int, progress: Progress | None = None) -> int:
    """Read a whole source and throw the bytes away, to verify it: a verifying source raises at the first bad segment."""

    def begin(most: int) -> _Work:
        buffer = page_buffer(most)
        return lambda start, end: read_exactly(source, start, buffer[: end - start])

    return _for_each_unit(source.size, layout, begin, threads, progress)


def _for_each_unit(
    size: int,
    layout: Layout,
    begin: Callable[[int], _Work],
    threads: int,
    progress: Progress | None,
) -> int:
    """Do some work for each unit, in parallel; returns the size.

    Each thread calls `begin` once, with the length of the longest unit, and gets the work to do for its units: a
    function that reuses the thread's buffers.
    """
    meter, units = Meter(progress), _claims(layout, size)

    def run(stop: threading.Event) -> None:
        work = begin(min(size, segments_per_unit(layout) * layout.segment_bytes))
        for start, end in units():
            if stop.is_set():
                return
            work(start, end)
            meter.add(end - start)

    run_parallel(useful_threads(threads, layout, size), run)
    return size


def _claims(layout: Layout, size: int) -> Callable[[], Iterator[tuple[int, int]]]:
    """A function that returns an iterator for each thread; together the iterators give each unit's span exactly once."""
    step = segments_per_unit(layout)
    # `next` on this counter is atomic, so threads share it without a lock
    numbers = itertools.count(0, step)
    total = layout.segments(size)

    def spans() -> Iterator[tuple[int, int]]:
        while (first := next(numbers)) < total:
            end = min(layout.plaintext_offset(first + step), size)
            yield layout.plaintext_offset(first), end

    return spans
