"""Any sequence of reads gives what `io.BytesIO` gives (C10); any way of writing gives what any other gives."""

import io

from hypothesis import given, settings
from hypothesis import strategies as st

from strongroom.crypto import rng
from strongroom.crypto.stream import Layout
from strongroom.envelope.header import HEADER_BYTES, Placement
from strongroom.envelope.reader import EnvelopeReader, read_header
from strongroom.envelope.writer import SealingWriter, new_sealer
from strongroom.errors import FormatError, IntegrityError
from strongroom.extracts.stored import VaultReader
from strongroom.system.source_file import SourceFile
from tests.support.memory_keys import Memory, MemoryKeys, opened, sealed

KEYS = MemoryKeys()
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


def _open(envelope: bytes) -> SourceFile:
    source = _Handle(envelope)
    header = read_header(source)
    reader = EnvelopeReader(source, header, KEYS.open_envelope(header, None))
    return VaultReader(reader, source).as_file()


@given(size=st.sampled_from([0, 1, 4040, 4041, len(PLAIN)]), operations=st.lists(_operation))
def test_reads_as_from_memory(size: int, operations: list[tuple[str, int]]) -> None:
    """C10."""
    plain = PLAIN[:size]
    model = io.BytesIO(plain)
    with _open(sealed(KEYS, plain)) as file:
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
    pieces=st.lists(st.integers(0, 3 * SEGMENT), max_size=8),
    segment=st.sampled_from([4096, 8192, 1 << 20]),
    threads=st.integers(1, 3),
)
@settings(max_examples=30)
def test_pieces_do_not_matter(pieces: list[int], segment: int, threads: int) -> None:
    """A stream in any pieces is the same plaintext."""
    header, dek = KEYS.new_envelope(Placement.standalone(), segment_bytes=segment)
    sink, plain = Memory(), bytearray()
    with SealingWriter(header, new_sealer(header, dek), sink, threads=threads) as out:
        for size in pieces:
            piece = rng.random_bytes(size)
            plain += piece
            assert out.write(piece) == size
        out.finish()
    assert opened(KEYS, bytes(sink.data)) == plain


ENVELOPE = sealed(KEYS, PLAIN)


@given(
    start=st.integers(0, len(ENVELOPE) - 1),
    change=st.binary(min_size=1, max_size=64),
)
def test_no_change_of_the_file_gives_other_bytes(start: int, change: bytes) -> None:
    """C3: refused, or (in a slot that is not needed) the very same plaintext."""
    damaged = bytearray(ENVELOPE)
    damaged[start : start + len(change)] = change
    try:
        assert opened(KEYS, bytes(damaged)) == PLAIN
    except (FormatError, IntegrityError):
        assert damaged != ENVELOPE
    else:
        assert damaged == ENVELOPE or start < HEADER_BYTES


@given(length=st.integers(0, len(ENVELOPE) - 1))
def test_no_cut_opens(length: int) -> None:
    """C4."""
    try:
        opened(KEYS, ENVELOPE[:length])
    except (FormatError, IntegrityError):
        return
    raise AssertionError(length)
