"""The header of format 2: what a disk may lose, and what is accepted and refused (format/envelope-2.md §1 to §3)."""

import dataclasses
import hashlib
import struct

import pytest

from strongroom.envelope import header as headers
from strongroom.envelope import page_1, pages
from strongroom.envelope.header import (
    BLOCK_BYTES,
    FORMAT_2,
    MAX_HEADER_BYTES,
    Header,
    KeySlot,
    Placement,
    UnknownSlot,
)
from strongroom.envelope.inspect import inspect
from strongroom.envelope.rewrap import PageCopy, Rewrap
from strongroom.errors import FormatError, IntegrityError, KeyNotFoundError
from strongroom.ids import new_id
from tests.support.memory_keys import MemoryKeys, opened, sealed
from tests.support.stored_forms import rewrapped

KEYS = MemoryKeys(FORMAT_2)
PLACE = Placement(new_id(), new_id())
DATA = b"some plaintext" * 10
_SLOT, _DIGEST = 64, BLOCK_BYTES - 32


def _digested(block: bytes) -> bytes:
    """The block with a digest that fits."""
    return block[:_DIGEST] + hashlib.sha256(block[:_DIGEST]).digest()


def _changed(block: bytes, offset: int, change: bytes) -> bytes:
    return _digested(block[:offset] + change + block[offset + len(change) :])


def _of_algorithm(block: bytes, algorithm: int) -> bytes:
    """The block as a newer release may write it: another algorithm, and a record as long as there is room."""
    changed = _changed(block, _SLOT + 8, struct.pack(">H", algorithm))
    return _changed(changed, _SLOT + 64, b"\x5a" * (_DIGEST - _SLOT - 64))


@pytest.fixture
def envelope() -> bytes:
    return sealed(KEYS, DATA, placement=PLACE)


@pytest.fixture
def differing() -> bytes:
    """As a rewrap leaves it that was killed before its second write."""
    envelope = sealed(KEYS, DATA, placement=PLACE)
    header = pages.parse(envelope)
    second = header.with_slot_at(1, rewrapped(KEYS, header, PLACE))
    return pages.serialize(second) + envelope[MAX_HEADER_BYTES:]


def test_a_new_file_has_its_header_twice(envelope: bytes) -> None:
    """§1.3: whichever block is lost."""
    assert envelope[:BLOCK_BYTES] == envelope[BLOCK_BYTES:MAX_HEADER_BYTES]
    header = pages.parse(envelope)
    assert header.slots[0] == header.slots[1]
    assert not header.damaged
    assert header.prelude.body_offset == MAX_HEADER_BYTES


def test_parse_is_the_inverse_of_serialize(differing: bytes) -> None:
    header = pages.parse(differing)
    assert header.slots[0] != header.slots[1]
    assert pages.serialize(header) == differing[:MAX_HEADER_BYTES]
    assert pages.parse_alone(differing[:MAX_HEADER_BYTES]) == header


@pytest.mark.parametrize("lost", [bytes(4096), b"\xff" * 4096, b"x" * 4096], ids=["0", "ff", "x"])
@pytest.mark.parametrize("size", [512, 4096])
def test_no_lost_sector_of_any_size_costs_the_file(
    envelope: bytes, differing: bytes, size: int, lost: bytes
) -> None:
    """review X8: prelude and both slots lay in one physical sector of a disk of today."""
    for whole in (envelope, differing):
        for start in range(0, MAX_HEADER_BYTES, size):
            damaged = whole[:start] + lost[:size] + whole[start + size :]
            assert pages.is_envelope(damaged[:MAX_HEADER_BYTES])
            assert opened(KEYS, damaged, PLACE) == DATA
            assert bool(pages.parse(damaged).damaged) == (damaged != whole)


def test_format_1_does_not_survive_that() -> None:
    """review X8, as it was: the test above can fail."""
    old = sealed(MemoryKeys(), DATA)
    with pytest.raises(FormatError):
        opened(KEYS, bytes(4096) + old[4096:])


