"""Whole envelopes: round trips, and everything that an attacker or a disk may do to a body."""

import io
import itertools
import time
from collections.abc import Iterator

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from typing_extensions import override

from strongroom.crypto import rng
from strongroom.crypto.secret import SecretBytes
from strongroom.crypto.stream import Layout, SegmentSealer
from strongroom.envelope import header as headers
from strongroom.envelope import pages, spans, writer
from strongroom.envelope.header import FORMAT_1, FORMATS, Placement, body_aad
from strongroom.envelope.reader import EnvelopeReader, StreamReader, read_header
from strongroom.envelope.writer import SealingWriter, new_sealer, seal_source, stored_bytes
from strongroom.errors import FormatError, IntegrityError, StateError, StorageError
from tests.conftest import Torture
from tests.support.memory_keys import Memory, MemoryKeys, opened, sealed

KEYS = MemoryKeys()
SEGMENT = 4096
FIRST = Layout(SEGMENT).first_capacity
REFUSED = (FormatError, IntegrityError)


@pytest.fixture(scope="module", params=FORMATS, ids=["format 1", "format 2"], autouse=True)
def version(request: pytest.FixtureRequest) -> int:
    """Everything below is asked of both formats."""
    KEYS.version = request.param
    return KEYS.version


def _edges(segment: int) -> list[int]:
    layout = Layout(segment)
    unit = layout.plaintext_offset(spans.segments_per_unit(layout))
    edges = {0, 1, 100}
    for middle in (layout.first_capacity, layout.plaintext_offset(2), layout.plaintext_offset(3)):
        edges |= {middle - 1, middle, middle + 1}
    return sorted(edges | {unit - 1, unit, unit + 1})


def _pattern(size: int) -> bytes:
    return rng.random_bytes(size)


def _stream(envelope: bytes) -> bytes:
    source = io.BytesIO(envelope)
    reader = StreamReader(source.readinto)
    dek = KEYS.open_envelope(reader.header, None).dek
    return b"".join(bytes(piece) for piece in reader.plaintext(dek))


def _written(data: bytes, *, segment: int, threads: int, piece: int) -> bytes:
    header, dek = KEYS.new_envelope(Placement.standalone(), segment_bytes=segment)
    sink = Memory()
    with SealingWriter(header, new_sealer(header, dek), sink, threads=threads) as out:
        for start in range(0, len(data), piece):
            out.write(data[start : start + piece])
        assert out.finish() == len(data)
    return bytes(sink.data)


@pytest.mark.parametrize("threads", [1, 2, 4])
@pytest.mark.parametrize("segment", [4096, 65536, 262144, 1048576])
def test_round_trips_at_the_edges(segment: int, threads: int) -> None:
    """Every writer with every reader, at the sizes where something changes."""
    for size in _edges(segment):
        data = _pattern(size)
        for envelope in (
            sealed(KEYS, data, segment_bytes=segment, threads=threads),
            _written(data, segment=segment, threads=threads, piece=segment - 1),
        ):
            assert len(envelope) == stored_bytes(read_header(Memory(envelope)).prelude, size)
            assert opened(KEYS, envelope) == data
            assert _stream(envelope) == data
            header = read_header(Memory(envelope))
            with EnvelopeReader(
                Memory(envelope), header, KEYS.open_envelope(header, None).dek
            ) as reader:
                copied = Memory()
                assert spans.copy(reader, copied, reader.layout, threads=threads) == size
                assert copied.data == data


@pytest.fixture(scope="module")
def three(version: int) -> bytes:
    """An envelope of three segments, the last short."""
    assert KEYS.version == version
    return sealed(KEYS, _pattern(FIRST + SEGMENT + 100))


@pytest.mark.table
def test_truncation_at_every_length(three: bytes, torture: Torture) -> None:
    """C4: no cut opens; the stream releases only what was verified, and fails.

    A run of every day cuts at every third length, from one of three places on by its seed, and at all of them near the
    ends.
    """
    plaintext = opened(KEYS, three)
    step = 1 if torture.whole else 3
    near = range(256)
    lengths = {*near, *range(torture.seed % step, len(three), step)}
    lengths |= {len(three) - 1 - length for length in near}
    for length in sorted(lengths):
        cut = three[:length]
        with pytest.raises(REFUSED):
            opened(KEYS, cut)
        released = bytearray()
        source = io.BytesIO(cut)
        with pytest.raises(REFUSED):  # noqa: PT012 what came before the error is looked at below
            reader = StreamReader(source.readinto)
            for piece in reader.plaintext(KEYS.open_envelope(reader.header, None).dek):
                released += piece
        assert plaintext.startswith(released)
        assert len(released) in {0, FIRST, FIRST + SEGMENT - 16}


