"""The bytes of docs/format/object-store.md §2, and what is refused."""

import pytest

from strongroom.errors import FormatError
from strongroom.filestore.base import HEADER_BYTES
from strongroom.objectstore import head
from strongroom.objectstore.head import Head

ID = "00112233445566778899aabbccddeeff"
BYTES = b"strongroom-head1" + (5).to_bytes(8, "big") + bytes.fromhex(ID) + b"h" * HEADER_BYTES


def test_the_bytes() -> None:
    made = Head(b"h" * HEADER_BYTES, 5, ID)
    assert made.serialize() == BYTES
    assert head.parse(BYTES) == made
    assert made.size == HEADER_BYTES + 5
    assert len(BYTES) == head.MAX_BYTES


def test_a_short_file() -> None:
    made = Head(b"x", 0, ID)
    assert head.parse(made.serialize()) == made


@pytest.mark.parametrize(
    "data",
    [
        b"",
        BYTES[: head.FIXED_BYTES],
        BYTES + b"x",
        BYTES[:-1],
        b"strongroom-head2" + BYTES[16:],
        BYTES[:16] + b"\xff" * 8 + BYTES[24:],
    ],
    ids=[
        "empty",
        "no header",
        "too long",
        "too short for a body",
        "another version",
        "a huge body",
    ],
)
def test_what_is_no_head(data: bytes) -> None:
    with pytest.raises(FormatError):
        head.parse(data)
