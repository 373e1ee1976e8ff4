"""The next KMS store: what it keeps, and what its proof finds (docs/format/kms-store.md 4; findings M2, M4)."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from strongroom.clock import FixedClock
from strongroom.crypto import rng
from strongroom.crypto.secret import SecretBytes
from strongroom.errors import (
    ConflictError,
    FormatError,
    IntegrityError,
    NotFoundError,
    StateError,
    StrongroomError,
)
from strongroom.ids import InstallationId, MekId, new_id
from strongroom.kms import closed_stores, next_store
from strongroom.kms import store as kms_store
from strongroom.kms.closed_stores import ClosedStore
from strongroom.kms.data_keys import KeyContext
from strongroom.kms.keyring import KeyRing
from strongroom.kms.links import Continuity
from strongroom.kms.next_store import NextStore, RootSet
from strongroom.kms.opening import OpenStore
from strongroom.kms.ring_keys import RingKeys
from strongroom.kms.states import MekState
from strongroom.roots.base import RootDescription, WrapRecord
from strongroom.roots.local import LocalRoot
from strongroom.system.compat import override
from tests.support.lying_roots import LIES, Lie

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
LATER = NOW + timedelta(days=1)
KEY = rng.new_key()
ROOT = LocalRoot(new_id(), lambda _: KEY, FixedClock(NOW))
RECOVERY_KEY = rng.new_key()
RECOVERY = LocalRoot(new_id(), lambda _: RECOVERY_KEY, FixedClock(NOW))
LOCAL = RootSet("local", ROOT)
BOTH = RootSet("local", ROOT, (RECOVERY,))


def find(wrap: WrapRecord) -> LocalRoot:
    return ROOT if wrap.root_key_id == ROOT.describe().root_key_id else RECOVERY


def first(roots: RootSet = LOCAL) -> NextStore:
    return next_store.initial(InstallationId(new_id()), roots, NOW)


def opened(change: NextStore) -> OpenStore:
    return OpenStore(change.store, change.rmk, change.ring)


def closed_store() -> tuple[ClosedStore, bytes, KeyRing]:
    made = first()
    return closed_stores.closed(made.raw, made.store.epoch), made.raw, made.ring


def with_former(*former: ClosedStore) -> OpenStore:
    made = first()
    store = kms_store.first(replace(made.store, former=former), made.ring, made.rmk)
    return OpenStore(store, made.rmk, made.ring)


class Liar:
    """A root that says something else from a certain call on."""

    def __init__(self, lie: Lie, honest_calls: int = 0) -> None:
        self._lie, self._left = lie, honest_calls

    def unwrap(self, record: WrapRecord) -> SecretBytes:
        key = find(record).unwrap(record)
        self._left -= 1
        return key if self._left >= 0 else self._lie(key)

    def describe(self) -> RootDescription:
        return ROOT.describe()


# ---- what a change keeps -----------------------------------------------------------------------


def test_a_rotation_keeps_closed_stores() -> None:
    """findings M2: `rotated` dropped them, and with them the last way to their MEKs (Q-05, Q-08)."""
    former = closed_store()[0], closed_store()[0]
    after = next_store.rotated(with_former(*former), LOCAL, LATER)
    assert kms_store.parse(after.raw).former == former
    assert after.closes == {}
    next_store.prove(after, find)


def test_a_rotation_makes_a_new_rmk_and_a_new_active_mek_and_keeps_the_others() -> None:
    """K-11, Q-19, Q-20."""
    before = opened(first())
    after = next_store.rotated(before, BOTH, LATER)
    assert after.store.rmk_id != before.store.rmk_id
    assert after.rmk.material != before.rmk.material
    assert after.store.epoch == before.store.epoch + 1
    assert after.store.installation_id == before.store.installation_id
    assert [mek.state for mek in after.ring] == [
        MekState.DECRYPT_ONLY,
        MekState.ENCRYPT_OR_DECRYPT,
    ]
    assert after.ring.get(before.ring.active.id).material == before.ring.active.material
    for wrap in after.store.wraps:
        assert find(wrap).unwrap(wrap) == after.rmk.material
    assert len(after.store.wraps) == 2


CHANGES: dict[str, Callable[[OpenStore], NextStore]] = {
    "rotated": lambda before: next_store.rotated(before, LOCAL, LATER),
    "with_wrap": lambda before: next_store.with_wrap(before, RECOVERY),
    "verified": lambda before: next_store.verified(before, frozenset(), LATER),
    "without_wrap": lambda before: next_store.without_wrap(before, before.store.wraps[-1].id),
    "without_mek": lambda before: next_store.without_mek(before, next(iter(before.ring)).id, LATER),
    "with_retirement": lambda before: next_store.with_retirement(
        before, next(iter(before.ring)).id, LATER
    ),
    "closing": lambda before: next_store.closing(before, {}),
    "adopted": lambda before: next_store.adopted(before, {}, LATER),
}


@pytest.mark.parametrize("name", CHANGES)
def test_every_change_has_the_next_epoch_and_keeps_closed_stores(name: str) -> None:
    """docs/format/kms-store.md 4.3 and 6: the epoch grows with every change, which the store before signs; findings M2."""
    former = (closed_store()[0],)
    two = next_store.rotated(with_former(*former), BOTH, LATER)
    after = CHANGES[name](opened(two))
    assert after.store.epoch == two.store.epoch + 1
    assert after.store.former == former
    assert after.store.continuity(two.store.known(two.raw), after.raw) is Continuity.FOLLOWS
    next_store.prove(after, find)


def test_a_store_that_nothing_opens_is_kept_in_the_one_in_its_place() -> None:
    """Q-05: closed stores of before stay as well, and the epoch goes on."""
    former = (closed_store()[0],)
    before = with_former(*former)
    raw = kms_store.serialize(before.store)
    after = next_store.abandoned(before.store, raw, LOCAL, LATER)
    left = closed_stores.closed(raw, before.store.epoch)
    assert after.store.former == (*former, left)
    assert after.closes == {left: raw}
    assert after.store.epoch == before.store.epoch + 1
    assert after.store.sequence == before.store.sequence + 1
    assert after.store.continuity(before.store.known(raw), after.raw) is Continuity.BROKEN
    next_store.prove(after, find)


def test_a_ring_that_is_known_stays_decrypt_only() -> None:
    before = opened(first())
    raw = kms_store.serialize(before.store)
    after = next_store.abandoned(before.store, raw, LOCAL, LATER, before.ring)
    kept = after.ring.get(before.ring.active.id)
    assert (kept.state, kept.material) == (MekState.DECRYPT_ONLY, before.ring.active.material)


def test_adopting_takes_the_store_that_opened_away_and_no_other() -> None:
    """Q-08."""
    (ours, _, ring), (others, *_) = closed_store(), closed_store()
    before = with_former(ours, others)
    after = next_store.adopted(before, {ours: ring}, LATER)
    assert after.store.former == (others,)
    assert after.ring.get(ring.active.id).state is MekState.DECRYPT_ONLY
    next_store.prove(after, find)
    assert after.ring.active.id == before.ring.active.id


def test_a_former_ring_that_comes_back_different_is_refused() -> None:
    """findings M4: one id, two keys: neither is dropped in silence."""
    before = with_former(one := closed_store()[0])
    forged = KeyRing.with_first(before.ring.active.id, rng.new_key(), NOW)
    with pytest.raises(ConflictError, match="two different keys"):
        next_store.adopted(before, {one: forged}, LATER)


# ---- what has no room, or is given up (findings B1, B2, D5) -------------------------------------


class Unasked:
    """A root that must not be asked."""

    def describe(self) -> RootDescription:
        return ROOT.describe()

    def generate_data_key(self, *_: object) -> None:
        raise AssertionError

    wrap = generate_data_key


UNASKED = RootSet("local", Unasked())  # type: ignore[arg-type]  # what must not be asked of it


def test_a_store_that_is_full_says_so_before_any_root_is_asked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """findings B2."""
    before = opened(first(BOTH))
    monkeypatch.setattr(kms_store, "MAX_MEKS", 1)
    monkeypatch.setattr(kms_store, "MAX_WRAPS", 2)
    with pytest.raises(StateError, match="no more than 1 have room"):
        next_store.rotated(before, UNASKED, LATER)
    with pytest.raises(StateError, match="no more than 2 have room"):
        next_store.with_wrap(before, UNASKED.primary)
    one, _, ring = closed_store()
    with pytest.raises(StateError, match="no more than 1 have room"):
        next_store.adopted(with_former(one), {one: ring}, LATER)


def test_a_seventeenth_closed_store_is_refused_before_any_root_is_asked() -> None:
    """findings B1; kms-store.md 7.3."""
    before = with_former(*(closed_store()[0] for _ in range(16)))
    raw = kms_store.serialize(before.store)
    with pytest.raises(StateError, match="no more than 16 are kept"):
        next_store.abandoned(before.store, raw, UNASKED, LATER)
    one, bytes_, _ = closed_store()
    with pytest.raises(StateError, match="no more than 16 are kept"):
        next_store.rotated(before, UNASKED, LATER, closes={one: bytes_})
    with pytest.raises(StateError, match="no more than 16 are kept"):
        next_store.closing(before, {one: bytes_})
    drops = {before.store.former[3]}
    after = next_store.rotated(before, LOCAL, LATER, closes={one: bytes_}, drops=drops)
    assert set(after.store.former) == {*before.store.former, one} - drops
    assert after.closes == {one: bytes_}


def test_a_closed_store_is_given_up_by_its_digest() -> None:
    one, other = closed_store()[0], closed_store()[0]
    before = with_former(one, other)
    after = next_store.forgotten(before, one.digest)
    assert after.store.former == (other,)
    next_store.prove(after, find)
    with pytest.raises(NotFoundError, match="no closed KMS store"):
        next_store.forgotten(opened(after), one.digest)


def test_a_retirement_that_is_scheduled_waits_for_its_time() -> None:
    """findings D5: the MEK stays, and opens nothing; the store's own time counts."""
    two = opened(next_store.rotated(opened(first()), LOCAL, NOW))
    old, active = two.ring
    scheduled = opened(next_store.with_retirement(two, old.id, LATER))
    assert kms_store.parse(kms_store.serialize(scheduled.store)).meks[0].retire_at is not None
    with pytest.raises(StateError, match="and not before"):
        next_store.without_mek(scheduled, old.id, LATER - timedelta(seconds=1))
    assert [mek.id for mek in next_store.without_mek(scheduled, old.id, LATER).ring] == [active.id]
    back = opened(next_store.with_retirement(scheduled, old.id, None))
    assert back.ring == two.ring
    with pytest.raises(StateError, match="not on its way out"):
        next_store.with_retirement(back, old.id, None)
    with pytest.raises(StateError, match="encrypts new data"):
        next_store.with_retirement(two, active.id, LATER)


