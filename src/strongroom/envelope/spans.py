"""Bytes at positions: the two ports of the data path, and the units of work that threads share.

A unit is some whole segments, about a mebibyte: one read, one seal or open per segment, one write.
"""

import itertools
import threading
from collections.abc import Callable, Iterator
from typing import Protocol

from strongroom.crypto.stream import Layout
from strongroom.crypto.workers import page_buffer, run_parallel
from strongroom.errors import IntegrityError, StorageError

UNIT_BYTES = (
    1024 * 1024
)  # larger single writes run into the host's page reporting, smaller cost calls
PAGE_BYTES = 4096

Progress = Callable[[int], None]


class Source(Protocol):
    """Something of a known size to read from, in any order and from any thread."""

    @property
    def size(self) -> int:
        """Bytes in it."""
        ...

    def read_into_at(self, offset: int, target: memoryview) -> int:
        """Fill the buffer from this offset on; less only at the end."""
        ...


class Sink(Protocol):
    """Something to write to, in any order and from any thread."""

    def write_at(self, offset: int, data: memoryview) -> None:
        """Write the whole buffer at this offset."""
        ...


class Meter:
    """Counts bytes for many threads; a throttle that sleeps in `progress` holds all of them."""

    def __init__(self, progress: Progress | None) -> None:
        self._progress = progress
        self._lock = threading.Lock()

    def add(self, count: int) -> None:
        """So many bytes are done."""
        if self._progress is not None:
            with self._lock:
                self._progress(count)


def segments_per_unit(layout: Layout) -> int:
    """How many segments make a unit."""
    return max(1, UNIT_BYTES // layout.segment_bytes)


def useful_threads(threads: int, layout: Layout, size: int) -> int:
    """No more threads than units."""
    return max(1, min(threads, -(-layout.segments(size) // segments_per_unit(layout))))


def read_exactly(source: Source, offset: int, target: memoryview) -> None:
    """Fill the whole buffer.

    Raises:
        StorageError: The source ended before.
    """
    if source.read_into_at(offset, target) != len(target):
        raise StorageError("the file became shorter while it was read", hint="try again")


def copy(
    source: Source, sink: Sink, layout: Layout, *, threads: int, progress: Progress | None = None
) -> int:
    """Copy in units, in parallel; returns the bytes copied.

    Memory phase is file phase (start modulo page size), for the kernel copies aligned pages fastest.
    """
    meter = Meter(progress)
    for_each = _claims(layout, source.size)

    def work(stop: threading.Event) -> None:
        buffer = page_buffer(_unit_buffer_bytes(layout, source.size) + PAGE_BYTES)
        for start, end in for_each():
            if stop.is_set():
                return
            phase = start % PAGE_BYTES
            view = buffer[phase : phase + end - start]
            read_exactly(source, start, view)
            sink.write_at(start, view)
            meter.add(len(view))

    run_parallel(useful_threads(threads, layout, source.size), work)
    return source.size


def compare(
    one: Source, other: Source, layout: Layout, *, threads: int, progress: Progress | None = None
) -> int:
    """Check that both hold the same bytes; returns how many.

    Raises:
        IntegrityError: They do not.
    """
    if one.size != other.size:
        raise IntegrityError
    meter = Meter(progress)
    for_each = _claims(layout, one.size)

    def work(stop: threading.Event) -> None:
        left, right = (page_buffer(_unit_buffer_bytes(layout, one.size)) for _ in range(2))
        for start, end in for_each():
            if stop.is_set():
                return
            read_exactly(one, start, left[: end - start])
            read_exactly(other, start, right[: end - start])
            if bytes(left[: end - start]) != right[: end - start]:
                raise IntegrityError
            meter.add(end - start)

    run_parallel(useful_threads(threads, layout, one.size), work)
    return one.size


def drain(source: Source, layout: Layout, *, threads: int, progress: Progress | None = None) -> int:
    """Read everything, for its own sake: a verifying source raises where it does not verify."""

    class _Nothing:
        def write_at(self, offset: int, data: memoryview) -> None:
            del offset, data

    return copy(source, _Nothing(), layout, threads=threads, progress=progress)


def _unit_buffer_bytes(layout: Layout, size: int) -> int:
    return min(size, segments_per_unit(layout) * layout.segment_bytes)


def _claims(layout: Layout, size: int) -> Callable[[], Iterator[tuple[int, int]]]:
    """An iterator for each thread; together they give every unit's span of the plaintext once."""
    step = segments_per_unit(layout)
    numbers = itertools.count(
        0, step
    )  # next() on it is one step of the interpreter: threads share it
    total = layout.segments(size)

    def spans() -> Iterator[tuple[int, int]]:
        while (first := next(numbers)) < total:
            end = min(layout.plaintext_offset(first + step), size)
            yield layout.plaintext_offset(first), end

    return spans
