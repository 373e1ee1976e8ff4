"""Data keys of envelopes: made for a place, opened there alone, brought under another MEK (K-11, E-17)."""

from dataclasses import replace

import pytest

from strongroom.crypto import rng
from strongroom.crypto.secret import SecretBytes
from strongroom.envelope.header import SLOT_OFFSETS, Placement, parse, serialize
from strongroom.envelope.keys import EnvelopeKeys
from strongroom.errors import IntegrityError, KeyNotFoundError
from strongroom.ids import new_id
from strongroom.kms.data_keys import KeyContext, WrappedKey
from strongroom.kms.ring_keys import RingKeys
from strongroom.system.compat import override
from tests.support.memory_keys import MemoryKeys
from tests.support.stored_forms import with_slot

HERE = Placement(new_id(), new_id())
THERE = Placement(HERE.site_id, new_id())


class Watched(RingKeys):
    """Data keys that keep what they gave out, and count what they were asked to open."""

    def __init__(self) -> None:
        ring = MemoryKeys().ring
        super().__init__(lambda: ring)
        self.wrapped: list[WrappedKey] = []
        self.opened = 0

    @override
    def wrap(self, key: SecretBytes, context: KeyContext) -> WrappedKey:
        self.wrapped.append(super().wrap(key, context))
        return self.wrapped[-1]

    @override
    def unwrap(self, key_id: str, blob: bytes, context: KeyContext) -> SecretBytes:
        self.opened += 1
        return super().unwrap(key_id, blob, context)


def test_a_new_envelope_opens_where_it_belongs() -> None:
    keys = MemoryKeys()
    header, dek = keys.new_envelope(HERE)
    page = parse(serialize(header))
    assert keys.open_envelope(page, HERE) == dek
    assert keys.open_envelope(page, None) == dek
    assert page.newest.mek_id == keys.active_mek_id
    assert keys.known_mek_ids() == {keys.active_mek_id}


def test_elsewhere_it_is_refused_in_words() -> None:
    keys = MemoryKeys()
    header, _ = keys.new_envelope(HERE)
    with pytest.raises(IntegrityError, match=f"belongs to .*{HERE.extract_id}"):
        keys.open_envelope(header, THERE)


def test_a_placement_written_over_the_right_one_does_not_open() -> None:
    """The placement is bound by the wrap, so editing the header's text of it does not help."""
    keys = MemoryKeys()
    header, _ = keys.new_envelope(HERE)
    slot = replace(header.newest, placement=THERE)
    forged = replace(header, slots=(slot, None))
    with pytest.raises(IntegrityError, match="authentication failed"):
        keys.open_envelope(forged, THERE)


def test_a_slot_of_another_placement_hides_no_good_one() -> None:
    """§3.6: whoever writes a newer slot of his own only does damage to that slot."""
    keys = MemoryKeys()
    header, dek = keys.new_envelope(HERE)
    forged = replace(header.newest, placement=THERE, sequence=2**63)
    both = replace(header, slots=(header.newest, forged))
    assert keys.open_envelope(both, HERE) == dek
    with pytest.raises(IntegrityError):
        keys.open_envelope(both, Placement(new_id(), new_id()))


def test_after_a_rotation_new_files_get_the_new_key_and_old_ones_still_open() -> None:
    """K-11."""
    keys = MemoryKeys()
    old, dek = keys.new_envelope(HERE)
    keys.rotate()
    new, _ = keys.new_envelope(HERE)
    assert keys.open_envelope(old, HERE) == dek
    assert new.newest.mek_id == keys.active_mek_id != old.newest.mek_id


def test_a_rewrap_keeps_the_data_key_and_takes_the_active_key() -> None:
    keys = MemoryKeys()
    header, dek = keys.new_envelope(HERE)
    keys.rotate()
    slot = keys.rewrapped_slot(header, HERE)
    assert slot.mek_id == keys.active_mek_id
    assert slot.sequence == header.newest.sequence + 1
    assert keys.open_envelope(with_slot(header, slot), HERE) == dek
    assert keys.rewrapped_slot(header, None).placement == HERE


def test_a_reader_tries_the_other_slot() -> None:
    keys = MemoryKeys()
    header, dek = keys.new_envelope(HERE)
    slot = keys.rewrapped_slot(header, HERE)
    broken = with_slot(header, replace(slot, wrapped_dek=bytes(48)))
    assert keys.open_envelope(broken, HERE) == dek


def test_without_its_key_a_file_does_not_open() -> None:
    keys = MemoryKeys()
    header, _ = keys.new_envelope(HERE)
    keys.rotate()
    keys.forget(header.newest.mek_id)
    with pytest.raises(KeyNotFoundError, match=header.newest.mek_id):
        keys.open_envelope(header, HERE)


def test_a_prelude_that_commits_to_another_key_is_refused() -> None:
    """Key commitment: a wrapped key that opens is still compared with the prelude."""
    keys = MemoryKeys()
    header, _ = keys.new_envelope(HERE)
    other, _ = keys.new_envelope(HERE)
    with pytest.raises(IntegrityError):
        keys.open_envelope(replace(other, slots=header.slots), HERE)


def test_a_key_that_the_header_does_not_commit_to_is_refused_whoever_gave_it() -> None:
    """A KMS that answers with a wrong key; the wrap's own context is the KMS' business, and says nothing of that."""

    class Wrong(Watched):
        @override
        def unwrap(self, key_id: str, blob: bytes, context: KeyContext) -> SecretBytes:
            super().unwrap(key_id, blob, context)
            return rng.new_key()

    keys = EnvelopeKeys(Wrong())
    header, _ = keys.new_envelope(HERE)
    with pytest.raises(IntegrityError):
        keys.open_envelope(header, HERE)


def test_the_blob_of_the_kms_stands_in_the_slot_as_it_is() -> None:
    """§3.10: a KMS that is elsewhere is given back what it gave."""
    watched = Watched()
    header, _ = EnvelopeKeys(watched).new_envelope(HERE)
    ((key_id, blob),) = watched.wrapped
    slot = serialize(header)[SLOT_OFFSETS[0] :][:512]
    assert header.newest.mek_id == key_id
    assert slot[64:156] == blob


def test_a_file_that_belongs_elsewhere_costs_the_kms_nothing() -> None:
    """§7.1: the placement is read before any key is used."""
    watched = Watched()
    keys = EnvelopeKeys(watched)
    header, _ = keys.new_envelope(HERE)
    with pytest.raises(IntegrityError, match="belongs to"):
        keys.open_envelope(header, THERE)
    assert watched.opened == 0
    keys.open_envelope(header, HERE)
    assert watched.opened == 1