def test_the_wrap_of_the_mode_is_never_taken_away() -> None:
    before = opened(first(BOTH))
    with pytest.raises(StateError, match="that of the KMS mode"):
        next_store.without_wrap(before, before.store.wraps[0].id)
    with pytest.raises(NotFoundError):
        next_store.without_wrap(before, new_id())


def test_only_the_wraps_that_opened_are_noted() -> None:
    before = opened(first(BOTH))
    mode, recovery = before.store.wraps
    after = next_store.verified(before, frozenset({recovery.id}), LATER)
    told = [wrap.last_verified for wrap in after.store.wraps]
    assert told == [mode.last_verified, "2026-01-03T03:04:05Z"]


# ---- the proof ---------------------------------------------------------------------------------


def test_an_honest_store_proves() -> None:
    next_store.prove(first(BOTH), find)


@pytest.mark.parametrize("position", [0, 1])
@pytest.mark.parametrize("name", LIES)
def test_a_root_that_lies_about_one_wrap_is_found(name: str, position: int) -> None:
    """findings M4; kms-store.md 4.1: every wrap is asked, the recovery roots' too."""
    change = first(BOTH)
    liar = Liar(LIES[name])
    lying_id = change.store.wraps[position].id
    with pytest.raises(StrongroomError):
        next_store.prove(change, lambda wrap: liar if wrap.id == lying_id else find(wrap))  # type: ignore[arg-type,return-value]  # what is asked of it


