"""Writes envelopes: a source of known size, or a stream of unknown length (format/envelope.md §4).

No byte of plaintext is ever written. An envelope that could not be finished is never continued: its writer begins anew
with a new DEK, since encrypting another segment under the same number and key would repeat a nonce.
"""

import threading
from typing import Self

from strongroom.crypto.secret import SecretBytes
from strongroom.crypto.stream import STREAM_HEADER_BYTES, TAG_BYTES, Layout, SegmentSealer
from strongroom.crypto.workers import page_buffer, run_parallel
from strongroom.envelope import spans
from strongroom.envelope.header import Header, Prelude, body_aad
from strongroom.envelope.pages import serialize
from strongroom.envelope.spans import Meter
from strongroom.errors import StateError
from strongroom.system.behind import WriteBehind
from strongroom.system.positions import Progress, Sink, Source

# the caller fills the first, the thread writes the second, and the third waits in between
_BUFFERS = 3


def stored_bytes(prelude: Prelude, plaintext_bytes: int) -> int:
    """The size of an envelope in bytes, header included."""
    return prelude.body_offset + Layout(prelude.segment_bytes).body_bytes(plaintext_bytes)


def new_sealer(header: Header, dek: SecretBytes) -> SegmentSealer:
    """A sealer with a fresh salt for the body of this header."""
    most = Layout(header.prelude.segment_bytes).most_segments
    return SegmentSealer(dek, body_aad(header.prelude), most=most)


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
        header: The header, written as the first page.
        sealer: A sealer for this header that has sealed nothing yet.
        source: The plaintext.
        sink: The new file.
        threads: How many threads work at most.
        progress: Called with the number of plaintext bytes, after each unit.
    """
    layout, size = Layout(header.prelude.segment_bytes), source.size
    total, step = layout.segments(size), spans.segments_per_unit(layout)
    meter = Meter(progress)
    sink.write_at(0, memoryview(serialize(header)))

    def work(stop: threading.Event) -> None:
        buffer = page_buffer(min(step * layout.segment_bytes, layout.body_bytes(size)))
        while not stop.is_set():
            first = sealer.claim(step)
            if first >= total:
                return
            unit = _Unit(sealer, header.prelude, first, buffer)
            for index in range(first, min(first + step, total)):
                start = layout.plaintext_offset(index)
                unit.filled = min(layout.plaintext_offset(index + 1), size) - start
                spans.read_exactly(source, start, unit.slot[: unit.filled])
                unit.seal(last=index + 1 == total)
            sink.write_at(unit.offset, unit.sealed)
            meter.add(unit.plaintext_bytes)

    run_parallel(spans.useful_threads(threads, layout, size), work)
    return size


class _Unit:
    """Neighbouring segments in one buffer; the ciphertext of a segment replaces its plaintext, and the tag follows.

    Attributes:
        slot: The part of the buffer that takes the plaintext of the present segment.
        filled: How many bytes of the slot are filled.
        plaintext_bytes: How many bytes of plaintext are sealed already.
        buffer: The whole buffer.
    """

    def __init__(
        self, sealer: SegmentSealer, prelude: Prelude, first: int, buffer: memoryview
    ) -> None:
        self._sealer, self._layout, self.buffer = sealer, Layout(prelude.segment_bytes), buffer
        self._body = prelude.body_offset
        self._first = self._index = first
        self._position = self.plaintext_bytes = self.filled = 0
        if first == 0:
            buffer[:STREAM_HEADER_BYTES] = sealer.stream_header
            self._position = STREAM_HEADER_BYTES
        self.slot = self._next_slot()

    def seal(self, *, last: bool) -> None:
        """Seal the present segment, and begin the next."""
        end = self._position + self.filled
        sealed = self.buffer[self._position : end + TAG_BYTES]
        self._sealer.seal_into(self._index, self.buffer[self._position : end], sealed, last=last)
        self._index += 1
        self._position = end + TAG_BYTES
        self.plaintext_bytes += self.filled
        self.filled = 0
        self.slot = self._next_slot()

    def is_full(self, segments: int) -> bool:
        """Whether the unit has as many sealed segments as it is to have."""
        return self._index - self._first == segments

    @property
    def offset(self) -> int:
        """The position of the unit's first segment in the file."""
        return self._body + self._first * self._layout.segment_bytes

    @property
    def sealed(self) -> memoryview:
        """The part of the buffer that is ciphertext already."""
        return self.buffer[: self._position]

    def _next_slot(self) -> memoryview:
        room = self._layout.capacity if self._index else self._layout.first_capacity
        return self.buffer[self._position : self._position + room]


class SealingWriter:
    """An envelope of a plaintext that comes in pieces of any size.

    `write` seals full segments, and they are written in order, as a pipe needs it. With `threads` > 1 a background
    thread writes them, and an error there is raised by the next call.
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
        self.prelude, self._sealer = header.prelude, sealer
        layout = Layout(self.prelude.segment_bytes)
        self._step = spans.segments_per_unit(layout)
        self._closed = False
        self.plaintext_bytes = 0
        sink.write_at(0, memoryview(serialize(header)))
        buffer_bytes = self._step * layout.segment_bytes
        buffers = [page_buffer(buffer_bytes) for _ in range(_BUFFERS if threads > 1 else 1)]
        self._behind = WriteBehind(sink, buffers, is_threaded=threads > 1, progress=progress)
        self._unit = self._new_unit()

    def write(self, data: bytes | bytearray | memoryview) -> int:
        """Take all bytes of a piece of plaintext; returns their number."""
        if self._closed:
            raise StateError("the envelope is finished already")
        view, position = memoryview(data).cast("B"), 0
        while position < len(view):
            unit = self._unit
            # a full segment that is not the last, since more plaintext follows
            if unit.filled == len(unit.slot):
                self._seal()
                continue
            count = min(len(unit.slot) - unit.filled, len(view) - position)
            unit.slot[unit.filled : unit.filled + count] = view[position : position + count]
            unit.filled += count
            position += count
        self.plaintext_bytes += len(view)
        return len(view)

    def finish(self) -> int:
        """Seal the last segment, after which the envelope is whole; returns the number of plaintext bytes."""
        if self._closed:
            raise StateError("the envelope is finished already")
        self._closed = True
        self._unit.seal(last=True)
        self._hand_over()
        self._behind.finish()
        return self.plaintext_bytes

    def discard(self) -> None:
        """Stop without sealing a last segment, so that no reader accepts the file; does nothing after `finish`."""
        self._closed = True
        self._behind.discard()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.discard()

    def _seal(self) -> None:
        self._unit.seal(last=False)
        if self._unit.is_full(self._step):
            self._hand_over()
            self._unit = self._new_unit()

    def _hand_over(self) -> None:
        unit = self._unit
        self._behind.put(unit.buffer, unit.offset, unit.sealed, unit.plaintext_bytes)

    def _new_unit(self) -> _Unit:
        first = self._sealer.claim(self._step)
        return _Unit(self._sealer, self.prelude, first, self._behind.take())
