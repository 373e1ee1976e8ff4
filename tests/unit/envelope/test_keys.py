"""Data keys of envelopes: made for a place, opened there alone, brought under another MEK (K-11, E-17)."""

from dataclasses import replace

import pytest

from strongroom.crypto import rng
from strongroom.crypto.secret import SecretBytes
from strongroom.envelope import slots
from strongroom.envelope.header import FORMAT_1, FORMAT_2, FORMATS, Header, KeySlot, Placement
from strongroom.envelope.keys import EnvelopeKeys
from strongroom.envelope.pages import parse, serialize
from strongroom.errors import IntegrityError, KeyNotFoundError
from strongroom.ids import new_id
from strongroom.kms.data_keys import AnyContext, WrappedKey
from strongroom.kms.ring_keys import RingKeys
from strongroom.system.compat import override
from tests.support.memory_keys import MemoryKeys
from tests.support.stored_forms import rewrapped, with_slot

HERE = Placement(new_id(), new_id())
THERE = Placement(HERE.site_id, new_id())


@pytest.fixture(params=FORMATS, ids=["format 1", "format 2"])
def keys(request: pytest.FixtureRequest) -> MemoryKeys:
    return MemoryKeys(request.param)


class Watched(RingKeys):
    """Data keys that keep what they gave out, and count what they were asked to open."""

    def __init__(self) -> None:
        ring = MemoryKeys().ring
        super().__init__(lambda: ring)
        self.wrapped: list[WrappedKey] = []
        self.opened = 0

    @override
    def wrap(self, key: SecretBytes, context: AnyContext) -> WrappedKey:
        self.wrapped.append(super().wrap(key, context))
        return self.wrapped[-1]

    @override
    def unwrap(self, key_id: str, blob: bytes, context: AnyContext) -> SecretBytes:
        self.opened += 1
        return super().unwrap(key_id, blob, context)


def test_a_new_envelope_opens_where_it_belongs(keys: MemoryKeys) -> None:
    header, dek = keys.new_envelope(HERE)
    page = parse(serialize(header))
    assert keys.open_envelope(page, HERE).dek == dek
    assert keys.open_envelope(page, None).dek == dek
    assert page.newest.mek_id == keys.active_mek_id
    assert keys.known_mek_ids() == {keys.active_mek_id}


def test_elsewhere_it_is_refused_in_words(keys: MemoryKeys) -> None:
    header, _ = keys.new_envelope(HERE)
    with pytest.raises(IntegrityError, match=f"belongs to .*{HERE.extract_id}"):
        keys.open_envelope(header, THERE)


def test_a_placement_written_over_the_right_one_does_not_open(keys: MemoryKeys) -> None:
    """The placement is bound by the wrap, so editing the header's text of it does not help."""
    header, _ = keys.new_envelope(HERE)
    slot = replace(header.newest, placement=THERE)
    forged = replace(header, slots=(slot, None))
    with pytest.raises(IntegrityError, match="authentication failed"):
        keys.open_envelope(forged, THERE)


def test_a_slot_of_another_placement_hides_no_good_one(keys: MemoryKeys) -> None:
    """§3.6: whoever writes a newer slot of his own only does damage to that slot."""
    header, dek = keys.new_envelope(HERE)
    forged = replace(header.newest, placement=THERE, sequence=2**63)
    both = replace(header, slots=(header.newest, forged))
    assert keys.open_envelope(both, HERE) == (dek, header.newest, 0)
    with pytest.raises(IntegrityError, match=f"belongs to .*{HERE.extract_id}"):
        keys.open_envelope(both, Placement(new_id(), new_id()))


def test_a_genuine_slot_of_another_placement_hides_no_good_one(keys: MemoryKeys) -> None:
    """§3.6: both open by our keys, and the one that belongs here is taken, whichever is newer."""
    header, dek = keys.new_envelope(HERE)
    there = replace(header.newest, placement=THERE)
    moved = rewrapped_as(keys, header, there.placement, dek, sequence=2)
    both = replace(header, slots=(header.newest, moved))
    assert keys.open_envelope(both, HERE) == (dek, header.newest, 0)
    assert keys.open_envelope(both, THERE) == (dek, moved, 1)
    assert keys.open_envelope(both, None) == (dek, moved, 1)


def test_both_slots_of_another_placement_are_refused_by_the_name_of_the_newer(
    keys: MemoryKeys,
) -> None:
    header, dek = keys.new_envelope(HERE)
    moved = rewrapped_as(keys, header, THERE, dek, sequence=2)
    both = replace(header, slots=(header.newest, moved))
    with pytest.raises(IntegrityError, match=f"belongs to .*{THERE.extract_id}"):
        keys.open_envelope(both, Placement(HERE.site_id, new_id()))


@pytest.mark.parametrize("sequence", [1, 2, 2**63, 2**64 - 1])
def test_a_forged_slot_is_not_named_as_a_fact(keys: MemoryKeys, sequence: int) -> None:
    """review X11: its MEK and its placement were printed and logged, though the other slot had opened."""
    header, dek = keys.new_envelope(HERE)
    forged = replace(header.newest, placement=THERE, mek_id=new_id(), sequence=sequence)
    for both in ((header.newest, forged), (forged, header.newest)):
        opened = keys.open_envelope(replace(header, slots=both), None)
        assert opened == (dek, header.newest, both.index(header.newest))