def test_a_rewrap_heals_a_lost_block(envelope: bytes) -> None:
    for number in (0, 1):
        start = number * BLOCK_BYTES
        damaged = envelope[:start] + bytes(BLOCK_BYTES) + envelope[start + BLOCK_BYTES :]
        page = PageCopy(damaged)
        work = Rewrap(page, KEYS, PLACE)
        assert work.is_needed
        work.write_first()
        work.check_and_write_second()
        assert page.read(len(envelope)) == envelope


@pytest.mark.parametrize("both", [False, True], ids=["one block", "both blocks"])
def test_every_bit_of_a_block(envelope: bytes, both: bool) -> None:
    """C3: a flip in one block changes nothing; the same one in both refuses the file."""
    broken = bytearray(envelope)
    for bit in range(BLOCK_BYTES * 8):
        places = (
            [bit // 8, BLOCK_BYTES + bit // 8] if both else [bit // 8 + BLOCK_BYTES * (bit % 2)]
        )
        for place in places:
            broken[place] ^= 1 << bit % 8
        if both:
            with pytest.raises(FormatError):
                pages.parse(bytes(broken))
        else:
            assert len(pages.parse(bytes(broken)).damaged) == 1
            # the block that is left is as it was; opening it is the same each time
            if bit % 64 == 0:
                assert opened(KEYS, bytes(broken), PLACE) == DATA
        for place in places:
            broken[place] ^= 1 << bit % 8


def test_every_byte_of_a_block_whose_digest_was_made_to_fit(envelope: bytes) -> None:
    """§3.1: the digest protects from no attacker; the key does, and every byte is bound or must be zero."""
    block = envelope[:BLOCK_BYTES]
    for offset in range(_DIGEST):
        changed = _changed(block, offset, bytes([block[offset] ^ 1 << offset % 8]))
        forged = changed + changed + envelope[MAX_HEADER_BYTES:]
        if offset >= 208 and offset % 97:
            continue  # zeros, of which a sample is enough
        # offsets 80 to 95 name the MEK
        expected = KeyNotFoundError if 80 <= offset < 96 else (FormatError, IntegrityError)
        with pytest.raises(expected):
            opened(KEYS, forged, PLACE)


@pytest.mark.parametrize("length", [0, 1, 64, 4095, 4096, 4097, 8191, 8192, 8193, 8247])
def test_a_cut_file_is_refused(envelope: bytes, length: int) -> None:
    """§1.2: the header alone is no file, and half of it is no header that comes alone."""
    with pytest.raises((FormatError, IntegrityError)):
        opened(KEYS, envelope[:length], PLACE)
    if length != MAX_HEADER_BYTES:
        with pytest.raises(FormatError):
            pages.parse_alone(envelope[:length])


def test_a_block_of_another_file_is_damage(envelope: bytes) -> None:
    """§1.6: the first prelude counts."""
    other = sealed(KEYS, b"other", placement=PLACE)
    mixed = envelope[:BLOCK_BYTES] + other[:BLOCK_BYTES] + envelope[MAX_HEADER_BYTES:]
    assert pages.parse(mixed).damaged == {1}
    assert opened(KEYS, mixed, PLACE) == DATA


@pytest.mark.parametrize(
    ("offset", "change", "words"),
    [
        (10, b"\0\2", "suite 2"),
        (12, bytes(4), "not allowed"),
        (12, b"\xff\xff\xff\xff", "not allowed"),
    ],
)
def test_an_unknown_suite_and_a_wrong_size_are_refused(
    envelope: bytes, offset: int, change: bytes, words: str
) -> None:
    """§2.2."""
    block = _changed(envelope[:BLOCK_BYTES], offset, change)
    with pytest.raises(FormatError, match=words):
        pages.parse(block + block)


def test_formats_of_tomorrow_are_told_from_damage(envelope: bytes) -> None:
    """§1.5."""
    with pytest.raises(FormatError, match="format 3"):
        pages.parse(b"\x89STRONG\n\0\3" + bytes(8182))
    with pytest.raises(FormatError, match="no intact block"):
        pages.parse(envelope[:64] + bytes(8128))
    with pytest.raises(FormatError, match="not an encrypted file"):
        pages.parse(bytes(8192))


@pytest.mark.parametrize(
    ("offset", "change"),
    [(0, bytes(8)), (10, b"\1"), (15, b"\1"), (144, b"\1"), (3999, b"\1")],
)
def test_a_slot_that_is_none_damages_its_block(envelope: bytes, offset: int, change: bytes) -> None:
    """§3.4: sequence 0, and bytes where zeros must be, though the digest fits."""
    wrong = _changed(envelope[:BLOCK_BYTES], _SLOT + offset, change)
    header = pages.parse(wrong + envelope[BLOCK_BYTES:MAX_HEADER_BYTES])
    assert header.damaged == {0}
    assert header.slots[0] is None
    with pytest.raises(FormatError, match="no intact key slot"):
        pages.parse(wrong + wrong)


@pytest.mark.parametrize("algorithm", [0, 1, 3, 7, 65535])
@pytest.mark.parametrize("number", [0, 1])
def test_a_slot_of_an_unknown_algorithm_is_passed_over(
    envelope: bytes, number: int, algorithm: int
) -> None:
    """§3.5: review, section 3: one refused the file, so that no algorithm could ever come slot by slot."""
    blocks = [envelope[:BLOCK_BYTES], envelope[:BLOCK_BYTES]]
    blocks[number] = _of_algorithm(blocks[number], algorithm)
    whole = b"".join(blocks) + envelope[MAX_HEADER_BYTES:]
    assert opened(KEYS, whole, PLACE) == DATA
    header = pages.parse(whole)
    assert not header.damaged
    assert header.unknown[number] == UnknownSlot(algorithm, header.newest.mek_id, blocks[number])
    # a client gives the header to a service that may know more than itself
    assert pages.serialize(header) == whole[:MAX_HEADER_BYTES]
    shown = inspect(header, len(whole)).to_json()["slots"]
    assert isinstance(shown, list)
    assert shown[number]["state"] == "unknown"
    assert shown[number]["algorithm"] == algorithm
    assert shown[1 - number]["state"] == "intact"


def test_inspect_has_words_for_every_slot_and_says_which_one_opened(envelope: bytes) -> None:
    """review X11: with the data key, only the slot that opened is called authenticated."""
    block = envelope[:BLOCK_BYTES]
    header = pages.parse(block + _of_algorithm(block, 7))
    found = inspect(header, len(envelope))
    mek_id, words = header.newest.mek_id, found.slot_words()
    assert words[0] == f"MEK {mek_id}, number 1, {PLACE.describe()}"
    assert words[1] == f"MEK {mek_id}, algorithm 7, which is not known"
    assert inspect(pages.parse(block + bytes(4096)), 0).slot_words()[1] == "damaged"
    old = pages.parse(sealed(MemoryKeys(), DATA))
    assert inspect(old, 0).slot_words()[1] == "empty"
    proved = found.proved_by(header.newest)
    assert proved["authenticated"] is True
    assert proved["mek_id"] == mek_id
    slots = proved["slots"]
    assert isinstance(slots, list)
    assert [slot["authenticated"] for slot in slots] == [True, False]


def test_unknown_slots_alone_are_refused_in_words(envelope: bytes) -> None:
    block = _of_algorithm(envelope[:BLOCK_BYTES], 7)
    with pytest.raises(FormatError, match="algorithm 7"):
        pages.parse(block + block)
    with pytest.raises(FormatError, match="algorithm 7"):
        pages.parse(bytes(BLOCK_BYTES) + block)


@pytest.mark.parametrize("number", [0, 1])
def test_an_unknown_slot_is_never_overwritten(number: int) -> None:
    """§3.5: it may be the only one that a newer release opens."""
    keys = MemoryKeys(FORMAT_2)
    envelope = sealed(keys, DATA, placement=PLACE)
    blocks = [envelope[:BLOCK_BYTES], envelope[:BLOCK_BYTES]]
    blocks[number] = _of_algorithm(blocks[number], 7)
    whole = b"".join(blocks) + envelope[MAX_HEADER_BYTES:]
    assert not Rewrap(PageCopy(whole), keys, PLACE).is_needed
    keys.rotate()
    page = PageCopy(whole)
    work = Rewrap(page, keys, PLACE)
    assert work.is_needed
    with pytest.raises(FormatError, match="algorithm 7"):
        work.write_first()
    assert page.read(len(whole)) == whole


def test_the_key_of_an_unknown_slot_counts(envelope: bytes) -> None:
    """§3.5: the MEK stands in one place in every algorithm, so that it is not retired under such a slot."""
    other = _changed(envelope[:BLOCK_BYTES], _SLOT + 16, bytes(15) + b"\1")
    other = _of_algorithm(other, 7)
    header = pages.parse(envelope[:BLOCK_BYTES] + other)
    assert header.mek_ids == {header.newest.mek_id, "00000000-0000-0000-0000-000000000001"}
    known = header.with_slot_at(1, header.newest)
    assert known.mek_ids == {header.newest.mek_id}
    assert header.with_slot_at(0, header.newest).unknown == header.unknown


def test_a_header_without_slots_has_no_bytes_that_open(envelope: bytes) -> None:
    header = pages.parse(envelope)
    empty = pages.serialize(dataclasses.replace(header, slots=(None, None)))
    assert empty == bytes(MAX_HEADER_BYTES)


def test_a_slot_opens_only_with_all_that_is_bound() -> None:
    """§3.1: everything is in the key, which commits to nothing else."""
    keys = MemoryKeys(FORMAT_2)
    header, dek = keys.new_envelope(PLACE)
    slot, second = header.newest, keys.rotate()
    assert keys.open_envelope(header, PLACE).dek == dek
    others: list[KeySlot] = [
        dataclasses.replace(slot, sequence=2),
        dataclasses.replace(slot, algorithm=1),
        dataclasses.replace(slot, mek_id=second),
        dataclasses.replace(slot, placement=Placement.standalone()),
        dataclasses.replace(slot, salt=b"\1" * 32),
        dataclasses.replace(slot, nonce=b"\1" * 12),
        dataclasses.replace(slot, wrapped_dek=bytes(48)),
    ]
    for other in others:
        with pytest.raises(IntegrityError):
            keys.open_envelope(Header(header.prelude, (other, None)), None)
    for change in ({"segment_bytes": 4096}, {"suite": 2}, {"file_id": bytes(16)}):
        prelude = dataclasses.replace(header.prelude, **change)
        with pytest.raises(IntegrityError):
            keys.open_envelope(Header(prelude, (slot, None)), None)


def test_the_formats_do_not_meet(envelope: bytes) -> None:
    """A page of format 1 whose body looks like anything is one of format 1; no body begins as a block does."""
    keys = MemoryKeys()
    old = sealed(keys, DATA, placement=PLACE)
    assert pages.parse(old[:MAX_HEADER_BYTES]).prelude.format == headers.FORMAT_1
    assert old[page_1.HEADER_BYTES] == 40
    # whoever writes a block over the body of a file of format 1 has destroyed it, and is not believed
    mixed = old[:BLOCK_BYTES] + envelope[:BLOCK_BYTES] + old[MAX_HEADER_BYTES:]
    with pytest.raises((FormatError, IntegrityError)):
        opened(KEYS, mixed, PLACE)


def test_what_is_an_envelope(envelope: bytes) -> None:
    """findings K19: a file is not encrypted twice, even if its first block was lost."""
    assert pages.is_envelope(envelope[:8])
    assert pages.is_envelope(bytes(BLOCK_BYTES) + envelope[BLOCK_BYTES:MAX_HEADER_BYTES])
    assert not pages.is_envelope(bytes(MAX_HEADER_BYTES))
    assert not pages.is_envelope(b"")
    assert not pages.is_envelope(bytes(BLOCK_BYTES) + envelope[BLOCK_BYTES:5000])