@pytest.mark.parametrize("name", LIES)
def test_a_root_that_lies_the_second_time_is_found_by_the_canary(name: str) -> None:
    """kms-store.md 4.1: a data key is made and opened by the bytes alone, so the root is asked again."""
    change = first()
    liar = Liar(LIES[name], honest_calls=1)
    with pytest.raises(StrongroomError):
        next_store.prove(change, lambda _: liar)  # type: ignore[arg-type,return-value]  # as above


def _another_material(ring: KeyRing) -> KeyRing:
    return KeyRing(tuple(replace(mek, material=rng.new_key()) for mek in ring))


def _another_id(ring: KeyRing) -> KeyRing:
    return KeyRing(tuple(replace(mek, id=MekId(new_id())) for mek in ring))


def _one_more(ring: KeyRing) -> KeyRing:
    return ring.with_new_active(MekId(new_id()), rng.new_key(), LATER)


def _one_less(ring: KeyRing) -> KeyRing:
    return ring.without(next(iter(ring)).id)


def _in_another_order(ring: KeyRing) -> KeyRing:
    return KeyRing(tuple(reversed(tuple(ring))))


@pytest.mark.parametrize(
    "differing", [_another_material, _another_id, _one_more, _one_less, _in_another_order]
)
def test_a_ring_that_comes_back_different_is_found(
    differing: Callable[[KeyRing], KeyRing],
) -> None:
    """findings M2: `prove` did not compare the MEKs, and nothing noticed."""
    change = next_store.rotated(opened(first()), LOCAL, LATER)
    wrong = replace(change, ring=differing(change.ring))
    with pytest.raises(StateError, match="gives back other MEKs"):
        next_store.prove(wrong, find)