@pytest.mark.table
@pytest.mark.parametrize("size", [0, 1, 100])
def test_truncation_of_small_files(size: int) -> None:
    """C4."""
    envelope = sealed(KEYS, _pattern(size))
    for length in range(len(envelope)):
        with pytest.raises(REFUSED):
            opened(KEYS, envelope[:length])


def test_appended_bytes_are_refused(three: bytes) -> None:
    """C4: 1 to 64 bytes, and a whole segment."""
    for count in [*range(1, 65), SEGMENT]:
        for tail in (bytes(count), three[-count:]):
            with pytest.raises(REFUSED):
                opened(KEYS, three + tail)
            with pytest.raises(REFUSED):
                _stream(three + tail)


@pytest.mark.table
def test_every_byte_of_the_body_counts(three: bytes) -> None:
    """C3: one flipped bit in each byte of stream header, ciphertext and tags."""
    broken = bytearray(three)
    for position in range(KEYS.header_bytes, len(three)):
        broken[position] ^= 1 << position % 8
        with pytest.raises(IntegrityError):
            opened(KEYS, bytes(broken))
        broken[position] ^= 1 << position % 8


def _segments(envelope: bytes) -> list[bytes]:
    body = envelope[KEYS.header_bytes :]
    return [body[start : start + SEGMENT] for start in range(0, len(body), SEGMENT)]


def _rearranged(parts: list[bytes]) -> Iterator[list[bytes]]:
    """Every order, every drop and every duplicate of the segments."""
    for order in itertools.permutations(range(len(parts))):
        yield [parts[index] for index in order]
    for index in range(len(parts)):
        yield parts[:index] + parts[index + 1 :]
        yield [*parts[:index], parts[index], *parts[index:]]


def test_segments_cannot_be_swapped_dropped_or_repeated() -> None:
    """C5."""
    envelope = sealed(KEYS, _pattern(FIRST + 2 * (SEGMENT - 16)))
    parts = _segments(envelope)
    assert len(parts) == 3
    refused = 0
    for other in _rearranged(parts):
        body = b"".join(other)
        if body == envelope[KEYS.header_bytes :]:
            continue
        for read in (opened, lambda _, data: _stream(data)):
            with pytest.raises(REFUSED):
                read(KEYS, envelope[: KEYS.header_bytes] + body)
            refused += 1
    assert refused == 2 * (5 + 6)


def test_the_header_of_one_over_the_body_of_another() -> None:
    """C5: same keys, same sizes, same placement; and segments of one among another's."""
    files = [sealed(KEYS, bytes([number]) * (2 * SEGMENT)) for number in range(6)]
    for one, other in itertools.permutations(files, 2):
        with pytest.raises(IntegrityError):
            opened(KEYS, one[: KEYS.header_bytes] + other[KEYS.header_bytes :])
        mixed = _segments(one)[:1] + _segments(other)[1:]
        with pytest.raises(IntegrityError):
            opened(KEYS, one[: KEYS.header_bytes] + b"".join(mixed))


def test_a_body_of_the_same_dek_under_another_header() -> None:
    """§4.3: even one DEK does not let a body move; the header is part of its associated data."""
    dek = rng.new_key()
    preludes = [
        headers.new_prelude(
            dek, file_id=rng.random_bytes(16), segment_bytes=SEGMENT, version=KEYS.version
        )
        for _ in range(2)
    ]
    one, other = (SegmentSealer(dek, body_aad(each)) for each in preludes)
    assert body_aad(preludes[0]) != body_aad(preludes[1])
    target = bytearray(20)
    one.seal_into(0, memoryview(b"data"), memoryview(target), last=True)
    header = headers.Header(preludes[1], (None, None))
    envelope = bytes(KEYS.header_bytes) + one.stream_header + target
    with pytest.raises(IntegrityError):
        EnvelopeReader(Memory(envelope), header, dek)
    assert other.stream_header != one.stream_header


def test_files_never_share_salt_id_or_key() -> None:
    """C8, §2.6: the same plaintext, a thousand times."""
    seen = set()
    for _ in range(1000):
        envelope = sealed(KEYS, b"same")
        header = pages.parse(envelope[: KEYS.header_bytes])
        slot = header.newest
        seen |= {header.prelude.file_id, slot.salt, slot.nonce, slot.wrapped_dek}
        seen |= {
            envelope[KEYS.header_bytes + 1 : KEYS.header_bytes + 33],
            header.prelude.commitment,
        }
    seen.discard(b"")  # format 2 stores no nonce
    assert len(seen) == (6000 if KEYS.version == FORMAT_1 else 5000)


