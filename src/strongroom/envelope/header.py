"""The header of an encrypted file as values: prelude and two key slots (format/envelope.md §1 to §3, envelope-2.md).

Pure: no key is held, nothing is read or written. A parsed header is well formed and not authenticated: it comes from a
file that an attacker may have written. Opening a slot authenticates that slot and the prelude, by the slot's tag and the
commitment (`envelope.slots`). Its bytes are the affair of `envelope.pages`.
"""

import hashlib
import hmac
import struct
from dataclasses import dataclass, replace

from strongroom.crypto import kdf, labels
from strongroom.crypto.secret import SecretBytes
from strongroom.errors import FormatError, IntegrityError
from strongroom.ids import id_bytes, id_text

BLOCK_BYTES = 4096
"""The unit of a header: what a disk writes as a whole, or loses as a whole in a power failure (envelope-2.md §1.1)."""
MAX_HEADER_BYTES = 2 * BLOCK_BYTES
FORMAT_1 = 1
FORMAT_2 = 2
FORMATS = (FORMAT_1, FORMAT_2)
SUITE = 1
DEFAULT_SEGMENT_BYTES = 256 * 1024
MIN_SEGMENT_BYTES = 4096
MAX_SEGMENT_BYTES = 4 * 1024 * 1024

MAGIC = b"\x89STRONG\n"

FILE_ID_BYTES = 16
COMMITMENT_BYTES = 32
PLACEMENT_BYTES = 32
PRELUDE_BYTES = 64

_PRELUDE = struct.Struct(">8sHHI16s32s")
_NIL_PLACEMENT = bytes(PLACEMENT_BYTES)
_MAX_SEQUENCE = 2**64 - 1
_COMMIT = {FORMAT_1: labels.COMMIT, FORMAT_2: labels.COMMIT_2}


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

    @property
    def body_offset(self) -> int:
        """Length of the header, behind which the body begins: a block in format 1, and two in format 2."""
        return BLOCK_BYTES * self.format


@dataclass(frozen=True)
class KeySlot:
    """A wrap of the file's data key (DEK) by a MEK (§3).

    Attributes:
        sequence: From 1; higher is newer.
        algorithm: The algorithm of the wrap.
        mek_id: The MEK.
        placement: The site and extract to which the file belongs.
        salt: The salt of the wrap key.
        nonce: The nonce of the wrap; empty in format 2, which derives it.
        wrapped_dek: Ciphertext and tag.
    """

    sequence: int
    algorithm: int
    mek_id: str
    placement: Placement
    salt: bytes
    nonce: bytes
    wrapped_dek: bytes


@dataclass(frozen=True)
class UnknownSlot:
    """An intact slot of an algorithm that this release does not know (envelope-2.md §3.5); only format 2 has such.

    Attributes:
        algorithm: The algorithm of the wrap.
        mek_id: The key that it names, in the place that all algorithms have for it.
        block: The block as it is stored.
    """

    algorithm: int
    mek_id: str
    block: bytes


@dataclass(frozen=True)
class Header:
    """A header.

    Attributes:
        prelude: The part that never changes.
        slots: The two slots; None if empty, damaged or unknown.
        damaged: Numbers of the slots that are damaged.
        unknown: The slots of unknown algorithms; None for each that is none.
    """

    prelude: Prelude
    slots: tuple[KeySlot | None, KeySlot | None]
    damaged: frozenset[int] = frozenset()
    unknown: tuple[UnknownSlot | None, UnknownSlot | None] = (None, None)

    @property
    def newest(self) -> KeySlot:
        """The slot to try first (§3.6).

        Nothing in it is authenticated if the header was read from a file: `open_envelope` says which slot opened.
        """
        return self.intact[0][1]

    @property
    def intact(self) -> tuple[tuple[int, KeySlot], ...]:
        """The intact slots with their numbers, newest first (§3.6)."""
        found = [(number, slot) for number, slot in enumerate(self.slots) if slot is not None]
        return tuple(sorted(found, key=lambda item: -item[1].sequence))

    @property
    def mek_ids(self) -> frozenset[str]:
        """The MEKs of both slots; the file needs one of them, and after a crash it may be either (§5.7)."""
        others = (slot.mek_id for slot in self.unknown if slot is not None)
        return frozenset(slot.mek_id for _, slot in self.intact).union(others)

    def only(self, number: int) -> "Header":
        """This header without its other slot, to open exactly this one."""
        slot = self.slots[number]
        return replace(self, slots=(slot, None) if number == 0 else (None, slot))

    def with_slot_at(self, number: int, slot: KeySlot) -> "Header":
        """This header with one slot replaced."""
        slots = (slot, self.slots[1]) if number == 0 else (self.slots[0], slot)
        unknown = (None, self.unknown[1]) if number == 0 else (self.unknown[0], None)
        return replace(self, slots=slots, damaged=self.damaged - {number}, unknown=unknown)


