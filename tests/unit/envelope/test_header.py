"""The header page of format 1: what is accepted, what is refused, and why (format/envelope.md §1 to §3)."""

import dataclasses
import struct
from collections.abc import Iterable

import pytest

from strongroom.crypto import rng
from strongroom.crypto.secret import SecretBytes
from strongroom.envelope import header as headers
from strongroom.envelope import page_1, pages, slots
from strongroom.envelope.header import Header, KeySlot, Placement
from strongroom.errors import FormatError, IntegrityError
from strongroom.ids import new_id
from strongroom.kms.ring_keys import RingKeys
from strongroom.system.crc32c import crc32c
from tests.conftest import Torture
from tests.support.memory_keys import MemoryKeys, opened, sealed
from tests.support.stored_forms import rewrapped, with_slot

KEYS = MemoryKeys()
PLACE = Placement(new_id(), new_id())


def _header() -> tuple[Header, SecretBytes]:
    return KEYS.new_envelope(PLACE)


def _second(header: Header) -> KeySlot:
    return rewrapped(KEYS, header, None)


def test_parse_is_the_inverse_of_serialize() -> None:
    header, _ = _header()
    both = with_slot(header, _second(header))
    for each in (header, both):
        page = pages.serialize(each)
        assert len(page) == page_1.HEADER_BYTES
        assert pages.parse(page) == each


def test_placements_encode_and_decode() -> None:
    """§3.7."""
    assert Placement.standalone().encode() == bytes(32)
    assert Placement.decode(bytes(32)) == Placement.standalone()
    assert Placement.decode(PLACE.encode()) == PLACE
    assert PLACE.site_id in PLACE.describe()
    assert "standalone" in Placement.standalone().describe()


def test_half_a_placement_is_refused() -> None:
    with pytest.raises(FormatError):
        Placement(new_id(), "").encode()


@pytest.mark.parametrize("length", [0, 4095, 4097])
def test_other_lengths_are_no_page(length: int) -> None:
    """§1.4."""
    with pytest.raises(FormatError):
        pages.parse_alone(bytes(length))


def _page(**changes: int | bytes) -> bytes:
    header, _ = _header()
    return _changed(header, **changes).encode() + pages.serialize(header)[64:]


def _changed(header: Header, **changes: int | bytes) -> headers.Prelude:
    return dataclasses.replace(header.prelude, **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("format", 0, "format 0"),
        ("format", 2, "no intact block"),
        ("format", 3, "format 3"),
        ("suite", 2, "suite 2"),
        ("segment_bytes", 0, "not allowed"),
        ("segment_bytes", 2048, "not allowed"),
        ("segment_bytes", 4097, "not allowed"),
        ("segment_bytes", 8 * 1024 * 1024, "not allowed"),
    ],
    ids=str,
)
def test_unknown_versions_and_sizes_are_refused(field: str, value: int, words: str) -> None:
    """§2.1, §2.2."""
    with pytest.raises(FormatError, match=words):
        pages.parse(_page(**{field: value}))


def test_another_magic_is_another_file() -> None:
    """§2.1: the magic first, whatever else is wrong."""
    page = b"PK\x03\x04" + _page(format=99)[4:]
    with pytest.raises(FormatError, match="not an encrypted file"):
        pages.parse(page)


@pytest.mark.parametrize("offset", [64, 511, 1536, 4095])
def test_padding_must_be_zero(offset: int) -> None:
    """§1.3."""
    page = bytearray(_page())
    page[offset] = 1
    with pytest.raises(FormatError, match="zeros"):
        pages.parse(bytes(page))


@pytest.mark.parametrize("offset", [512, 522, 527, 600, 668, 671, 672, 1023])
def test_a_damaged_slot_counts_as_absent(offset: int) -> None:
    """§3.4: the only slot damaged refuses the file, one of two does not."""
    header, _ = _header()
    page = bytearray(pages.serialize(header))
    page[offset] ^= 1
    with pytest.raises(FormatError, match="no intact key slot"):
        pages.parse(bytes(page))
    both = with_slot(header, _second(header))
    page = bytearray(pages.serialize(both))
    page[offset] ^= 1
    parsed = pages.parse(bytes(page))
    assert parsed.slots == (None, both.slots[1])
    assert parsed.damaged == {0}


def _resealed(sector: bytes) -> bytes:
    record = sector[:156]
    return (record + struct.pack(">I", crc32c(record))).ljust(512, b"\0")


def test_reserved_bytes_of_a_slot_must_be_zero_though_the_checksum_fits() -> None:
    """§1.3 inside a slot."""
    sector = page_1.encode_slot(_header()[0].newest)
    assert page_1.parse_slot(_resealed(sector[:10] + b"\1" + sector[11:])) is None


@pytest.mark.parametrize("prefix", [struct.pack(">QH", 0, 1), struct.pack(">QH", 1, 2)])
def test_an_intact_slot_of_an_unknown_kind_refuses_the_file(prefix: bytes) -> None:
    """§3.5."""
    sector = page_1.encode_slot(_header()[0].newest)
    with pytest.raises(FormatError, match="not known"):
        page_1.parse_slot(_resealed(prefix + sector[10:]))


def test_the_newest_slot_is_the_one_with_the_higher_sequence() -> None:
    """§3.6."""
    header, _ = _header()
    assert header.newest is header.slots[0]
    second = with_slot(header, _second(header))
    assert second.newest is second.slots[1]
    third = with_slot(second, _second(second))
    assert third.newest is third.slots[0]
    assert third.newest.sequence == 3
    same = third.with_slot_at(1, third.newest)
    assert [number for number, _ in same.intact] == [0, 1]


