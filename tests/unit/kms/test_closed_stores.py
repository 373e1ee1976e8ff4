"""Closed KMS stores by reference: docs/format/kms-store.md 7; issue 10, part D; findings B1."""

from dataclasses import replace

import pytest

from strongroom.crypto import rng
from strongroom.errors import FormatError, IntegrityError, StateError
from strongroom.ids import new_id
from strongroom.kms import closed_stores
from strongroom.kms import store as kms_store
from strongroom.kms.closed_stores import ClosedStore
from strongroom.kms.links import Reason
from tests.support import linked_stores
from tests.support.linked_stores import Chain

KEY = rng.new_key()
INSTALLATION, KEY_ID = new_id(), new_id()
RAW = b"a store that nothing opens"


def test_a_closed_store_comes_back() -> None:
    one = closed_stores.closed(RAW, 7)
    assert (one.epoch, one.length) == (7, len(RAW))
    assert one.entry == f"kms/former/{one.digest}"
    sealed = one.seal(RAW, INSTALLATION, KEY_ID, KEY)
    assert closed_stores.key_id_of(sealed) == KEY_ID
    assert one.open(sealed, INSTALLATION, KEY) == RAW
    with pytest.raises(FormatError, match="cut short"):
        closed_stores.key_id_of(sealed[:15])


def test_a_missing_or_changed_one_is_a_fault() -> None:
    """7.2: a fault, and not 'unavailable'."""
    one = closed_stores.closed(RAW, 7)
    one.check(RAW)
    assert one.found(RAW) == RAW
    with pytest.raises(IntegrityError, match="is missing") as caught:
        one.found(None)
    assert f"former forget {one.digest}" in caught.value.hint
    with pytest.raises(IntegrityError, match="another one"):
        one.check(RAW + b" ")
    with pytest.raises(IntegrityError, match="another length"):
        one._replace(length=1).check(RAW)


def test_a_sealed_one_opens_for_its_reference_only() -> None:
    one, other = closed_stores.closed(RAW, 7), closed_stores.closed(b"another", 7)
    sealed = one.seal(RAW, INSTALLATION, KEY_ID, KEY)
    with pytest.raises(IntegrityError, match="another place"):
        other.open(sealed, INSTALLATION, KEY)
    with pytest.raises(IntegrityError, match="another place"):
        one.open(sealed, new_id(), KEY)
    with pytest.raises(IntegrityError, match="another one"):
        one.open(one.seal(b"another", INSTALLATION, KEY_ID, KEY), INSTALLATION, KEY)


def test_sixteen_may_be_closed_and_the_store_does_not_grow_by_their_size() -> None:
    """findings B1: times 2.33 each, refused at the ninth."""
    present = linked_stores.first(KEY)
    for number in range(closed_stores.MAX_CLOSED):
        closed_stores.check_room(present.store.former)
        reference = closed_stores.closed(present.raw, present.store.epoch)
        former = (*present.store.former, reference)
        broken = present.broken(Reason.ABANDONED)
        draft = replace(broken.store, former=former)
        before = present.before._replace(rmk=None)
        made = kms_store.succeeding(draft, broken.ring, broken.rmk, before, Reason.ABANDONED)
        present = Chain(made, broken.rmk, broken.ring, KEY)
        assert len(kms_store.parse(present.raw).former) == number + 1
    assert len(present.raw) < 12_000
    with pytest.raises(StateError, match="no more than 16") as caught:
        closed_stores.check_room(present.store.former)
    assert "forget" in caught.value.hint


def test_the_reference_is_in_the_store_s_mac() -> None:
    made = linked_stores.first(KEY)
    forged = replace(made.store, former=(ClosedStore("0" * 64, 1, 9),))
    with pytest.raises(IntegrityError, match="MAC"):
        kms_store.parse(kms_store.serialize(forged)).open_ring(made.rmk)