def test_a_wrong_dek_says_nothing_more_than_a_broken_body(three: bytes) -> None:
    """§7.1: the same words."""
    header = read_header(Memory(three))
    with pytest.raises(IntegrityError) as wrong_key:
        EnvelopeReader(Memory(three), header, rng.new_key())
    with pytest.raises(IntegrityError) as broken:
        opened(KEYS, three[:-1] + bytes([three[-1] ^ 1]))
    assert str(wrong_key.value) == str(broken.value)


class _Shrinking(Memory):
    """A file that loses its end after it was opened."""

    limit = 10**9

    @override
    def read_into_at(self, offset: int, target: memoryview) -> int:
        room = max(0, min(len(target), self.limit - offset))
        return super().read_into_at(offset, target[:room])


def test_a_file_cut_while_it_is_read(three: bytes) -> None:
    source = _Shrinking(three)
    header = read_header(source)
    with EnvelopeReader(source, header, KEYS.open_envelope(header, None).dek) as reader:
        source.limit = KEYS.header_bytes + SEGMENT
        with pytest.raises(IntegrityError):
            reader.read_into_at(FIRST, memoryview(bytearray(SEGMENT - 16)))


def test_a_plaintext_cut_while_it_is_sealed() -> None:
    source = _Shrinking(_pattern(3 * SEGMENT))
    source.limit = SEGMENT
    header, dek = KEYS.new_envelope(Placement.standalone(), segment_bytes=SEGMENT)
    with pytest.raises(StorageError):
        seal_source(header, new_sealer(header, dek), source, Memory(), threads=1)


def test_reads_outside_the_file_give_nothing(three: bytes) -> None:
    header = read_header(Memory(three))
    with EnvelopeReader(Memory(three), header, KEYS.open_envelope(header, None).dek) as reader:
        assert reader.read_into_at(reader.size, memoryview(bytearray(5))) == 0
        assert reader.read_into_at(reader.size + 10**6, memoryview(bytearray(5))) == 0
        assert reader.read_into_at(reader.size - 2, memoryview(bytearray(5))) == 2
        assert reader.read_into_at(0, memoryview(bytearray(0))) == 0


def test_a_failed_read_does_not_poison_the_next(three: bytes) -> None:
    """A segment that did not verify is never served from the cache."""
    source = Memory(three)
    header = read_header(source)
    data = opened(KEYS, three)
    with EnvelopeReader(source, header, KEYS.open_envelope(header, None).dek) as reader:
        target = memoryview(bytearray(10))
        source.data[KEYS.header_bytes + 100] ^= 1
        for _ in range(2):
            with pytest.raises(IntegrityError):
                reader.read_into_at(5, target)
        source.data[KEYS.header_bytes + 100] ^= 1
        assert reader.read_into_at(5, target) == 10
        assert bytes(target) == data[5:15]


def test_short_pipes_are_refused() -> None:
    envelope = sealed(KEYS, b"data")
    for length, error in ((10, FormatError), (KEYS.header_bytes + 20, IntegrityError)):
        with pytest.raises(error):
            _stream(envelope[:length])


def test_progress_and_sizes_add_up() -> None:
    done: list[int] = []
    data = _pattern(3 * 1024 * 1024)
    header, dek = KEYS.new_envelope(Placement.standalone())
    sink = Memory()
    sealer = new_sealer(header, dek)
    size = seal_source(header, sealer, Memory(data), sink, threads=2, progress=done.append)
    assert size == sum(done) == len(data)


def test_compare_finds_what_differs() -> None:
    layout = Layout(SEGMENT)
    data = _pattern(3 * 1024 * 1024)
    other = data[:-1] + bytes([data[-1] ^ 1])
    assert spans.compare(Memory(data), Memory(data), layout, threads=2) == len(data)
    for wrong in (other, data[:-1]):
        with pytest.raises(IntegrityError):
            spans.compare(Memory(data), Memory(wrong), layout, threads=2)


def test_drain_reads_everything(three: bytes) -> None:
    header = read_header(Memory(three))
    with EnvelopeReader(Memory(three), header, KEYS.open_envelope(header, None).dek) as reader:
        assert spans.drain(reader, reader.layout, threads=2) == reader.size


class _Full(Memory):
    """A disk with room for the header page only."""

    @override
    def write_at(self, offset: int, data: bytes | memoryview) -> None:
        if offset:
            raise StorageError("no space left on device")
        super().write_at(offset, data)


