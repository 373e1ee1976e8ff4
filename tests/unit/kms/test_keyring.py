"""The key ring: K-10, K-11, Q-19."""

from datetime import UTC, datetime, timedelta

import pytest

from strongroom.crypto import rng
from strongroom.crypto.secret import SecretBytes
from strongroom.errors import ConflictError, FormatError, KeyNotFoundError, StateError
from strongroom.ids import MekId, new_id
from strongroom.kms.data_keys import KeyContext
from strongroom.kms.keyring import KeyRing
from strongroom.kms.keys import Mek
from strongroom.kms.ring_keys import RingKeys
from strongroom.kms.states import MekState

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
HOUR = timedelta(hours=1)


def ring_of(count: int) -> KeyRing:
    ring = KeyRing.with_first(MekId(new_id()), rng.new_key(), NOW)
    for step in range(1, count):
        ring = ring.with_new_active(MekId(new_id()), rng.new_key(), NOW + step * HOUR)
    return ring


def test_the_first_key_encrypts_from_its_making_on() -> None:
    (mek,) = ring_of(1)
    assert (mek.state, mek.created_at, mek.encrypting_since, mek.decrypt_only_since) == (
        MekState.ENCRYPT_OR_DECRYPT,
        NOW,
        NOW,
        None,
    )


def test_a_new_key_takes_over_and_the_old_one_only_decrypts() -> None:
    """K-11."""
    ring = ring_of(3)
    assert [mek.state.value for mek in ring] == ["decrypt-only"] * 2 + ["encrypt or decrypt"]
    assert [mek.decrypt_only_since for mek in ring] == [NOW + HOUR, NOW + 2 * HOUR, None]
    assert ring.active is ring.meks[-1]


def test_a_clock_set_back_does_not_disturb_the_order_of_times() -> None:
    """K-10: created ≤ first encrypt ≤ decrypt-only, whatever the clock does."""
    ring = ring_of(1).with_new_active(MekId(new_id()), rng.new_key(), NOW - 5 * HOUR)
    assert ring.meks[0].decrypt_only_since == NOW


def test_a_key_is_found_by_its_id_only() -> None:
    ring = ring_of(2)
    assert ring.get(ring.meks[0].id) is ring.meks[0]
    with pytest.raises(KeyNotFoundError, match="is not in the KMS store"):
        ring.get(new_id())


def test_an_id_is_used_once() -> None:
    ring = ring_of(1)
    with pytest.raises(ConflictError, match="already"):
        ring.with_new_active(ring.active.id, rng.new_key(), NOW)


def test_only_a_decrypt_only_key_can_leave() -> None:
    ring = ring_of(2)
    assert [mek.id for mek in ring.without(ring.meks[0].id)] == [ring.active.id]
    with pytest.raises(StateError, match="cannot be retired"):
        ring.without(ring.active.id)
    with pytest.raises(KeyNotFoundError):
        ring.without(new_id())


def test_a_decrypt_only_key_never_encrypts_again() -> None:
    with pytest.raises(StateError, match="cannot go from"):
        ring_of(2).meks[0].with_state(MekState.ENCRYPT_OR_DECRYPT, NOW)


def broken_meks() -> dict[str, tuple[Mek, ...]]:
    old, active = ring_of(2).meks
    twin = Mek(old.id, MekState.DECRYPT_ONLY, NOW, None, NOW, rng.new_key())
    late = Mek(MekId(new_id()), MekState.DECRYPT_ONLY, NOW, NOW + HOUR, NOW, rng.new_key())
    short = Mek(MekId(new_id()), MekState.DECRYPT_ONLY, NOW, None, NOW, SecretBytes(b"short"))
    return {
        "no key encrypts": (old,),
        "two keys encrypt": (active, ring_of(1).active),
        "one id twice": (old, active, twin),
        "times out of order": (late, active),
        "short key": (short, active),
        "empty": (),
    }


@pytest.mark.parametrize("case", sorted(broken_meks()))
def test_a_ring_that_breaks_a_rule_is_refused(case: str) -> None:
    with pytest.raises(FormatError):
        KeyRing(broken_meks()[case])


def test_keys_of_another_ring_are_adopted_and_only_decrypt() -> None:
    """A-26, Q-08."""
    ring, former = ring_of(1), ring_of(2)
    adopted = ring.with_adopted(former, NOW + 9 * HOUR)
    assert adopted.active is ring.active
    assert [mek.id for mek in adopted] == [ring.active.id, *(mek.id for mek in former)]
    assert adopted.get(former.active.id).decrypt_only_since == NOW + 9 * HOUR
    assert adopted.get(former.meks[0].id) == former.meks[0]
    assert adopted.with_adopted(former, NOW + 9 * HOUR) == adopted


def test_one_id_for_two_different_keys_is_a_conflict() -> None:
    """Q-08."""
    ring = ring_of(1)
    twin = KeyRing.with_first(ring.active.id, rng.new_key(), NOW)
    with pytest.raises(ConflictError, match="two different keys"):
        ring.with_adopted(twin, NOW)


def test_a_key_that_is_to_be_retired_opens_nothing_until_that_is_taken_back() -> None:
    """findings D5; kms-store.md 5.5."""
    ring = ring_of(2)
    old = ring.meks[0]
    scheduled = ring.with_retirement(old.id, NOW + HOUR)
    assert scheduled.get(old.id).material == old.material
    with pytest.raises(KeyNotFoundError, match="is to be retired from") as caught:
        scheduled.for_reading(old.id)
    assert "--take-back" in caught.value.hint
    assert scheduled.for_reading(ring.active.id) == ring.active
    keys = RingKeys(lambda: scheduled)
    assert keys.ids() == {ring.active.id}
    with pytest.raises(KeyNotFoundError):
        keys.unwrap(old.id, bytes(92), KeyContext(b"label"))
    assert scheduled.with_retirement(old.id, None) == ring
    adopted = ring_of(1).with_adopted(scheduled, NOW)
    assert adopted.for_reading(old.id).material == old.material
