"""Writes envelopes: a source of known size, or a stream of unknown length (format/envelope.md §4).

It never writes a plaintext byte, and never continues a stream that was cut: whoever fails begins anew, with a new DEK.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

from strongroom.crypto.secret import SecretBytes
from strongroom.crypto.stream import STREAM_HEADER_BYTES, TAG_BYTES, Layout, SegmentSealer
from strongroom.crypto.workers import page_buffer, run_parallel
from strongroom.envelope import spans
from strongroom.envelope.header import HEADER_BYTES, Header, body_aad, serialize
from strongroom.envelope.spans import Meter, Progress, Sink, Source
from strongroom.errors import StateError


def stored_bytes(plaintext_bytes: int, segment_bytes: int) -> int:
    """The size of an envelope's file."""
    return HEADER_BYTES + Layout(segment_bytes).body_bytes(plaintext_bytes)


def new_sealer(header: Header, dek: SecretBytes) -> SegmentSealer:
    """A sealer with a fresh salt for the body of this header."""
    return SegmentSealer(dek, body_aad(header.prelude))


def seal_source(
    header: Header,
    sealer: SegmentSealer,
    source: Source,
    sink: Sink,
    *,
    threads: int,
    progress: Progress | None = None,
) -> int:
    """Write the whole envelope of a source of known size; returns the plaintext bytes.

    Args:
        header: Goes into the first page.
        sealer: Fresh; of this header.
        source: The plaintext.
        sink: The new file.
        threads: At most so many work.
        progress: Told of plaintext bytes as they are done.
    """
    layout = Layout(header.prelude.segment_bytes)
    size, meter, total = source.size, Meter(progress), layout.segments(source.size)
    step = spans.segments_per_unit(layout)
    sink.write_at(0, memoryview(serialize(header)))

    def work(stop: threading.Event) -> None:
        unit = _Unit.allocate(layout, min(step, total))
        while not stop.is_set():
            first = sealer.claim(step)
            if first >= total:
                return
            start = layout.plaintext_offset(first)
            unit.filled = min(layout.plaintext_offset(first + step), size) - start
            spans.read_exactly(source, start, unit.plain[: unit.filled])
            sealed = unit.seal(sealer, first, last=first + step >= total)
            sink.write_at(HEADER_BYTES + first * layout.segment_bytes, sealed)
            meter.add(unit.filled)

    run_parallel(spans.useful_threads(threads, layout, size), work)
    return size


@dataclass
class _Unit:
    """The two buffers of some segments, reused from unit to unit."""

    layout: Layout
    plain: memoryview
    sealed: memoryview
    filled: int = 0
    first: int = 0

    @classmethod
    def allocate(cls, layout: Layout, segments: int) -> "_Unit":
        count = segments * layout.segment_bytes
        return cls(layout, page_buffer(count), page_buffer(count))

    def seal(self, sealer: SegmentSealer, first: int, *, last: bool) -> memoryview:
        """The ciphertext of what is filled in, the stream header before segment 0."""
        position = done = index = 0
        if first == 0:
            self.sealed[:STREAM_HEADER_BYTES] = sealer.stream_header
            position = STREAM_HEADER_BYTES
        while done < self.filled or index == 0:
            number = first + index
            full = self.layout.capacity if number else self.layout.first_capacity
            count = min(full, self.filled - done)
            end = position + count + TAG_BYTES
            sealer.seal_into(
                number,
                self.plain[done : done + count],
                self.sealed[position:end],
                last=last and done + count == self.filled,
            )
            position, done, index = end, done + count, index + 1
        return self.sealed[:position]


