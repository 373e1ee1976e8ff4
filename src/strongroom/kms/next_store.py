"""Builds the next KMS store, and proves it before it is committed (docs/format/kms-store.md 4); writes nothing.

Each function makes a `NextStore` of the present store: `initial`, `rotated`, `abandoned` and so on. `prove` opens its
bytes again. The caller (`services.keys.keeper`) puts the proved bytes, which is the only commit: a store that does not
open again would take every extract with it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Protocol

from strongroom.clock import format_utc
from strongroom.crypto import rng
from strongroom.crypto.secret import SecretBytes
from strongroom.errors import NotFoundError, StateError
from strongroom.ids import InstallationId, MekId, RmkId, new_id
from strongroom.kms import canary
from strongroom.kms import store as kms_store
from strongroom.kms.keyring import KeyRing
from strongroom.kms.keys import Rmk
from strongroom.kms.opening import FindRoot, OpenStore, open_store
from strongroom.kms.ring_keys import RingKeys
from strongroom.kms.store import KmsStore
from strongroom.roots.base import Context, RootProvider, WrapRecord
from strongroom.roots.registry import RECIPIENT_KINDS


@dataclass(frozen=True)
class NextStore:
    """A store that was built and is not committed yet, with its open keys."""

    store: KmsStore
    rmk: Rmk
    ring: KeyRing

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
    return _under_new_rmk(installation_id, roots, ring, now)


def rotated(opened: OpenStore, roots: RootSet, now: datetime) -> NextStore:
    """The store with a new RMK from these roots, all MEKs wrapped by it, and a new active MEK (Q-20, A-22)."""
    ring = opened.ring.with_new_active(MekId(new_id()), rng.new_key(), now)
    built = _under_new_rmk(opened.store.installation_id, roots, ring, now)
    kept = replace(
        built.store,
        epoch=opened.store.epoch + 1,
        former=opened.store.former,
        wraps=tuple(_with_drill(wrap, opened.store) for wrap in built.store.wraps),
    )
    return replace(built, store=kms_store.seal_ring(kept, ring, built.rmk))


def without_mek(opened: OpenStore, mek_id: str) -> NextStore:
    """The store without a decrypt-only MEK."""
    ring = opened.ring.without(mek_id)
    smaller = replace(opened.store, epoch=opened.store.epoch + 1)
    return NextStore(kms_store.seal_ring(smaller, ring, opened.rmk), opened.rmk, ring)


def with_wrap(opened: OpenStore, root: RootProvider) -> NextStore:
    """The store with the same RMK, wrapped by one more root."""
    store = opened.store
    wrap = root.wrap(opened.rmk.material, Context(store.installation_id, store.rmk_id, new_id()))
    return _next(opened, replace(store, wraps=(*store.wraps, wrap)))


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
    """A new store in the place of one that no root opens; the old one is kept inside the new one, closed (Q-05).

    The MEKs of the closed store show as unavailable. If one of its wraps opens again some day, they can be adopted.

    Args:
        store: The store that no root opens.
        raw: The bytes of that store.
        roots: The roots of the new store.
        now: The present.
        known: MEKs of the closed store that are known from its predecessor; they stay available, decrypt-only.
    """
    built = initial(store.installation_id, roots, now)
    ring = built.ring.with_adopted(known, now) if known is not None else built.ring
    kept = replace(built.store, epoch=store.epoch + 1, former=(*store.former, raw))
    return NextStore(kms_store.seal_ring(kept, ring, built.rmk), built.rmk, ring)


def adopted(opened: OpenStore, found: Mapping[bytes, KeyRing], now: datetime) -> NextStore:
    """The store with the MEKs of closed stores that open again, decrypt-only (Q-08), and without those closed stores.

    Raises:
        ConflictError: The same id names different keys.
    """
    ring = opened.ring
    for former in found.values():
        ring = ring.with_adopted(former, now)
    left = tuple(raw for raw in opened.store.former if raw not in found)
    store = replace(opened.store, epoch=opened.store.epoch + 1, former=left)
    return NextStore(kms_store.seal_ring(store, ring, opened.rmk), opened.rmk, ring)


def _with_drill(wrap: WrapRecord, before: KmsStore) -> WrapRecord:
    """A recipient's new wrap with the time of its last drill, which a rotation cannot repeat: the identity is offline."""
    if wrap.kind not in RECIPIENT_KINDS:
        return wrap
    drills = [old.last_verified for old in before.wraps if old.root_key_id == wrap.root_key_id]
    return replace(wrap, last_verified=max(drills, default=wrap.last_verified))


def _next(opened: OpenStore, store: KmsStore) -> NextStore:
    grown = replace(store, epoch=store.epoch + 1)
    return NextStore(kms_store.seal_ring(grown, opened.ring, opened.rmk), opened.rmk, opened.ring)


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
    installation_id: InstallationId, roots: RootSet, ring: KeyRing, now: datetime
) -> NextStore:
    rmk_id = RmkId(new_id())
    material, wrap = roots.primary.generate_data_key(Context(installation_id, rmk_id, new_id()))
    others = (
        other.wrap(material, Context(installation_id, rmk_id, new_id())) for other in roots.others
    )
    wraps = (wrap, *others)
    empty = KmsStore(1, installation_id, roots.mode, rmk_id, format_utc(now), wraps, ())
    rmk = empty.rmk(material)
    return NextStore(kms_store.seal_ring(empty, ring, rmk), rmk, ring)
