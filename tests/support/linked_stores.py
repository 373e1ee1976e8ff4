"""Makes KMS stores of format 2, as the services will, with a local root."""

from dataclasses import replace
from datetime import UTC, datetime

from strongroom.crypto import places, rng, seals
from strongroom.crypto.secret import SecretBytes
from strongroom.ids import InstallationId, MekId, RmkId, new_id
from strongroom.kms import store as kms_store
from strongroom.kms.keyring import KeyRing
from strongroom.kms.keys import Rmk
from strongroom.kms.links import Reason
from strongroom.kms.store import KmsStore, Predecessor
from strongroom.roots.base import Context, WrapRecord

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
NOW_TEXT = "2026-01-02T03:04:05Z"


class Chain:
    """A store with its keys, and what may become of it."""

    def __init__(self, store: KmsStore, rmk: Rmk, ring: KeyRing, key: SecretBytes) -> None:
        self.store, self.rmk, self.ring, self.key = store, rmk, ring, key
        self.key_id = store.wraps[0].root_key_id
        self.raw = kms_store.serialize(store)

    @property
    def before(self) -> Predecessor:
        return Predecessor(self.store.epoch, self.raw, self.rmk, self.store.links)

    def rotated(self, now: datetime = NOW) -> "Chain":
        """With a new RMK and a new active MEK."""
        ring = self.ring.with_new_active(MekId(new_id()), rng.new_key(), now)
        draft, rmk = _draft(self.store.installation_id, self.key, self.key_id)
        draft = replace(
            draft, meks=self.store.meks, sequence=self.store.sequence, former=self.store.former
        )
        return Chain(kms_store.succeeding(draft, ring, rmk, self.before), rmk, ring, self.key)

    def without(self, mek_id: str) -> "Chain":
        """Under the same RMK, without a MEK."""
        ring = self.ring.without(mek_id)
        made = kms_store.succeeding(self.store, ring, self.rmk, self.before)
        return Chain(made, self.rmk, ring, self.key)

    def broken(self, reason: Reason) -> "Chain":
        """Under a new RMK, without the signature of this one."""
        draft, rmk = _draft(self.store.installation_id, self.key, self.key_id)
        before = self.before._replace(rmk=None)
        made = kms_store.succeeding(draft, self.ring, rmk, before, reason)
        return Chain(made, rmk, self.ring, self.key)


def first(key: SecretBytes, installation: str = "", key_id: str = "") -> Chain:
    """The first store of an installation, under a configuration key."""
    draft, rmk = _draft(InstallationId(installation or new_id()), key, key_id or new_id())
    ring = KeyRing.with_first(MekId(new_id()), rng.new_key(), NOW)
    return Chain(kms_store.first(draft, ring, rmk), rmk, ring, key)


def _draft(installation: InstallationId, key: SecretBytes, key_id: str) -> tuple[KmsStore, Rmk]:
    rmk = Rmk(RmkId(new_id()), installation, rng.new_key())
    wrap = local_wrap(rmk, key, key_id)
    return KmsStore(1, installation, "local", rmk.id, NOW_TEXT, (wrap,)), rmk


def local_wrap(rmk: Rmk, key: SecretBytes, key_id: str) -> WrapRecord:
    """The wrap of an RMK by a configuration key (kms-store.md 5.4)."""
    context = Context(rmk.installation_id, rmk.id, new_id())
    place = places.of_local_root(*context.pairs().values())
    return WrapRecord(
        id=context.wrap_id,
        kind="local",
        form="direct",
        root_key_id=key_id,
        region="",
        blob=seals.wrap(rmk.material, place, kek=key),
        inner=b"",
        context=context.pairs(),
        added_at=NOW_TEXT,
        last_verified=NOW_TEXT,
    )
