"""Segments of the streaming AEAD, without files and threads (format/envelope.md §4)."""

import pytest

from strongroom.crypto import stream
from strongroom.crypto.secret import SecretBytes
from strongroom.crypto.stream import Layout, SegmentOpener, SegmentSealer
from strongroom.errors import IntegrityError, StateError

KEY = SecretBytes(bytes(range(32)))
AAD = b"what it is"
SEGMENT = 4096
LAYOUT = Layout(SEGMENT)


def test_every_length_has_one_layout_and_back() -> None:
    """§4.5: sizes and offsets follow from each other."""
    for size in range(3 * SEGMENT):
        body = LAYOUT.body_bytes(size)
        assert LAYOUT.plaintext_bytes(body) == size
        assert LAYOUT.segments(size) == max(1, -(-body // SEGMENT))


def test_lengths_that_no_plaintext_gives_are_refused() -> None:
    """§4.8."""
    valid = {LAYOUT.body_bytes(size) for size in range(3 * SEGMENT)}
    for length in set(range(2 * SEGMENT)) - valid:
        with pytest.raises(IntegrityError):
            LAYOUT.plaintext_bytes(length)


def test_each_byte_lies_in_the_segment_that_says_so() -> None:
    for offset in range(3 * SEGMENT):
        index = LAYOUT.segment_at(offset)
        begin, end = LAYOUT.plaintext_offset(index), LAYOUT.plaintext_offset(index + 1)
        assert begin <= offset < end


def test_segments_begin_where_tink_puts_them() -> None:
    assert [LAYOUT.body_offset(index) for index in range(3)] == [40, SEGMENT, 2 * SEGMENT]


def test_a_segment_number_is_claimed_once() -> None:
    """§4.7."""
    sealer = SegmentSealer(KEY, AAD)
    assert [sealer.claim(3), sealer.claim(), sealer.claim(2)] == [0, 3, 4]


@pytest.mark.parametrize(
    ("segment", "most"), [(4096, 2**32), (8192, 2**32), (256 * 1024, 2**27), (4 << 20, 2**23)]
)
def test_a_stream_ends_at_its_last_number(segment: int, most: int) -> None:
    """§4.7: never a number twice, and never more bytes under one key than 2^45."""
    sealer = SegmentSealer(KEY, AAD, most=Layout(segment).most_segments)
    sealer.claim(most)
    with pytest.raises(StateError, match=f"at most {most} segments"):
        sealer.claim()


def test_salt_and_prefix_are_fresh() -> None:
    """§2.6."""
    headers = {SegmentSealer(KEY, AAD).stream_header for _ in range(1000)}
    assert len({header[1:33] for header in headers}) == 1000
    assert len({header[33:] for header in headers}) == 1000


def _seal(index: int, data: bytes, *, last: bool) -> tuple[bytes, bytes]:
    sealer = SegmentSealer(KEY, AAD, salt=bytes(32), prefix=bytes(7))
    sealed = bytearray(len(data) + stream.TAG_BYTES)
    sealer.seal_into(index, memoryview(data), memoryview(sealed), last=last)
    return sealer.stream_header, bytes(sealed)


def test_a_segment_opens_only_in_its_place() -> None:
    """§4.6: number and end are part of the nonce."""
    header, sealed = _seal(1, b"data", last=False)
    opener = SegmentOpener(KEY, AAD, header)
    target = bytearray(4)
    opener.open_into(1, memoryview(sealed), memoryview(target), last=False)
    assert bytes(target) == b"data"
    for index, last in ((0, False), (2, False), (1, True)):
        with pytest.raises(IntegrityError):
            opener.open_into(index, memoryview(sealed), memoryview(target), last=last)


def test_what_does_not_verify_leaves_no_plaintext_in_the_buffer() -> None:
    """§4.10."""
    header, sealed = _seal(0, b"secret data", last=True)
    broken = sealed[:-1] + bytes([sealed[-1] ^ 1])
    target = bytearray(b"\xff" * 11)
    with pytest.raises(IntegrityError):
        SegmentOpener(KEY, AAD, header).open_into(
            0, memoryview(broken), memoryview(target), last=True
        )
    assert bytes(target) == bytes(11)


@pytest.mark.parametrize("header", [b"", bytes(40), b"\x28" + bytes(38), b"\x27" + bytes(39)])
def test_a_wrong_stream_header_is_refused(header: bytes) -> None:
    """§4.2."""
    with pytest.raises(IntegrityError):
        SegmentOpener(KEY, AAD, header)