def test_a_placement_that_nothing_proves_is_not_told(keys: MemoryKeys) -> None:
    """review X11: neither slot opens; that one says where the file belongs is no fact."""
    header, _ = keys.new_envelope(HERE)
    forged = replace(header.newest, placement=THERE, sequence=5)
    with pytest.raises(IntegrityError) as refused:
        keys.open_envelope(replace(header, slots=(None, forged)), HERE)
    assert str(refused.value) == str(IntegrityError())


def test_damage_is_told_before_a_key_that_is_not_there(keys: MemoryKeys) -> None:
    """A forged slot that names a key of nobody does not turn damage into a key that one might find."""
    header, _ = keys.new_envelope(HERE)
    unknown = replace(header.newest, mek_id=new_id())
    broken = replace(header.newest, salt=bytes(32), sequence=2)
    for both in ((unknown, broken), (broken, unknown)):
        with pytest.raises(IntegrityError):
            keys.open_envelope(replace(header, slots=both), HERE)


def test_a_header_without_slots_opens_by_nothing(keys: MemoryKeys) -> None:
    header, _ = keys.new_envelope(HERE)
    with pytest.raises(IntegrityError):
        keys.open_envelope(replace(header, slots=(None, None)), HERE)


def test_after_a_rotation_new_files_get_the_new_key_and_old_ones_still_open(
    keys: MemoryKeys,
) -> None:
    """K-11."""
    old, dek = keys.new_envelope(HERE)
    keys.rotate()
    new, _ = keys.new_envelope(HERE)
    assert keys.open_envelope(old, HERE).dek == dek
    assert new.newest.mek_id == keys.active_mek_id != old.newest.mek_id


def test_a_rewrap_keeps_the_data_key_and_takes_the_active_key(keys: MemoryKeys) -> None:
    header, dek = keys.new_envelope(HERE)
    keys.rotate()
    slot = rewrapped(keys, header, HERE)
    assert slot.mek_id == keys.active_mek_id
    assert slot.sequence == header.newest.sequence + 1
    assert keys.open_envelope(with_slot(header, slot), HERE).dek == dek
    assert rewrapped(keys, header, None).placement == HERE


def test_a_reader_tries_the_other_slot(keys: MemoryKeys) -> None:
    header, dek = keys.new_envelope(HERE)
    slot = rewrapped(keys, header, HERE)
    broken = with_slot(header, replace(slot, wrapped_dek=bytes(48)))
    assert keys.open_envelope(broken, HERE).dek == dek


def test_without_its_key_a_file_does_not_open(keys: MemoryKeys) -> None:
    header, _ = keys.new_envelope(HERE)
    keys.rotate()
    keys.forget(header.newest.mek_id)
    with pytest.raises(KeyNotFoundError, match=header.newest.mek_id):
        keys.open_envelope(header, HERE)


def test_a_prelude_that_commits_to_another_key_is_refused(keys: MemoryKeys) -> None:
    """Key commitment: a wrapped key that opens is still compared with the prelude."""
    header, _ = keys.new_envelope(HERE)
    other, _ = keys.new_envelope(HERE)
    with pytest.raises(IntegrityError):
        keys.open_envelope(replace(other, slots=header.slots), HERE)


def test_a_key_that_the_header_does_not_commit_to_is_refused_whoever_gave_it() -> None:
    """A KMS that answers with a wrong key; the wrap's own context is the KMS' business, and says nothing of that."""

    class Wrong(Watched):
        @override
        def unwrap(self, key_id: str, blob: bytes, context: AnyContext) -> SecretBytes:
            super().unwrap(key_id, blob, context)
            return rng.new_key()

    keys = EnvelopeKeys(Wrong())
    header, _ = keys.new_envelope(HERE)
    with pytest.raises(IntegrityError):
        keys.open_envelope(header, HERE)


@pytest.mark.parametrize(
    ("version", "offset", "count"), [(FORMAT_1, 512 + 64, 92), (FORMAT_2, 64 + 64, 80)]
)
def test_the_blob_of_the_kms_stands_in_the_slot_as_it_is(
    version: int, offset: int, count: int
) -> None:
    """envelope.md §3.10, envelope-2.md §3.3: a KMS that is elsewhere is given back what it gave."""
    watched = Watched()
    header, _ = EnvelopeKeys(watched, lambda: version).new_envelope(HERE)
    ((key_id, blob),) = watched.wrapped
    assert header.newest.mek_id == key_id
    assert len(blob) == count
    assert serialize(header)[offset:][:count] == blob


def test_a_file_that_belongs_elsewhere_says_so_only_if_it_opens() -> None:
    """§7.1, review X11: each slot is opened once, and then it is compared."""
    watched = Watched()
    keys = EnvelopeKeys(watched)
    header, _ = keys.new_envelope(HERE)
    with pytest.raises(IntegrityError, match="belongs to"):
        keys.open_envelope(header, THERE)
    slots_there = len(header.intact)
    assert watched.opened == slots_there
    keys.open_envelope(header, HERE)
    assert watched.opened == slots_there + 1


def rewrapped_as(
    keys: MemoryKeys, header: Header, placement: Placement, dek: SecretBytes, *, sequence: int
) -> KeySlot:
    """A genuine slot under another placement, as whoever holds the MEK could make it."""
    wrap = RingKeys(lambda: keys.ring).wrap
    wrapped = wrap(dek, slots.context(header.prelude, placement, sequence=sequence))
    return slots.new_slot(wrapped, header.prelude, placement, sequence=sequence)