@pytest.mark.parametrize("threads", [1, 2])
def test_a_full_disk_is_told_by_the_next_call(threads: int) -> None:
    header, dek = KEYS.new_envelope(Placement.standalone())
    with SealingWriter(header, new_sealer(header, dek), _Full(), threads=threads) as out:
        with pytest.raises(StorageError):
            out.write(bytes(20 * 1024 * 1024))
        out.discard()


@pytest.mark.parametrize("threads", [1, 2])
def test_a_full_disk_is_told_at_the_end(threads: int) -> None:
    header, dek = KEYS.new_envelope(Placement.standalone())
    out = SealingWriter(header, new_sealer(header, dek), _Full(), threads=threads)
    with pytest.raises(StorageError):  # noqa: PT012 which of the two calls finds out depends on the threads
        out.write(bytes(1024 * 1024 + 1))
        out.finish()


def test_errors_stop_all_threads_of_a_parallel_seal() -> None:
    header, dek = KEYS.new_envelope(Placement.standalone())
    data = bytes(8 * 1024 * 1024)
    with pytest.raises(StorageError):
        seal_source(header, new_sealer(header, dek), Memory(data), _Full(), threads=3)


def test_a_finished_writer_takes_no_more() -> None:
    header, dek = KEYS.new_envelope(Placement.standalone())
    with SealingWriter(header, new_sealer(header, dek), Memory()) as out:
        out.finish()
        with pytest.raises(StateError):
            out.write(b"x")
        with pytest.raises(StateError):
            out.finish()


def test_a_discarded_writer_writes_no_last_segment() -> None:
    """What is left is no envelope: its last segment is missing."""
    header, dek = KEYS.new_envelope(Placement.standalone())
    sink = Memory()
    with SealingWriter(header, new_sealer(header, dek), sink, threads=2) as out:
        out.write(bytes(3 * 1024 * 1024))
    with pytest.raises(IntegrityError):
        opened(KEYS, bytes(sink.data))


def test_each_unit_of_a_stream_is_written_once() -> None:
    """§4.7 over a long stream in odd pieces: the writer claims, and nothing is sealed twice."""
    claimed: list[int] = []

    class _Watching(SegmentSealer):
        @override
        def seal_into(
            self, index: int, data: memoryview, target: memoryview, *, last: bool
        ) -> None:
            claimed.append(index)
            super().seal_into(index, data, target, last=last)

    header, dek = KEYS.new_envelope(Placement.standalone(), segment_bytes=65536)
    sealer = _Watching(dek, body_aad(header.prelude))
    with writer.SealingWriter(header, sealer, Memory(), threads=3) as out:
        for _ in range(100):
            out.write(bytes(77_777))
        out.finish()
    assert sorted(claimed) == list(range(Layout(65536).segments(7_777_700)))


def test_secret_bytes_make_the_same_stream_key_as_the_reference() -> None:
    """C14: against AESGCM and HKDF of the library, not through our stream module."""
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.kdf.hkdf import HKDF

    dek = bytes(range(32))
    prelude = headers.new_prelude(
        SecretBytes(dek), file_id=bytes(16), segment_bytes=SEGMENT, version=KEYS.version
    )
    sealer = SegmentSealer(SecretBytes(dek), body_aad(prelude))
    target = bytearray(21)
    sealer.seal_into(0, memoryview(b"plain"), memoryview(target), last=True)
    salt, prefix = sealer.stream_header[1:33], sealer.stream_header[33:]
    key = HKDF(SHA256(), 32, salt, body_aad(prelude)).derive(dek)
    assert AESGCM(key).decrypt(prefix + bytes(4) + b"\1", bytes(target), None) == b"plain"


@pytest.mark.parametrize("work", ["copy", "compare"])
def test_one_failing_thread_stops_the_others(work: str) -> None:
    """Nobody reads a terabyte to the end after the first error."""
    layout, units = Layout(SEGMENT), 400
    size = units * spans.UNIT_BYTES
    reads: list[int] = []

    class _Zeros(Memory):
        @override
        @property
        def size(self) -> int:
            return size

        @override
        def read_into_at(self, offset: int, target: memoryview) -> int:
            reads.append(offset)
            if len(reads) == 1:
                raise StorageError("input/output error")
            # as a disk does: else one thread reads all before the other is let say that it failed
            time.sleep(0.001)
            return len(target)

    source = _Zeros()
    calls = {
        "copy": lambda: spans.drain(source, layout, threads=2),
        "compare": lambda: spans.compare(source, source, layout, threads=2),
    }
    with pytest.raises(StorageError):
        calls[work]()
    assert len(reads) < units
