"""Builds the next KMS store, and proves it before it is committed (docs/format/kms-store.md 4 to 7); writes nothing.

Each function makes a `NextStore` of the present store: `initial`, `rotated`, `abandoned` and so on. `prove` opens its
bytes again. The caller (`services.keys.keeper`) puts the proved bytes, which is the only commit: a store that does not
open again would take every extract with it. The store before signs the next one, so a function that is given an opened
store needs it exactly as it lies.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Protocol

from strongroom.clock import format_utc
from strongroom.crypto import rng
from strongroom.crypto.secret import SecretBytes
from strongroom.errors import NotFoundError, StateError
from strongroom.ids import InstallationId, MekId, RmkId, new_id
from strongroom.kms import canary, closed_stores
from strongroom.kms import store as kms_store
from strongroom.kms.closed_stores import ClosedStore
from strongroom.kms.keyring import KeyRing
from strongroom.kms.keys import Rmk
from strongroom.kms.links import Continuity, Known, Reason
from strongroom.kms.opening import FindRoot, OpenStore, open_store
from strongroom.kms.ring_keys import RingKeys
from strongroom.kms.store import KmsStore, Predecessor
from strongroom.roots.base import Context, RootProvider, WrapRecord
from strongroom.roots.registry import RECIPIENT_KINDS

ClosedBytes = Mapping[ClosedStore, bytes]


@dataclass(frozen=True)
class NextStore:
    """A store that was built and is not committed yet, with its open keys.

    Attributes:
        store: The store.
        rmk: The RMK of that store.
        ring: The MEKs of that store.
        closes: The bytes of the closed stores to which it refers and the store before it did not.
    """

    store: KmsStore
    rmk: Rmk
    ring: KeyRing
    closes: ClosedBytes = field(default_factory=dict)

    @property
    def is_break(self) -> bool:
        """Whether the store says itself that the one before could not sign it."""
        return any(link.is_break for link in self.store.links[-1:])

    @property
    def raw(self) -> bytes:
        """The bytes to put."""
        return kms_store.serialize(self.store)


class WrapsKeys(Protocol):
    """The part of a provider that a rotation needs of a recovery root."""

    def wrap(self, key: SecretBytes, context: Context) -> WrapRecord:
        """Wrap a key, bound to a context."""
        ...


@dataclass(frozen=True)
class RootSet:
    """The roots by which a new RMK is wrapped.

    Attributes:
        mode: The KMS mode.
        primary: The mode's root, which also generates the RMK.
        others: Recovery roots, each of which wraps the same RMK.
    """

    mode: str
    primary: RootProvider
    others: tuple[WrapsKeys, ...] = ()


def initial(installation_id: InstallationId, roots: RootSet, now: datetime) -> NextStore:
    """The store of a new installation: an RMK and a single, active MEK."""
    ring = KeyRing.with_first(MekId(new_id()), rng.new_key(), now)
    draft, rmk = _under_new_rmk(installation_id, roots, now)
    return NextStore(kms_store.first(draft, ring, rmk), rmk, ring)


def rotated(
    opened: OpenStore,
    roots: RootSet,
    now: datetime,
    *,
    ring: KeyRing | None = None,
    closes: ClosedBytes | None = None,
    drops: Collection[ClosedStore] = (),
) -> NextStore:
    """The store with a new RMK from these roots, all MEKs wrapped by it, and a new active MEK (Q-20, A-22).

    Args:
        opened: The present store.
        roots: The roots of the new RMK.
        now: The present.
        ring: The MEKs to keep; None keeps those of the present store.
        closes: Closed stores to which the new store refers as well.
        drops: Closed stores to which the new store does not refer any longer.

    Raises:
        StateError: The new store would have more MEKs or closed stores than it may; no root was asked.
    """
    ring = (ring or opened.ring).with_new_active(MekId(new_id()), rng.new_key(), now)
    former = tuple(one for one in opened.store.former if one not in drops)
    former = _closing(former, closes or {})
    kms_store.check_room(opened.store, meks=len(ring.meks) - len(opened.store.meks))
    draft, rmk = _under_new_rmk(opened.store.installation_id, roots, now)
    draft = replace(
        draft,
        meks=opened.store.meks,
        sequence=opened.store.sequence,
        former=former,
        wraps=tuple(_with_drill(wrap, opened.store) for wrap in draft.wraps),
    )
    made = kms_store.succeeding(draft, ring, rmk, _before(opened))
    return NextStore(made, rmk, ring, closes or {})


def without_mek(opened: OpenStore, mek_id: str, now: datetime) -> NextStore:
    """The store without a decrypt-only MEK.

    Raises:
        KeyNotFoundError: The store has no MEK of this id.
        StateError: The MEK is the active one, or its retirement is scheduled for later.
    """
    at = opened.ring.get(mek_id).retire_at
    if at is not None and now < at:
        raise StateError(
            f"MEK {mek_id} is to be retired from {format_utc(at)} on, and not before",
            hint=f"wait, or take that back first: tsm security kms retire {mek_id} --take-back",
        )
    return _next(opened, opened.store, opened.ring.without(mek_id))


def with_retirement(opened: OpenStore, mek_id: str, at: datetime | None) -> NextStore:
    """The store in which the retirement of a decrypt-only MEK is scheduled, or taken back.

    Args:
        opened: The present store.
        mek_id: The MEK.
        at: The time from which on it may be removed; None takes the retirement back.

    Raises:
        KeyNotFoundError: The store has no MEK of this id.
        StateError: The MEK is the active one, or there is no retirement to take back.
    """
    return _next(opened, opened.store, opened.ring.with_retirement(mek_id, at))


def with_wrap(
    opened: OpenStore, root: RootProvider, among: tuple[WrapRecord, ...] | None = None
) -> NextStore:
    """The store with the same RMK, wrapped by one more root.

    Args:
        opened: The present store.
        root: The root.
        among: The other wraps; None keeps those of the present store.

    Raises:
        StateError: There is no room for another wrap; the root was not asked.
    """
    store = opened.store
    kms_store.check_room(store, wraps=1)
    wrap = root.wrap(opened.rmk.material, Context(store.installation_id, store.rmk_id, new_id()))
    return _next(opened, replace(store, wraps=(*(among or store.wraps), wrap)))


def without_wrap(opened: OpenStore, wrap_id: str) -> NextStore:
    """The store with the same RMK, without one of its wraps.

    Raises:
        NotFoundError: The store has no wrap of this id.
        StateError: The wrap is that of the mode's root.
    """
    first, *others = opened.store.wraps
    kept = [wrap for wrap in others if wrap.id != wrap_id]
    if wrap_id == first.id:
        raise StateError(
            f"wrap {wrap_id} is that of the KMS mode", hint="change the mode: set-mode"
        )
    if len(kept) == len(others):
        raise NotFoundError(f"there is no wrap {wrap_id}", hint="see 'kms roots list'")
    return _next(opened, replace(opened.store, wraps=(first, *kept)))


def verified(opened: OpenStore, wrap_ids: frozenset[str], now: datetime) -> NextStore:
    """The store with the present time as `last_verified` of these wraps."""
    moment = format_utc(now)
    wraps = tuple(
        replace(wrap, last_verified=moment) if wrap.id in wrap_ids else wrap
        for wrap in opened.store.wraps
    )
    return _next(opened, replace(opened.store, wraps=wraps))


def abandoned(
    store: KmsStore, raw: bytes, roots: RootSet, now: datetime, known: KeyRing | None = None
) -> NextStore:
    """A new store in the place of one that no root opens, which is closed (Q-05).

    Nothing signs the new store, and its link says so (6.3). The MEKs of the closed store show as unavailable. If one of
    its wraps opens again some day, they can be adopted.

    Args:
        store: The store that no root opens.
        raw: The bytes of that store.
        roots: The roots of the new store.
        now: The present.
        known: MEKs of the closed store that are known from its predecessor; they stay available, decrypt-only.

    Raises:
        StateError: There are as many closed stores as there may be; no root was asked.
    """
    closes = {closed_stores.closed(raw, store.epoch): raw}
    former = _closing(store.former, closes)
    draft, rmk = _under_new_rmk(store.installation_id, roots, now)
    ring = KeyRing.with_first(MekId(new_id()), rng.new_key(), now)
    if known is not None:
        ring = ring.with_adopted(known, now)
    draft = replace(draft, sequence=store.sequence, former=former)
    before = Predecessor(store.epoch, raw, None, store.links)
    made = kms_store.succeeding(draft, ring, rmk, before, Reason.ABANDONED)
    return NextStore(made, rmk, ring, closes)


def closing(opened: OpenStore, closes: ClosedBytes) -> NextStore:
    """The store that refers to further closed stores, of a backup whose keys do not open.

    Raises:
        StateError: There would be more closed stores than there may be.
    """
    former = _closing(opened.store.former, closes)
    return replace(_next(opened, replace(opened.store, former=former)), closes=closes)


def adopted(opened: OpenStore, found: Mapping[ClosedStore, KeyRing], now: datetime) -> NextStore:
    """The store with the MEKs of closed stores that open again, decrypt-only (Q-08), and without those closed stores.

    Raises:
        ConflictError: The same id names different keys.
        StateError: There is no room for so many MEKs.
    """
    ring = opened.ring
    for former in found.values():
        ring = ring.with_adopted(former, now)
    kms_store.check_room(opened.store, meks=len(ring.meks) - len(opened.store.meks))
    left = tuple(one for one in opened.store.former if one not in found)
    return _next(opened, replace(opened.store, former=left), ring)


def forgotten(opened: OpenStore, digest: str) -> NextStore:
    """The store without one of its closed stores, which is given up for good (7.3).

    Raises:
        NotFoundError: The store refers to no closed store of this digest.
    """
    left = tuple(one for one in opened.store.former if one.digest != digest)
    if left == opened.store.former:
        raise NotFoundError(
            f"there is no closed KMS store {digest}", hint="see 'tsm security kms former list'"
        )
    return _next(opened, replace(opened.store, former=left))


def above(change: NextStore, before: Predecessor, epoch: int) -> NextStore:
    """The same change with a later epoch, if its own is used up by one that was withdrawn (docs/format/key-changes.md 1.5).

    Args:
        change: The change.
        before: The present store; its RMK is needed unless the change breaks with it.
        epoch: The highest epoch that was used.
    """
    if change.store.epoch > epoch:
        return change
    reason = change.store.links[-1].reason
    signer = None if change.is_break else before.rmk
    after = Predecessor(epoch, before.raw, signer, before.links)
    made = kms_store.succeeding(change.store, change.ring, change.rmk, after, reason)
    return replace(change, store=made)


def prove(change: NextStore, find_root: FindRoot) -> None:
    """Open the bytes of a next store by every wrap, compare every MEK, make a data key and open it (4.1).

    Wraps for recipients are not opened, since their identities are offline.

    Raises:
        StateError: The bytes give other MEKs than those that were put in.
        StrongroomError: A wrap or the store does not open.
    """
    raw = change.raw
    parsed = kms_store.parse(raw)
    for wrap in parsed.wraps:
        root = find_root(wrap)
        if not root.describe().online:
            continue
        rmk = parsed.rmk(root.unwrap(wrap))
        ring = parsed.open_ring(rmk)
        if [(mek.id, mek.material) for mek in ring] != [
            (mek.id, mek.material) for mek in change.ring
        ]:
            raise StateError(f"the new KMS store gives back other MEKs by wrap {wrap.id}")
    check_canary(raw, find_root)


def check_follows(change: NextStore, before: Known) -> None:
    """Refuse a store that whoever knows the present one would refuse (6.4): a part of the proof before the commit.

    Raises:
        StateError: The store does not follow from the present one, and does not say that it breaks with it.
    """
    wanted = Continuity.BROKEN if change.is_break else Continuity.FOLLOWS
    if change.store.continuity(before, change.raw) is not wanted:
        raise StateError(
            "the new KMS store does not follow from the present one",
            hint="this is an error in the program; nothing was changed",
        )


def check_canary(raw: bytes, find_root: FindRoot) -> None:
    """Make a data key by the active MEK and open it again, with keys that are read from the bytes and not from memory.

    Raises:
        IntegrityError: The data key that was opened is another one.
    """
    opened = open_store(kms_store.parse(raw), find_root, _say_nothing)
    canary.check(RingKeys(lambda: opened.ring))


def _say_nothing(channel: str, sentence: str) -> None:
    del channel, sentence


def _under_new_rmk(
    installation_id: InstallationId, roots: RootSet, now: datetime
) -> tuple[KmsStore, Rmk]:
    """A new RMK from these roots, and a store with its wraps and nothing else as yet."""
    rmk_id = RmkId(new_id())
    material, wrap = roots.primary.generate_data_key(Context(installation_id, rmk_id, new_id()))
    others = (
        other.wrap(material, Context(installation_id, rmk_id, new_id())) for other in roots.others
    )
    wraps = (wrap, *others)
    draft = KmsStore(1, installation_id, roots.mode, rmk_id, format_utc(now), wraps)
    return draft, draft.rmk(material)


def _next(opened: OpenStore, draft: KmsStore, ring: KeyRing | None = None) -> NextStore:
    """The store after an opened one, under the same RMK."""
    ring = ring or opened.ring
    made = kms_store.succeeding(draft, ring, opened.rmk, _before(opened))
    return NextStore(made, opened.rmk, ring)


def _before(opened: OpenStore) -> Predecessor:
    store = opened.store
    return Predecessor(store.epoch, kms_store.serialize(store), opened.rmk, store.links)


def _closing(former: tuple[ClosedStore, ...], closes: ClosedBytes) -> tuple[ClosedStore, ...]:
    """References to closed stores, and these besides.

    Raises:
        StateError: There would be more of them than there may be.
    """
    for one in closes:
        closed_stores.check_room(former)
        former = (*former, one)
    return former


def _with_drill(wrap: WrapRecord, before: KmsStore) -> WrapRecord:
    """A recipient's new wrap with the time of its last drill, which a rotation cannot repeat: the identity is offline."""
    if wrap.kind not in RECIPIENT_KINDS:
        return wrap
    drills = [old.last_verified for old in before.wraps if old.root_key_id == wrap.root_key_id]
    return replace(wrap, last_verified=max(drills, default=wrap.last_verified))
