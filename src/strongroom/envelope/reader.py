"""Reads envelopes, at any position of a seekable file or as a stream (format/envelope.md §4).

No byte of plaintext is returned before the tag of its segment is verified. The size is returned only after the last
segment is verified: otherwise a file that was cut at the end of a segment would pass for a shorter one.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Self

from strongroom.crypto.secret import SecretBytes
from strongroom.crypto.stream import STREAM_HEADER_BYTES, TAG_BYTES, Layout, SegmentOpener
from strongroom.crypto.workers import page_buffer
from strongroom.envelope.header import BLOCK_BYTES, MAX_HEADER_BYTES, Header, body_aad
from strongroom.envelope.pages import parse
from strongroom.errors import FormatError, IntegrityError
from strongroom.system.positions import Source, Span

_NONE = -1
# small enough that a segment is still in the processor's cache when it is used
_READ_BYTES = 256 * 1024
_FIRST_BYTES = 1024 * 1024
"""So much of what is wanted is read before its first byte is given: a piece of an answer."""


def read_header(source: Source) -> Header:
    """Parse the header of a file; the result is not authenticated.

    Raises:
        FormatError: The file has no header page.
    """
    return parse(_head(lambda room: source.read_into_at(0, room)))


def _head(read_into: Callable[[memoryview], int]) -> bytes:
    """As many bytes as the longest header has, or all of a shorter file: a short one may be of format 1."""
    room = bytearray(MAX_HEADER_BYTES)
    count = read_into(memoryview(room))
    if count < BLOCK_BYTES:
        raise FormatError("not an encrypted file of strongroom: shorter than a header page")  # §1.4
    return bytes(room[:count])


def first_reads(header: Header, size: int, wanted: Span | None) -> list[Span]:
    """The parts of a file that are read before a plaintext's first byte can be given, in no order.

    Args:
        header: The header of the file.
        size: Length of the file in bytes.
        wanted: The part of the plaintext that is wanted, of which the first bytes count; None if there is none as yet.

    Raises:
        IntegrityError: No envelope has this length.
    """
    body, layout = header.prelude.body_offset, Layout(header.prelude.segment_bytes)
    plain = layout.plaintext_bytes(max(size - body, 0))

    def segments(first: int, last: int) -> Span:
        begin = body + layout.body_offset(first)
        return begin, min(size, body + layout.body_offset(last + 1))

    last = layout.segments(plain) - 1
    spans = [(body, body + STREAM_HEADER_BYTES), segments(last, last)]
    if wanted is not None:
        start, stop = wanted
        stop = min(stop, start + _FIRST_BYTES, plain)
        if start < stop:
            spans.append(segments(layout.segment_at(start), layout.segment_at(stop - 1)))
    return spans


@dataclass
class _Scratch:
    """The buffers of one thread: ciphertext of some segments, plaintext of one segment, and the number of that one."""

    sealed: memoryview
    plain: memoryview
    cached: int = _NONE


class EnvelopeReader:
    """The plaintext of an envelope as a source: any range, from any thread.

    The last segment is authenticated before the constructor returns (§4.9), so that a cut file is refused at once.

    Args:
        source: The whole file, header page and body, through a single handle.
        header: The header of that file.
        dek: The data key of that file.

    Raises:
        IntegrityError: The key is wrong, or the file was cut or changed.
    """

    def __init__(self, source: Source, header: Header, dek: SecretBytes) -> None:
        self.layout = Layout(header.prelude.segment_bytes)
        self._source, self._body = source, header.prelude.body_offset
        self._size = self.layout.plaintext_bytes(max(source.size - self._body, 0))
        self._last = self.layout.segments(self._size) - 1
        self._batch = max(1, min(_READ_BYTES // self.layout.segment_bytes, self._last + 1))
        stream_header = bytearray(STREAM_HEADER_BYTES)
        self._read_sealed(self._body, memoryview(stream_header))
        self._opener = SegmentOpener(dek, body_aad(header.prelude), bytes(stream_header))
        # buffers that no thread uses now; append and pop of a list are atomic, so threads share it without a lock
        self._idle: list[_Scratch] = []
        scratch = self._new_scratch()
        self._open_segment(self._last, scratch)
        self._idle.append(scratch)

    @property
    def size(self) -> int:
        """Length of the plaintext in bytes."""
        return self._size

    def read_into_at(self, offset: int, target: memoryview) -> int:
        """Fill the buffer with verified plaintext from this offset on; less only at the end.

        Raises:
            IntegrityError: A segment does not verify; the caller must discard the buffer's content.
        """
        end = min(offset + len(target), self._size)
        if offset >= end:
            return 0
        scratch = self._idle.pop() if self._idle else self._new_scratch()
        position = offset
        while position < end:
            position += self._read_some(position, end, target[position - offset :], scratch)
        self._idle.append(scratch)
        return end - offset

    def _read_some(self, position: int, end: int, target: memoryview, scratch: _Scratch) -> int:
        index = self.layout.segment_at(position)
        start, stop = self._span(index)
        if position == start and stop <= end and scratch.cached != index:
            return self._open_whole(index, end, target, scratch)
        if scratch.cached != index:
            self._open_segment(index, scratch)
        count = min(stop, end) - position
        target[:count] = scratch.plain[position - start : position - start + count]
        return count

    def _open_whole(self, index: int, end: int, target: memoryview, scratch: _Scratch) -> int:
        """Decrypt as many whole segments as the buffers take, directly into the target."""
        count = 1
        while (
            count < self._batch
            and index + count <= self._last
            and self._span(index + count)[1] <= end
        ):
            count += 1
        sealed = self._read_segments(index, count, scratch)
        position = done = 0
        for number in range(index, index + count):
            start, stop = self._span(number)
            length = stop - start
            self._opener.open_into(
                number,
                sealed[position : position + length + TAG_BYTES],
                target[done : done + length],
                last=number == self._last,
            )
            position, done = position + length + TAG_BYTES, done + length
        return done

    def _open_segment(self, index: int, scratch: _Scratch) -> None:
        start, stop = self._span(index)
        # if the segment does not verify, its plaintext must not pass for a cached one afterwards
        scratch.cached = _NONE
        sealed = self._read_segments(index, 1, scratch)
        self._opener.open_into(
            index, sealed, scratch.plain[: stop - start], last=index == self._last
        )
        scratch.cached = index

    def _read_segments(self, index: int, count: int, scratch: _Scratch) -> memoryview:
        """The ciphertext of neighbouring segments."""
        start, stop = self._span(index)[0], self._span(index + count - 1)[1]
        sealed = scratch.sealed[: stop - start + TAG_BYTES * count]
        self._read_sealed(self._body + self.layout.body_offset(index), sealed)
        return sealed

    def _read_sealed(self, offset: int, target: memoryview) -> None:
        if self._source.read_into_at(offset, target) != len(target):
            raise IntegrityError  # the file became shorter since its size was read

    def _span(self, index: int) -> tuple[int, int]:
        stop = self.layout.plaintext_offset(index + 1)
        return self.layout.plaintext_offset(index), min(stop, self._size)

    def _new_scratch(self) -> _Scratch:
        segment = self.layout.segment_bytes
        return _Scratch(page_buffer(segment * self._batch), page_buffer(segment))

    def close(self) -> None:
        """Drop the buffers with plaintext; the source stays open, and its owner closes it."""
        self._idle.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _Ahead:
    """A pipe of which some bytes were read already; calling it fills a buffer, as the pipe does."""

    def __init__(self, data: bytes, read_into: Callable[[memoryview], int]) -> None:
        self._left, self._read_into = data, read_into

    def __call__(self, target: memoryview) -> int:
        count = min(len(self._left), len(target))
        target[:count] = self._left[:count]
        self._left = self._left[count:]
        return count if count == len(target) else count + self._read_into(target[count:])


class StreamReader:
    """The plaintext of an envelope that comes through a pipe, in verified segments.

    Args:
        read_into: Fills a buffer and returns the number of bytes, fewer only at the end.
    """

    def __init__(self, read_into: Callable[[memoryview], int]) -> None:
        head = _head(read_into)
        self.header = parse(head)
        self._read_into = _Ahead(head[self.header.prelude.body_offset :], read_into)

    def plaintext(self, dek: SecretBytes) -> Iterator[memoryview]:
        """Pieces of verified plaintext; the next piece overwrites the one before.

        Raises:
            IntegrityError: The key is wrong, or the stream was changed or cut. The pieces before are genuine, and
                incomplete.
        """
        layout = Layout(self.header.prelude.segment_bytes)
        stream_header = memoryview(bytearray(STREAM_HEADER_BYTES))
        if self._read_into(stream_header) != STREAM_HEADER_BYTES:
            raise IntegrityError
        opener = SegmentOpener(dek, body_aad(self.header.prelude), bytes(stream_header))
        plain = page_buffer(layout.segment_bytes)
        for index, sealed, last in self._segments(layout):
            if len(sealed) < TAG_BYTES or (index and len(sealed) == TAG_BYTES):
                raise IntegrityError  # §4.8
            target = plain[: len(sealed) - TAG_BYTES]
            opener.open_into(index, sealed, target, last=last)
            yield target

    def _segments(self, layout: Layout) -> Iterator[tuple[int, memoryview, bool]]:
        """The number and the ciphertext of each segment, and whether the input ends after it."""
        # A segment is given only when the next one was read, or the end was: its nonce says whether it is the last.
        size = layout.segment_bytes
        current, ahead = page_buffer(size), page_buffer(size)
        room = size - STREAM_HEADER_BYTES
        count, index = self._read_into(current[:room]), 0
        while True:
            following = self._read_into(ahead) if count == room else 0
            yield index, current[:count], following == 0
            if not following:
                return
            current, ahead = ahead, current
            count, room, index = following, size, index + 1