def new_prelude(
    dek: SecretBytes,
    *,
    file_id: bytes,
    segment_bytes: int = DEFAULT_SEGMENT_BYTES,
    version: int = FORMAT_1,
) -> Prelude:
    """The prelude of a new file.

    Args:
        dek: The file's data key, to which the prelude commits.
        file_id: 16 fresh random bytes.
        segment_bytes: The size of the body's segments.
        version: The format of the file.

    Raises:
        FormatError: The segment size is not allowed (§2.2).
    """
    _check_segment_bytes(segment_bytes)
    if len(file_id) != FILE_ID_BYTES:
        raise FormatError(f"a file id has {FILE_ID_BYTES} bytes, not {len(file_id)}")
    return Prelude(version, SUITE, segment_bytes, file_id, _commitment(dek, version, file_id))


def check_commitment(prelude: Prelude, dek: SecretBytes) -> None:
    """Refuse a DEK that the prelude does not commit to (§2.5).

    AES-GCM alone does not commit to its key: an attacker can make a file whose segments verify under two keys, and the
    two slots could then show two readers different plaintexts.

    Raises:
        IntegrityError: The DEK is another one.
    """
    found = _commitment(dek, prelude.format, prelude.file_id)
    if not hmac.compare_digest(prelude.commitment, found):
        raise IntegrityError


def body_aad(prelude: Prelude) -> bytes:
    """The associated data of the body, which is also the info of its key (§4.3, envelope-2.md §4.1)."""
    context = prelude.encode()[len(MAGIC) :]
    if prelude.format == FORMAT_1:
        return hashlib.sha256(labels.BODY + context).digest()
    return labels.STREAM_2 + hashlib.sha256(labels.BODY_2 + context).digest()


def parse_prelude(data: bytes) -> Prelude:
    """Parse the prelude at the beginning of these bytes (§2, envelope-2.md §2.2).

    Raises:
        FormatError: The bytes are no prelude, or one of an unknown version.
    """
    magic, version, suite, segment_bytes, file_id, commitment = _PRELUDE.unpack_from(data)
    if magic != MAGIC:  # §2.1, in this order
        raise FormatError("not an encrypted file of strongroom")
    if version not in FORMATS:
        raise FormatError(
            f"envelope format {version} is not known", hint="use a newer release of strongroom"
        )
    if suite != SUITE:
        raise FormatError(
            f"envelope suite {suite} is not known", hint="use a newer release of strongroom"
        )
    _check_segment_bytes(segment_bytes)
    return Prelude(version, suite, segment_bytes, file_id, commitment)


def next_sequence(slot: KeySlot) -> int:
    """The sequence of the wrap that follows a slot (§5.3).

    Raises:
        FormatError: The sequence is at its maximum, which no file reaches: the header was made by hand.
    """
    if slot.sequence >= _MAX_SEQUENCE:
        raise FormatError("the key slot's sequence is exhausted")
    return slot.sequence + 1


def _check_segment_bytes(count: int) -> None:
    if not MIN_SEGMENT_BYTES <= count <= MAX_SEGMENT_BYTES or count & (count - 1):
        raise FormatError(
            f"segments of {count} bytes are not allowed: a power of two from {MIN_SEGMENT_BYTES} to"
            f" {MAX_SEGMENT_BYTES}"
        )


def _commitment(dek: SecretBytes, version: int, file_id: bytes) -> bytes:
    return kdf.hkdf(
        dek, salt=b"", info=_COMMIT[version] + file_id, length=COMMITMENT_BYTES
    ).reveal()
