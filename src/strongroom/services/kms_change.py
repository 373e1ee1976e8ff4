"""Builds the next KMS store and proves it before anybody relies on it (docs/format/kms-store.md 4).

It never writes: the caller puts the proved bytes, which is the only commit point.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime

from strongroom.clock import format_utc
from strongroom.crypto import rng
from strongroom.envelope.header import Placement
from strongroom.errors import IntegrityError, StateError
from strongroom.ids import InstallationId, MekId, RmkId, new_id
from strongroom.kms import store as kms_store
from strongroom.kms.accessor import KmsAccessor
from strongroom.kms.keyring import KeyRing
from strongroom.kms.keys import Rmk
from strongroom.kms.opening import FindRoot, OpenStore
from strongroom.kms.store import KmsStore
from strongroom.roots.base import Context, RootProvider


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
    others: tuple[RootProvider, ...] = ()


def first(installation_id: InstallationId, roots: RootSet, now: datetime) -> NextStore:
    """The store of a new installation: one RMK, one MEK that encrypts."""
    ring = KeyRing.with_first(MekId(new_id()), rng.new_key(), now)
    return _under_new_rmk(installation_id, roots, ring, now)


def rotated(opened: OpenStore, roots: RootSet, now: datetime) -> NextStore:
    """A new RMK from these roots, all MEKs under it, and a new MEK that encrypts (Q-20, A-22)."""
    ring = opened.ring.with_new_active(MekId(new_id()), rng.new_key(), now)
    built = _under_new_rmk(opened.store.installation_id, roots, ring, now)
    kept = replace(built.store, epoch=opened.store.epoch + 1, former=opened.store.former)
    return replace(built, store=kms_store.seal_ring(kept, ring, built.rmk))


def without_mek(opened: OpenStore, mek_id: str) -> NextStore:
    """The same store without a decrypt-only MEK."""
    ring = opened.ring.without(mek_id)
    smaller = replace(opened.store, epoch=opened.store.epoch + 1)
    return NextStore(kms_store.seal_ring(smaller, ring, opened.rmk), opened.rmk, ring)


def prove(change: NextStore, find_root: FindRoot) -> None:
    """Open the bytes again by every wrap, compare every MEK, make and open a data key (4.1).

    Raises:
        StateError: What comes back is not what was put in.
        StrongroomError: A wrap or the store does not open.
    """
    raw = change.raw
    parsed = kms_store.parse(raw)
    for wrap in parsed.wraps:
        rmk = parsed.rmk(find_root(wrap).unwrap(wrap))
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


Mutation = Callable[[OpenStore], NextStore]
