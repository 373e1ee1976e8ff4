"""The bytes of a header in every format: which one they are, and where a slot lies (format/envelope-2.md §1); pure."""

from strongroom.envelope import page_1, page_2
from strongroom.envelope.header import (
    BLOCK_BYTES,
    FORMAT_1,
    MAGIC,
    Header,
    KeySlot,
    Prelude,
    parse_prelude,
)
from strongroom.errors import FormatError


def serialize(header: Header) -> bytes:
    """The bytes of a header."""
    if header.prelude.format == FORMAT_1:
        return page_1.serialize(header)
    return page_2.serialize(header)


def parse(data: bytes) -> Header:
    """Parse the header at the beginning of a file; the result is not authenticated.

    Args:
        data: The first `MAX_HEADER_BYTES` bytes of the file, or all of a shorter one.

    Raises:
        FormatError: The bytes begin with no header, with one of an unknown version, or with one without an intact slot.
    """
    if len(data) < BLOCK_BYTES:
        raise FormatError(f"a header page has {BLOCK_BYTES} bytes, not {len(data)}")  # §1.4
    found = page_2.parse(data)
    if found is not None:
        return found
    if parse_prelude(data).format != FORMAT_1:
        raise FormatError("the header has no intact block")
    return page_1.parse(data[:BLOCK_BYTES])


def parse_alone(data: bytes) -> Header:
    """Parse a header that comes without its file.

    Raises:
        FormatError: The bytes are no header, or more than one.
    """
    header = parse(data)
    if len(data) != header.prelude.body_offset:
        raise FormatError(f"a header has {header.prelude.body_offset} bytes, not {len(data)}")
    return header


def is_envelope(head: bytes) -> bool:
    """Whether a file that begins with these bytes is an envelope, even if a disk lost its first block."""
    return head.startswith(MAGIC) or page_2.is_intact(head[BLOCK_BYTES : 2 * BLOCK_BYTES])


def place(prelude: Prelude, number: int, slot: KeySlot) -> tuple[int, bytes]:
    """Where a slot is written, and the bytes: a sector of format 1, or a block of format 2 with its copy of the prelude."""
    if prelude.format == FORMAT_1:
        return page_1.SLOT_OFFSETS[number], page_1.encode_slot(slot)
    return number * BLOCK_BYTES, page_2.encode_block(prelude, slot)
