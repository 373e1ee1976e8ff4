"""The entry that says where the files of extracts are (docs/format/object-store.md §8)."""

import pytest

from strongroom.errors import FormatError
from strongroom.extracts import place
from strongroom.extracts.place import Place

BYTES = b'{"address":"disk","coming":"s3://bucket?region=r1","leaving":"","v":1}'


def test_the_bytes() -> None:
    made = Place("disk", coming="s3://bucket?region=r1")
    assert made.serialize() == BYTES
    assert place.parse(BYTES) == made
    assert place.ENTRY == "extracts/store"


@pytest.mark.parametrize(
    "data",
    [
        b"",
        BYTES.replace(b'"v":1', b'"v":2'),
        BYTES.replace(b'"leaving":"",', b""),
        BYTES.replace(b'"disk"', b"1"),
        BYTES.replace(b",", b", "),
    ],
)
def test_what_is_refused(data: bytes) -> None:
    with pytest.raises(FormatError):
        place.parse(data)
