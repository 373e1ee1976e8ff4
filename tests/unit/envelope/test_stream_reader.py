"""One plaintext has one envelope: an empty segment behind a full one is refused (format/envelope.md §4.8; findings M3)."""

import io
from collections.abc import Sequence

import pytest

from strongroom.crypto.stream import SegmentSealer
from strongroom.envelope.header import FORMATS, Placement, body_aad
from strongroom.envelope.pages import serialize
from strongroom.envelope.reader import StreamReader
from strongroom.errors import IntegrityError
from tests.support.memory_keys import Memory, MemoryKeys, opened

SEGMENT = 4096
FIRST = SEGMENT - 40 - 16


@pytest.fixture(params=FORMATS, ids=["format 1", "format 2"])
def keys(request: pytest.FixtureRequest) -> MemoryKeys:
    return MemoryKeys(request.param)


def envelope(keys: MemoryKeys, pieces: Sequence[bytes]) -> bytes:
    """An envelope of exactly these segments, whatever a writer would make of them."""
    header, dek = keys.new_envelope(Placement.standalone(), segment_bytes=SEGMENT)
    sealer = SegmentSealer(dek, body_aad(header.prelude))
    body = bytearray(sealer.stream_header)
    for piece in pieces:
        index, sealed = sealer.claim(), bytearray(len(piece) + 16)
        last = index == len(pieces) - 1
        sealer.seal_into(index, memoryview(piece), memoryview(sealed), last=last)
        body += sealed
    return serialize(header) + bytes(body)


def streamed(keys: MemoryKeys, data: bytes) -> bytes:
    source, place = Memory(data), 0

    def read_into(target: memoryview) -> int:
        nonlocal place
        count = source.read_into_at(place, target)
        place += count
        return count

    reader = StreamReader(read_into)
    dek = keys.open_envelope(reader.header, Placement.standalone()).dek
    return b"".join(bytes(piece) for piece in reader.plaintext(dek))


@pytest.mark.parametrize("pieces", [[b""], [b"x"], [b"x" * FIRST], [b"x" * FIRST, b"y"]])
def test_what_a_writer_makes_is_read(keys: MemoryKeys, pieces: list[bytes]) -> None:
    data = envelope(keys, pieces)
    assert streamed(keys, data) == opened(keys, data) == b"".join(pieces)


@pytest.mark.parametrize("before", [[b"x" * FIRST], [b"x" * FIRST, b"y" * (SEGMENT - 16)]])
def test_an_empty_segment_behind_a_full_one_is_refused(
    keys: MemoryKeys, before: list[bytes]
) -> None:
    """Its tag is right: only the length says that it is none."""
    data = envelope(keys, [*before, b""])
    assert len(data) == keys.header_bytes + SEGMENT * len(before) + 16
    with pytest.raises(IntegrityError):
        streamed(keys, data)
    with pytest.raises(IntegrityError):
        opened(keys, data)


@pytest.mark.parametrize("most", [1, 7, 4096, 5000])
def test_a_pipe_that_gives_little_at_a_time_is_read(keys: MemoryKeys, most: int) -> None:
    """What was read too far for the header comes first, in whatever pieces it is asked for."""
    data = envelope(keys, [b"x" * FIRST, b"y" * 100])
    source = io.BytesIO(data)

    def read_into(target: memoryview) -> int:
        done = 0
        while done < len(target) and (count := source.readinto(target[done : done + most])):
            done += count
        return done

    reader = StreamReader(read_into)
    dek = keys.open_envelope(reader.header, None).dek
    assert b"".join(bytes(one) for one in reader.plaintext(dek)) == b"x" * FIRST + b"y" * 100
