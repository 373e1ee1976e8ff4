"""The head of a file in an object store, as bytes and back (docs/format/object-store.md §2); pure."""

from typing import Final, NamedTuple

from strongroom.errors import FormatError
from strongroom.filestore.base import HEADER_BYTES

MAGIC: Final = b"strongroom-head1"
ID_BYTES: Final = 16
FIXED_BYTES: Final = len(MAGIC) + 8 + ID_BYTES
MAX_BYTES: Final = FIXED_BYTES + HEADER_BYTES
_LONGEST_BODY: Final = 1 << 62


class Head(NamedTuple):
    """The object by which a file is there.

    Attributes:
        header: The first `HEADER_BYTES` of the file, or all of a shorter one.
        body_bytes: Length of the rest, which lies in an object of its own; 0 without one.
        body_id: The id of that object, 32 hexadecimal digits.
    """

    header: bytes
    body_bytes: int
    body_id: str

    @property
    def size(self) -> int:
        """Length of the whole file in bytes."""
        return len(self.header) + self.body_bytes

    def serialize(self) -> bytes:
        """The bytes of the object."""
        return (
            MAGIC + self.body_bytes.to_bytes(8, "big") + bytes.fromhex(self.body_id) + self.header
        )


def parse(data: bytes) -> Head:
    """The head of its bytes.

    Raises:
        FormatError: The bytes are no head.
    """
    header = data[FIXED_BYTES:]
    body_bytes = int.from_bytes(data[len(MAGIC) : len(MAGIC) + 8], "big")
    is_one = (
        data.startswith(MAGIC)
        and len(data) >= FIXED_BYTES
        and len(header) <= HEADER_BYTES
        and body_bytes <= _LONGEST_BODY
        and (body_bytes == 0 or len(header) == HEADER_BYTES)
    )
    if not is_one:
        raise FormatError(
            "an object of the store that should be the head of a file is none",
            hint="somebody else writes below the store's prefix: give strongroom one of its own",
        )
    return Head(header, body_bytes, data[FIXED_BYTES - ID_BYTES : FIXED_BYTES].hex())