def test_a_data_key_that_comes_back_different_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """findings M2: the canary made a data key, and compared it with nothing."""
    change = first()
    honest = RingKeys.unwrap

    def lying(keys: RingKeys, key_id: str, blob: bytes, context: KeyContext) -> SecretBytes:
        honest(keys, key_id, blob, context)
        return rng.new_key()

    monkeypatch.setattr(RingKeys, "unwrap", lying)
    with pytest.raises(IntegrityError):
        next_store.check_canary(change.raw, find)
    with pytest.raises(IntegrityError):
        next_store.prove(change, find)


def test_a_store_of_other_bytes_does_not_prove() -> None:
    change = first()
    for forged in (
        replace(change.store, epoch=change.store.epoch + 1),
        replace(change.store, former=(closed_store()[0],)),
        replace(change.store, mac=bytes(32)),
    ):
        with pytest.raises((IntegrityError, FormatError)):
            next_store.prove(replace(change, store=forged), find)


class _Offline(Liar):
    @override
    def describe(self) -> RootDescription:
        return replace(ROOT.describe(), online=False)


def test_a_root_that_is_kept_apart_is_not_asked_for_a_proof() -> None:
    change = first(BOTH)
    apart = _Offline(LIES["refuses"])
    next_store.prove(change, lambda wrap: ROOT if find(wrap) is ROOT else apart)  # type: ignore[arg-type,return-value]  # as above


def test_an_epoch_that_was_withdrawn_is_not_used_again() -> None:
    """docs/format/key-changes.md 1.5: the change is made anew above it, and follows as before; else it stays as it is."""
    before = first()
    change = next_store.rotated(opened(before), LOCAL, LATER)
    predecessor = before.store.known(before.raw)
    known = kms_store.Predecessor(before.store.epoch, before.raw, before.rmk, before.store.links)
    assert next_store.above(change, known, change.store.epoch - 1) is change
    raised = next_store.above(change, known, change.store.epoch + 4)
    assert raised.store.epoch == change.store.epoch + 5
    next_store.check_follows(raised, predecessor)
    next_store.prove(raised, find)
