"""The header page of an encrypted file: prelude and two key slots (format/envelope.md §1 to §3).

Pure: no key is held, nothing is read or written. A parsed header is well formed and not authenticated: it comes from a
file that an attacker may have written. Opening a slot authenticates it, by the slot's tag and the commitment
(`envelope.slots`).
"""

import hashlib
import hmac
import struct
from dataclasses import dataclass, replace

from strongroom.crypto import kdf, labels
from strongroom.crypto.secret import SecretBytes
from strongroom.errors import FormatError, IntegrityError
from strongroom.ids import id_bytes, id_text
from strongroom.system.crc32c import crc32c

HEADER_BYTES = 4096
SECTOR_BYTES = 512
SLOT_OFFSETS = (512, 1024)
FORMAT = 1
SUITE = 1
SLOT_ALGORITHM = 1
DEFAULT_SEGMENT_BYTES = 256 * 1024
MIN_SEGMENT_BYTES = 4096
MAX_SEGMENT_BYTES = 4 * 1024 * 1024

MAGIC = b"\x89STRONG\n"

FILE_ID_BYTES = 16
COMMITMENT_BYTES = 32
SALT_BYTES = 32
NONCE_BYTES = 12
WRAPPED_DEK_BYTES = 48
PLACEMENT_BYTES = 32

_PRELUDE = struct.Struct(">8sHHI16s32s")
_SLOT = struct.Struct(">QH6x16s32s32s12s48s")
_CRC = struct.Struct(">I")
_PREFIX = struct.Struct(">QH")
_RESERVED = slice(10, 16)
_EMPTY_SECTOR = bytes(SECTOR_BYTES)
_ZEROS = bytes(HEADER_BYTES)
_NIL_PLACEMENT = bytes(PLACEMENT_BYTES)
_MAX_SEQUENCE = 2**64 - 1


@dataclass(frozen=True)
class Placement:
    """The site and the extract to which a file belongs (§3.7); both empty for a standalone file."""

    site_id: str
    extract_id: str

    @classmethod
    def standalone(cls) -> "Placement":
        """The placement of a file that belongs to no site."""
        return cls("", "")

    @property
    def is_standalone(self) -> bool:
        """Whether the file belongs to no site."""
        return not self.site_id and not self.extract_id

    def encode(self) -> bytes:
        """The 32 bytes to which a slot is bound."""
        if self.is_standalone:
            return _NIL_PLACEMENT
        return id_bytes(self.site_id) + id_bytes(self.extract_id)

    @classmethod
    def decode(cls, raw: bytes) -> "Placement":
        """The placement of 32 bytes that `encode` gave."""
        if raw == _NIL_PLACEMENT:
            return cls.standalone()
        return cls(id_text(raw[:16]), id_text(raw[16:]))

    def describe(self) -> str:
        """The placement in words, for messages."""
        if self.is_standalone:
            return "no site (a standalone file)"
        return f"site {self.site_id} extract {self.extract_id}"


@dataclass(frozen=True)
class Prelude:
    """The part of a header that never changes in the life of a file (§2)."""

    format: int
    suite: int
    segment_bytes: int
    file_id: bytes
    commitment: bytes

    def encode(self) -> bytes:
        """The 64 bytes that are stored, and bound by each slot (§3.2)."""
        return _PRELUDE.pack(
            MAGIC, self.format, self.suite, self.segment_bytes, self.file_id, self.commitment
        )


@dataclass(frozen=True)
class KeySlot:
    """A wrap of the file's data key (DEK) by a MEK (§3)."""

    sequence: int
    algorithm: int
    mek_id: str
    placement: Placement
    salt: bytes
    nonce: bytes
    wrapped_dek: bytes

    def encode(self) -> bytes:
        """The slot's sector."""
        record = _SLOT.pack(
            self.sequence,
            self.algorithm,
            id_bytes(self.mek_id),
            self.placement.encode(),
            self.salt,
            self.nonce,
            self.wrapped_dek,
        )
        return (record + _CRC.pack(crc32c(record))).ljust(SECTOR_BYTES, b"\0")