def test_a_header_without_slots_takes_its_first_in_slot_0() -> None:
    """§3.8."""
    header, _ = _header()
    empty = Header(header.prelude, (None, None))
    assert with_slot(empty, header.newest) == header


def test_only_shows_one_slot_and_mek_ids_both() -> None:
    """§5.7."""
    header, _ = _header()
    KEYS.rotate()
    both = with_slot(header, _second(header))
    assert both.mek_ids == {slot.mek_id for slot in both.slots if slot}
    assert len(both.mek_ids) == 2
    assert both.only(0).slots == (both.slots[0], None)
    assert both.only(1).slots == (None, both.slots[1])


def test_writing_a_damaged_slot_heals_it() -> None:
    header, _ = _header()
    damaged = dataclasses.replace(header, damaged=frozenset({1}))
    assert with_slot(damaged, _second(header)).damaged == frozenset()


def test_an_exhausted_sequence_is_refused() -> None:
    header, _ = _header()
    last = dataclasses.replace(header.newest, sequence=2**64 - 1)
    with pytest.raises(FormatError, match="exhausted"):
        headers.next_sequence(last)


def test_new_preludes_check_their_arguments() -> None:
    with pytest.raises(FormatError):
        headers.new_prelude(rng.new_key(), file_id=bytes(15))
    with pytest.raises(FormatError):
        headers.new_prelude(rng.new_key(), file_id=bytes(16), segment_bytes=100)


def test_the_commitment_refuses_every_other_key() -> None:
    """§2.5."""
    header, dek = _header()
    headers.check_commitment(header.prelude, dek)
    with pytest.raises(IntegrityError):
        headers.check_commitment(header.prelude, rng.new_key())


def test_a_slot_opens_only_with_its_mek_and_all_that_is_bound() -> None:
    """§3.2: moving or changing anything breaks it."""
    keys = MemoryKeys()
    header, dek = keys.new_envelope(PLACE)
    prelude, slot, second = header.prelude, header.newest, keys.rotate()
    assert keys.open_envelope(header, None).dek == dek
    others = [
        dataclasses.replace(slot, sequence=2),
        dataclasses.replace(slot, algorithm=2),
        dataclasses.replace(slot, mek_id=second),
        dataclasses.replace(slot, placement=Placement.standalone()),
        dataclasses.replace(slot, salt=b"\1" * 32),
        dataclasses.replace(slot, nonce=b"\1" * 12),
        dataclasses.replace(slot, wrapped_dek=bytes(48)),
    ]
    for other in others:
        with pytest.raises(IntegrityError):
            keys.open_envelope(Header(prelude, (other, None)), None)
    resized = dataclasses.replace(prelude, segment_bytes=4096)
    with pytest.raises(IntegrityError):
        keys.open_envelope(Header(resized, (slot, None)), None)


def test_a_slot_with_another_dek_than_the_prelude_commits_to_is_refused() -> None:
    """§2.5: whoever holds a MEK still cannot give one body two keys."""
    keys = MemoryKeys()
    prelude = headers.new_prelude(rng.new_key(), file_id=bytes(16))
    wrap = RingKeys(lambda: keys.ring).wrap
    wrapped = wrap(rng.new_key(), slots.context(prelude, PLACE, sequence=1))
    slot = slots.new_slot(wrapped, prelude, PLACE, sequence=1)
    with pytest.raises(IntegrityError):
        keys.open_envelope(Header(prelude, (slot, None)), PLACE)


two_slots = pytest.mark.parametrize("both", [False, True], ids=["one slot", "two slots"])


@two_slots
def test_every_byte_of_the_header_page(torture: Torture, *, both: bool) -> None:
    """C3: each flip is refused with our error, or hits the redundant slot and changes nothing.

    One bit of each byte, another one in the next; all of them in the test below.
    """
    flips = ((byte, (byte + torture.seed) % 8) for byte in range(page_1.HEADER_BYTES))
    assert _flipped(flips, both=both) == page_1.HEADER_BYTES


@pytest.mark.torture
@two_slots
def test_every_bit_of_the_header_page(torture: Torture, *, both: bool) -> None:
    """C3."""
    bits = torture.choose(range(page_1.HEADER_BYTES * 8))
    assert _flipped((divmod(bit, 8) for bit in bits), both=both) == len(bits)


def _flipped(flips: Iterable[tuple[int, int]], *, both: bool) -> int:
    """Flip each of these bits alone, judge what a reader says, and count them."""
    data = b"some plaintext" * 10
    envelope = bytearray(sealed(KEYS, data, placement=PLACE))
    if both:
        header = pages.parse(bytes(envelope[:4096]))
        envelope[:4096] = pages.serialize(with_slot(header, _second(header)))
    redundant = set(range(512, 1536)) if both else set(range(1024, 1536))
    count = 0
    for byte, bit in flips:
        envelope[byte] ^= 1 << bit
        try:
            assert opened(KEYS, bytes(envelope), PLACE) == data
            assert byte in redundant, f"bit {bit} of byte {byte} is not covered"
        except (FormatError, IntegrityError):
            assert byte not in redundant, f"bit {bit} of byte {byte} of the redundant slot matters"
        envelope[byte] ^= 1 << bit
        count += 1
    return count