class SealingWriter:
    """An envelope of a plaintext that comes in pieces of any size.

    With `threads` > 1, full units are sealed and written behind the caller's back, in any order; with 1 all happens in
    `write`, in order, as a pipe needs it. What failed behind is raised by the next call.
    """

    def __init__(
        self,
        header: Header,
        sealer: SegmentSealer,
        sink: Sink,
        *,
        threads: int = 1,
        progress: Progress | None = None,
    ) -> None:
        self.segment_bytes = header.prelude.segment_bytes
        self._layout = Layout(self.segment_bytes)
        self._sealer, self._sink, self._threads = sealer, sink, threads
        self._meter = Meter(progress)
        self._step = spans.segments_per_unit(self._layout)
        self._unit = _Unit.allocate(self._layout, self._step)
        self._room = self._claim()
        self._crew: _Crew | None = None
        self._closed = False
        self.plaintext_bytes = 0
        sink.write_at(0, memoryview(serialize(header)))

    def write(self, data: bytes | bytearray | memoryview) -> int:
        """Take plaintext, all of it."""
        if self._closed:
            raise StateError("the envelope is finished already")
        view, position = memoryview(data).cast("B"), 0
        while position < len(view):
            if self._unit.filled == self._room:  # full, and not the last: more comes
                self._hand_over()
            count = min(self._room - self._unit.filled, len(view) - position)
            filled = self._unit.filled
            self._unit.plain[filled : filled + count] = view[position : position + count]
            self._unit.filled += count
            position += count
        self.plaintext_bytes += len(view)
        return len(view)

    def finish(self) -> int:
        """Seal the last segment; returns the plaintext bytes. The sink then has everything."""
        if self._closed:
            raise StateError("the envelope is finished already")
        self._closed = True
        crew, self._crew = self._crew, None
        if crew is not None:
            crew.close()
        self._seal(self._unit, last=True)
        return self.plaintext_bytes

    def discard(self) -> None:
        """Stop without an end: what the sink has is worth nothing. Harmless after `finish`."""
        self._closed = True
        crew, self._crew = self._crew, None
        if crew is not None:
            crew.discard()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.discard()

    def _claim(self) -> int:
        """Begin the next unit; returns how much plaintext it takes."""
        first = self._sealer.claim(self._step)
        self._unit.first, self._unit.filled = first, 0
        layout = self._layout
        return layout.plaintext_offset(first + self._step) - layout.plaintext_offset(first)

    def _hand_over(self) -> None:
        if self._threads == 1:
            self._seal(self._unit, last=False)
        else:
            if self._crew is None:
                spare = [_Unit.allocate(self._layout, self._step) for _ in range(self._threads)]
                self._crew = _Crew(self._seal_full, spare)
            self._unit = self._crew.exchange(self._unit)
        self._room = self._claim()

    def _seal_full(self, unit: _Unit) -> None:
        self._seal(unit, last=False)

    def _seal(self, unit: _Unit, *, last: bool) -> None:
        sealed = unit.seal(self._sealer, unit.first, last=last)
        self._sink.write_at(HEADER_BYTES + unit.first * self._layout.segment_bytes, sealed)
        self._meter.add(unit.filled)


class _Crew:
    """Threads that take full units and give empty ones back."""

    def __init__(self, work: Callable[[_Unit], None], spare: list[_Unit]) -> None:
        import queue  # only streams of unknown length need it

        self._full: queue.SimpleQueue[_Unit | None] = queue.SimpleQueue()
        self._free: queue.SimpleQueue[_Unit] = queue.SimpleQueue()
        self._errors: list[BaseException] = []
        self._work = work
        self._discarding = False
        for unit in spare:
            self._free.put(unit)
        self._threads = [threading.Thread(target=self._run, daemon=True) for _ in spare]
        for thread in self._threads:
            thread.start()

    def exchange(self, unit: _Unit) -> _Unit:
        self._check()
        self._full.put(unit)
        return self._free.get()

    def close(self) -> None:
        self._stop()
        self._check()

    def discard(self) -> None:
        self._discarding = True
        self._stop()

    def _stop(self) -> None:
        for _ in self._threads:
            self._full.put(None)
        for thread in self._threads:
            thread.join()

    def _check(self) -> None:
        if self._errors:
            raise self._errors[0]

    def _run(self) -> None:
        while (unit := self._full.get()) is not None:
            try:
                if not self._errors and not self._discarding:
                    self._work(unit)
            except BaseException as error:  # noqa: BLE001 raised in the caller's thread by _check
                self._errors.append(error)
            self._free.put(unit)
