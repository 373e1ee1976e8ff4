"""Any sequence of reads gives what `io.BytesIO` gives (C10); any way of writing gives what any other gives."""

import io

from hypothesis import given, settings
from hypothesis import strategies as st

from strongroom.crypto import rng
from strongroom.crypto.stream import Layout
from strongroom.envelope.header import BLOCK_BYTES, FORMATS, Placement
from strongroom.envelope.reader import EnvelopeReader, read_header
from strongroom.envelope.writer import SealingWriter, new_sealer
from strongroom.errors import FormatError, IntegrityError
from strongroom.extracts.stored import VaultReader
from strongroom.system.source_file import SourceFile
from tests.support.memory_keys import Memory, MemoryKeys, opened, sealed

BOTH = tuple(MemoryKeys(version) for version in FORMATS)
SEGMENT = 4096
LAYOUT = Layout(SEGMENT)
PLAIN = rng.random_bytes(5 * SEGMENT + 123)

_edges = st.sampled_from(
    [LAYOUT.plaintext_offset(index) + d for index in range(7) for d in (-1, 0, 1)]
)
_position = st.one_of(_edges, st.integers(0, len(PLAIN) + 100)).filter(lambda value: value >= 0)
_size = st.one_of(
    st.integers(0, 100), st.integers(0, len(PLAIN) + 100), st.just(SEGMENT - 16), st.just(SEGMENT)
)
_operation = st.one_of(
    st.tuples(st.just("seek"), _position),
    st.tuples(st.just("end"), st.integers(0, len(PLAIN))),
    st.tuples(st.just("read"), _size),
)


class _Handle(Memory):
    def close(self) -> None:
        pass


def _open(keys: MemoryKeys, envelope: bytes) -> SourceFile:
    source = _Handle(envelope)
    header = read_header(source)
    reader = EnvelopeReader(source, header, keys.open_envelope(header, None).dek)
    return VaultReader(reader, source).as_file()


@given(
    keys=st.sampled_from(BOTH),
    size=st.sampled_from([0, 1, 4040, 4041, len(PLAIN)]),
    operations=st.lists(_operation),
)
def test_reads_as_from_memory(
    keys: MemoryKeys, size: int, operations: list[tuple[str, int]]
) -> None:
    """C10."""
    plain = PLAIN[:size]
    model = io.BytesIO(plain)
    with _open(keys, sealed(keys, plain)) as file:
        for name, value in operations:
            if name == "seek":
                assert file.seek(value) == model.seek(value)
            elif name == "end":
                back = min(value, size)
                assert file.seek(-back, io.SEEK_END) == model.seek(-back, io.SEEK_END)
            else:
                assert file.read(value) == model.read(value)
            assert file.tell() == model.tell()


@given(
    keys=st.sampled_from(BOTH),
    pieces=st.lists(st.integers(0, 3 * SEGMENT), max_size=8),
    segment=st.sampled_from([4096, 8192, 1 << 20]),
    threads=st.integers(1, 3),
)
@settings(max_examples=30)
def test_pieces_do_not_matter(
    keys: MemoryKeys, pieces: list[int], segment: int, threads: int
) -> None:
    """A stream in any pieces is the same plaintext."""
    header, dek = keys.new_envelope(Placement.standalone(), segment_bytes=segment)
    sink, plain = Memory(), bytearray()
    with SealingWriter(header, new_sealer(header, dek), sink, threads=threads) as out:
        for size in pieces:
            piece = rng.random_bytes(size)
            plain += piece
            assert out.write(piece) == size
        out.finish()
    assert opened(keys, bytes(sink.data)) == plain


ENVELOPES = tuple(sealed(keys, PLAIN) for keys in BOTH)


@given(which=st.sampled_from([0, 1]), change=st.binary(min_size=1, max_size=64), data=st.data())
def test_no_change_of_the_file_gives_other_bytes(
    which: int, change: bytes, data: st.DataObject
) -> None:
    """C3: refused, or (in a slot or a block that is not needed) the very same plaintext."""
    keys, envelope = BOTH[which], ENVELOPES[which]
    start = data.draw(st.integers(0, len(envelope) - 1))
    damaged = bytearray(envelope)
    damaged[start : start + len(change)] = change
    try:
        assert opened(keys, bytes(damaged)) == PLAIN
    except (FormatError, IntegrityError):
        assert damaged != envelope
    else:
        assert damaged == envelope or start < keys.header_bytes


@given(data=st.data())
def test_a_format_2_file_opens_whatever_one_block_of_its_header_holds(data: st.DataObject) -> None:
    """findings X8: zeros, old bytes, or anything else that is in the place of a block that was lost."""
    keys, envelope = BOTH[1], bytearray(ENVELOPES[1])
    number = data.draw(st.sampled_from([0, 1]))
    start = number * BLOCK_BYTES + data.draw(st.integers(0, BLOCK_BYTES - 1))
    end = data.draw(st.integers(start, (number + 1) * BLOCK_BYTES))
    envelope[start:end] = data.draw(st.binary(min_size=end - start, max_size=end - start))
    assert opened(keys, bytes(envelope)) == PLAIN


@given(which=st.sampled_from([0, 1]), data=st.data())
def test_no_cut_opens(which: int, data: st.DataObject) -> None:
    """C4."""
    length = data.draw(st.integers(0, len(ENVELOPES[which]) - 1))
    try:
        opened(BOTH[which], ENVELOPES[which][:length])
    except (FormatError, IntegrityError):
        return
    raise AssertionError(length)
