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
from strongroom.kms import next_store
from strongroom.kms import store as kms_store
from strongroom.kms.data_keys import KeyContext
from strongroom.kms.keyring import KeyRing
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


def closed_store() -> bytes:
    return first().raw


def with_former(*raws: bytes) -> OpenStore:
    made = first()
    store = kms_store.seal_ring(replace(made.store, former=raws), made.ring, made.rmk)
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
    raws = closed_store(), closed_store()
    before = with_former(*raws)
    after = next_store.rotated(before, LOCAL, LATER)
    assert kms_store.parse(after.raw).former == raws
    assert after.store.former_mek_ids() == before.store.former_mek_ids() != ()
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
    "without_mek": lambda before: next_store.without_mek(before, next(iter(before.ring)).id),
    "adopted": lambda before: next_store.adopted(before, {}, LATER),
}


@pytest.mark.parametrize("name", CHANGES)
def test_every_change_has_the_next_epoch_and_keeps_closed_stores(name: str) -> None:
    """docs/format/kms-store.md 4.3: the epoch grows with every change; findings M2."""
    raws = (closed_store(),)
    two = next_store.rotated(with_former(*raws), BOTH, LATER)
    after = CHANGES[name](opened(two))
    assert after.store.epoch == two.store.epoch + 1
    assert after.store.former == raws
    next_store.prove(after, find)


def test_a_store_that_nothing_opens_is_kept_in_the_one_in_its_place() -> None:
    """Q-05: closed stores of before stay as well, and the epoch goes on."""
    raws = (closed_store(),)
    before = with_former(*raws)
    raw = kms_store.serialize(before.store)
    after = next_store.abandoned(before.store, raw, LOCAL, LATER)
    assert after.store.former == (*raws, raw)
    assert after.store.epoch == before.store.epoch + 1
    assert set(after.store.former_mek_ids()) >= {before.ring.active.id}
    next_store.prove(after, find)


def test_a_ring_that_is_known_stays_decrypt_only() -> None:
    before = opened(first())
    raw = kms_store.serialize(before.store)
    after = next_store.abandoned(before.store, raw, LOCAL, LATER, before.ring)
    kept = after.ring.get(before.ring.active.id)
    assert (kept.state, kept.material) == (MekState.DECRYPT_ONLY, before.ring.active.material)


def test_adopting_takes_the_store_that_opened_away_and_no_other() -> None:
    """Q-08."""
    ours, others = first(), closed_store()
    before = with_former(ours.raw, others)
    after = next_store.adopted(before, {ours.raw: ours.ring}, LATER)
    assert after.store.former == (others,)
    assert after.ring.get(ours.ring.active.id).state is MekState.DECRYPT_ONLY
    assert after.ring.active.id == before.ring.active.id


def test_a_former_ring_that_comes_back_different_is_refused() -> None:
    """findings M4: one id, two keys: neither is dropped in silence."""
    before = with_former(raw := closed_store())
    forged = KeyRing.with_first(before.ring.active.id, rng.new_key(), NOW)
    with pytest.raises(ConflictError, match="two different keys"):
        next_store.adopted(before, {raw: forged}, LATER)


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
        replace(change.store, former=(closed_store(),)),
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
