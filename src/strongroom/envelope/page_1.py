"""The bytes of a header of format 1: one page, with prelude and slots in sectors (format/envelope.md §1 to §3); pure."""

import struct

from strongroom.envelope.header import (
    BLOCK_BYTES,
    PRELUDE_BYTES,
    Header,
    KeySlot,
    Placement,
    parse_prelude,
)
from strongroom.errors import FormatError
from strongroom.ids import id_bytes, id_text
from strongroom.system.crc32c import crc32c

HEADER_BYTES = BLOCK_BYTES
SECTOR_BYTES = 512
SLOT_OFFSETS = (512, 1024)
SLOT_ALGORITHM = 1

_SLOT = struct.Struct(">QH6x16s32s32s12s48s")
_CRC = struct.Struct(">I")
_RESERVED = slice(10, 16)
_EMPTY_SECTOR = bytes(SECTOR_BYTES)
_ZEROS = bytes(HEADER_BYTES)


def serialize(header: Header) -> bytes:
    """The 4096 bytes of a header page."""
    sectors = [header.prelude.encode().ljust(SECTOR_BYTES, b"\0")]
    sectors += [_EMPTY_SECTOR if slot is None else encode_slot(slot) for slot in header.slots]
    return b"".join(sectors).ljust(HEADER_BYTES, b"\0")


def parse(page: bytes) -> Header:
    """Parse the 4096 bytes of a header page, of format 1 by its prelude; the result is not authenticated.

    Raises:
        FormatError: The page is no header page, or without an intact slot.
    """
    prelude = parse_prelude(page)
    if not _is_zero(page[PRELUDE_BYTES:SECTOR_BYTES]):
        raise FormatError("the prelude has bytes where zeros must be")  # §1.3
    if not _is_zero(page[SLOT_OFFSETS[1] + SECTOR_BYTES :]):
        raise FormatError("the header page has bytes where zeros must be")  # §1.3
    slots, damaged = [], set()
    for number, offset in enumerate(SLOT_OFFSETS):
        sector = page[offset : offset + SECTOR_BYTES]
        slot = parse_slot(sector)
        slots.append(slot)
        if slot is None and sector != _EMPTY_SECTOR:
            damaged.add(number)
    if slots == [None, None]:
        raise FormatError("the header page has no intact key slot")  # §3.4
    return Header(prelude, (slots[0], slots[1]), frozenset(damaged))


def encode_slot(slot: KeySlot) -> bytes:
    """The sector of a slot."""
    record = _SLOT.pack(
        slot.sequence,
        slot.algorithm,
        id_bytes(slot.mek_id),
        slot.placement.encode(),
        slot.salt,
        slot.nonce,
        slot.wrapped_dek,
    )
    return (record + _CRC.pack(crc32c(record))).ljust(SECTOR_BYTES, b"\0")


def parse_slot(sector: bytes) -> KeySlot | None:
    """Parse the slot of a sector; None if the sector is empty or damaged (§3.4).

    Raises:
        FormatError: The slot is intact and of an unknown kind (§3.5). Unlike damage, that must not be passed over: the
            other slot may be older.
    """
    if sector == _EMPTY_SECTOR or not _is_intact(sector):
        return None
    sequence, algorithm, mek, placement, salt, nonce, wrapped = _SLOT.unpack_from(sector)
    if algorithm != SLOT_ALGORITHM or sequence == 0:
        raise FormatError(
            f"key slot of algorithm {algorithm}, sequence {sequence} is not known",
            hint="use a newer release of strongroom",
        )
    return KeySlot(
        sequence, algorithm, id_text(mek), Placement.decode(placement), salt, nonce, wrapped
    )


def _is_intact(sector: bytes) -> bool:
    (stored,) = _CRC.unpack_from(sector, _SLOT.size)
    end = _SLOT.size + _CRC.size
    return (
        _is_zero(sector[end:])
        and _is_zero(sector[_RESERVED])
        and stored == crc32c(sector[: _SLOT.size])
    )


def _is_zero(data: bytes) -> bool:
    return data == _ZEROS[: len(data)]  # ten times faster than any(): rewraps do it for each file
