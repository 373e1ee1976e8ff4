"""Builds the next KMS store and proves it before anybody relies on it (docs/format/kms-store.md 4).

It never writes: the caller puts the proved bytes, which is the only commit point.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Protocol

from strongroom.clock import format_utc
from strongroom.crypto import rng
from strongroom.crypto.secret import SecretBytes
from strongroom.envelope.header import Placement
from strongroom.errors import IntegrityError, NotFoundError, StateError
from strongroom.ids import InstallationId, MekId, RmkId, new_id
from strongroom.kms import store as kms_store
from strongroom.kms.accessor import KmsAccessor
from strongroom.kms.keyring import KeyRing
from strongroom.kms.keys import Rmk
from strongroom.kms.opening import FindRoot, OpenStore
from strongroom.kms.store import KmsStore
from strongroom.roots.base import RECIPIENT_KINDS, Context, RootProvider, WrapRecord


@dataclass(frozen=True)
class NextStore:
    """A store that is built and not yet put."""

    store: KmsStore
    rmk: Rmk
    ring: KeyRing

    @property
    def raw(self) -> bytes:
        """The bytes to put."""
        return kms_store.serialize(self.store)


class WrapsKeys(Protocol):
    """What a rotation needs of a recovery root; every provider has it."""

    def wrap(self, key: SecretBytes, context: Context) -> WrapRecord:
        """Wrap a given key."""
        ...


@dataclass(frozen=True)
class RootSet:
    """The roots that a new RMK is wrapped by.

    Attributes:
        mode: The KMS mode.
        primary: The mode's root: it gives the RMK.
        others: Recovery roots: each wraps the same RMK.
    """

    mode: str
    primary: RootProvider
    others: tuple[WrapsKeys, ...] = ()


def first(installation_id: InstallationId, roots: RootSet, now: datetime) -> NextStore:
    """The store of a new installation: one RMK, one MEK that encrypts."""
    ring = KeyRing.with_first(MekId(new_id()), rng.new_key(), now)
    return _under_new_rmk(installation_id, roots, ring, now)


def rotated(opened: OpenStore, roots: RootSet, now: datetime) -> NextStore:
    """A new RMK from these roots, all MEKs under it, and a new MEK that encrypts (Q-20, A-22)."""
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
    """The same store without a decrypt-only MEK."""
    ring = opened.ring.without(mek_id)
    smaller = replace(opened.store, epoch=opened.store.epoch + 1)
    return NextStore(kms_store.seal_ring(smaller, ring, opened.rmk), opened.rmk, ring)


def with_wrap(opened: OpenStore, root: RootProvider) -> NextStore:
    """The same RMK, wrapped by one root more."""
    store = opened.store
    wrap = root.wrap(opened.rmk.material, Context(store.installation_id, store.rmk_id, new_id()))
    return _next(opened, replace(store, wraps=(*store.wraps, wrap)))


def without_wrap(opened: OpenStore, wrap_id: str) -> NextStore:
    """The same RMK without one of its wraps.

    Raises:
        NotFoundError: There is no such wrap.
        StateError: It is the wrap of the mode's root.
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
    """The same store that says of these wraps that they were opened now."""
    moment = format_utc(now)
    wraps = tuple(
        replace(wrap, last_verified=moment) if wrap.id in wrap_ids else wrap
        for wrap in opened.store.wraps
    )
    return _next(opened, replace(opened.store, wraps=wraps))


def abandoned(
    store: KmsStore, raw: bytes, roots: RootSet, now: datetime, known: KeyRing | None = None
) -> NextStore:
    """A new store in place of one that nothing opens; that one is kept, closed (Q-05).

    Its MEKs show as unavailable and are adopted once one of its wraps opens again.

    Args:
        store: The one that nothing opens.
        raw: Its bytes.
        roots: The roots of the new one.
        now: The present.
        known: MEKs of it that the store before it gives: they stay, decrypt-only.
    """
    built = first(store.installation_id, roots, now)
    ring = built.ring.with_adopted(known, now) if known is not None else built.ring
    kept = replace(built.store, epoch=store.epoch + 1, former=(*store.former, raw))
    return NextStore(kms_store.seal_ring(kept, ring, built.rmk), built.rmk, ring)


def adopted(opened: OpenStore, found: Mapping[bytes, KeyRing], now: datetime) -> NextStore:
    """The MEKs of former stores that open again, decrypt-only (Q-08); those stores go.

    Raises:
        ConflictError: Two different keys have one id.
    """
    ring = opened.ring
    for former in found.values():
        ring = ring.with_adopted(former, now)
    left = tuple(raw for raw in opened.store.former if raw not in found)
    store = replace(opened.store, epoch=opened.store.epoch + 1, former=left)
    return NextStore(kms_store.seal_ring(store, ring, opened.rmk), opened.rmk, ring)


def _with_drill(wrap: WrapRecord, before: KmsStore) -> WrapRecord:
    """A recipient's new wrap remembers when its identity was last at hand: nobody is called in to rotate."""
    if wrap.kind not in RECIPIENT_KINDS:
        return wrap
    drills = [old.last_verified for old in before.wraps if old.root_key_id == wrap.root_key_id]
    return replace(wrap, last_verified=max(drills, default=wrap.last_verified))


def _next(opened: OpenStore, store: KmsStore) -> NextStore:
    grown = replace(store, epoch=store.epoch + 1)
    return NextStore(kms_store.seal_ring(grown, opened.ring, opened.rmk), opened.rmk, opened.ring)


def prove(change: NextStore, find_root: FindRoot) -> None:
    """Open the bytes again by every wrap, compare every MEK, make and open a data key (4.1).

    Raises:
        StateError: What comes back is not what was put in.
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
    """Make a data key under the active MEK and open it again, from the bytes alone.

    Raises:
        IntegrityError: Another data key comes back.
    """
    keys = KmsAccessor(_InMemory(raw), find_root, monotonic=_standstill, log=_say_nothing)
    header, dek = keys.new_envelope(Placement.standalone())
    if keys.open_envelope(header, Placement.standalone()) != dek:
        raise IntegrityError


@dataclass(frozen=True)
class _InMemory:
    raw: bytes

    def version(self) -> int:
        return 0

    def load(self) -> tuple[bytes, int]:
        return self.raw, 0


def _standstill() -> float:
    return 0.0


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