@dataclass(frozen=True)
class Header:
    """A header page.

    Attributes:
        prelude: The part that never changes.
        slots: The two slots; None if empty or damaged.
        damaged: Numbers of the slots that are damaged.
    """

    prelude: Prelude
    slots: tuple[KeySlot | None, KeySlot | None]
    damaged: frozenset[int] = frozenset()

    @property
    def newest(self) -> KeySlot:
        """The slot to try first (§3.6)."""
        return self.intact[0][1]

    @property
    def intact(self) -> tuple[tuple[int, KeySlot], ...]:
        """The intact slots with their numbers, newest first (§3.6)."""
        found = [(number, slot) for number, slot in enumerate(self.slots) if slot is not None]
        return tuple(sorted(found, key=lambda item: -item[1].sequence))

    @property
    def mek_ids(self) -> frozenset[str]:
        """The MEKs of both slots; the file needs one of them, and after a crash it may be either (§5.7)."""
        return frozenset(slot.mek_id for _, slot in self.intact)

    def only(self, number: int) -> "Header":
        """This header without its other slot, to open exactly this one."""
        slot = self.slots[number]
        return replace(self, slots=(slot, None) if number == 0 else (None, slot))

    def with_slot_at(self, number: int, slot: KeySlot) -> "Header":
        """This header with one slot replaced."""
        slots = (slot, self.slots[1]) if number == 0 else (self.slots[0], slot)
        return replace(self, slots=slots, damaged=self.damaged - {number})


def new_prelude(
    dek: SecretBytes, *, file_id: bytes, segment_bytes: int = DEFAULT_SEGMENT_BYTES
) -> Prelude:
    """The prelude of a new file.

    Raises:
        FormatError: The segment size is not allowed (§2.2).
    """
    _check_segment_bytes(segment_bytes)
    if len(file_id) != FILE_ID_BYTES:
        raise FormatError(f"a file id has {FILE_ID_BYTES} bytes, not {len(file_id)}")
    return Prelude(FORMAT, SUITE, segment_bytes, file_id, _commitment(dek, file_id))


def check_commitment(prelude: Prelude, dek: SecretBytes) -> None:
    """Refuse a DEK that the prelude does not commit to (§2.5).

    AES-GCM alone does not commit to its key: an attacker can make a file whose segments verify under two keys, and the
    two slots could then show two readers different plaintexts.

    Raises:
        IntegrityError: The DEK is another one.
    """
    if not hmac.compare_digest(prelude.commitment, _commitment(dek, prelude.file_id)):
        raise IntegrityError


def body_aad(prelude: Prelude) -> bytes:
    """The associated data of the body (§4.3)."""
    return hashlib.sha256(labels.BODY + prelude.encode()[len(MAGIC) :]).digest()


def serialize(header: Header) -> bytes:
    """The 4096 bytes of a header page."""
    sectors = [header.prelude.encode().ljust(SECTOR_BYTES, b"\0")]
    sectors += [_EMPTY_SECTOR if slot is None else slot.encode() for slot in header.slots]
    return b"".join(sectors).ljust(HEADER_BYTES, b"\0")


def parse(page: bytes) -> Header:
    """Parse a header page; the result is not authenticated.

    Raises:
        FormatError: The page is no header page, of an unknown version, or without an intact slot.
    """
    if len(page) != HEADER_BYTES:
        raise FormatError(f"a header page has {HEADER_BYTES} bytes, not {len(page)}")
    prelude = parse_prelude(page[:SECTOR_BYTES])
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


def parse_prelude(sector: bytes) -> Prelude:
    """Parse the prelude, sector 0 of the page (§2)."""
    magic, version, suite, segment_bytes, file_id, commitment = _PRELUDE.unpack_from(sector)
    if magic != MAGIC:  # §2.1, in this order
        raise FormatError("not an encrypted file of strongroom")
    if version != FORMAT:
        raise FormatError(
            f"envelope format {version} is not known", hint="use a newer release of strongroom"
        )
    if suite != SUITE:
        raise FormatError(
            f"envelope suite {suite} is not known", hint="use a newer release of strongroom"
        )
    _check_segment_bytes(segment_bytes)
    if not _is_zero(sector[_PRELUDE.size :]):
        raise FormatError("the prelude has bytes where zeros must be")  # §1.3
    return Prelude(version, suite, segment_bytes, file_id, commitment)


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


def slot_aad_prefix(sequence: int, algorithm: int) -> bytes:
    """Sequence and algorithm as they are stored in a slot, for the slot's AAD (§3.2)."""
    return _PREFIX.pack(sequence, algorithm)


def next_sequence(header: Header) -> int:
    """The sequence of the next wrap (§5.3).

    Raises:
        FormatError: The sequence is at its maximum, which no file reaches: the header was made by hand.
    """
    highest = header.newest.sequence
    if highest >= _MAX_SEQUENCE:
        raise FormatError("the key slot's sequence is exhausted")
    return highest + 1


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


def _check_segment_bytes(count: int) -> None:
    if not MIN_SEGMENT_BYTES <= count <= MAX_SEGMENT_BYTES or count & (count - 1):
        raise FormatError(
            f"segments of {count} bytes are not allowed: a power of two from {MIN_SEGMENT_BYTES} to"
            f" {MAX_SEGMENT_BYTES}"
        )


def _commitment(dek: SecretBytes, file_id: bytes) -> bytes:
    return kdf.hkdf(dek, salt=b"", info=labels.COMMIT + file_id, length=COMMITMENT_BYTES).reveal()
