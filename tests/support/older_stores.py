"""Writes KMS stores of format 1, as releases before format 2 did: the product only reads them."""

import hashlib
import hmac
from dataclasses import replace

from strongroom.canonical import to_base64
from strongroom.clock import FixedClock, format_utc, parse_utc
from strongroom.crypto import aead, labels, rng
from strongroom.crypto.kdf import hkdf
from strongroom.crypto.secret import SecretBytes
from strongroom.ids import InstallationId, MekId, RmkId, id_bytes, new_id
from strongroom.kms import store_1
from strongroom.kms.keyring import KeyRing
from strongroom.kms.keys import Mek, Rmk
from strongroom.kms.numbered_meks import moment_text
from strongroom.kms.store_1 import KmsStore1, WrappedMek
from strongroom.roots.base import Context, WrapRecord
from strongroom.roots.local import LocalRoot

AT = "2026-01-02T03:04:05Z"


def local_wrap(rmk: Rmk, key: SecretBytes, key_id: str) -> WrapRecord:
    """The wrap of an RMK by a configuration key, as format 1 had it (kms-store.md 3.2)."""
    context = Context(rmk.installation_id, rmk.id, new_id())
    kek = hkdf(key, salt=b"", info=labels.ROOT_LOCAL)
    aad = labels.ROOT_LOCAL + b"".join(map(id_bytes, context.ids))
    blob = aead.wrap(rmk.material, kek=kek, aad=aad)
    made = LocalRoot(key_id, lambda _: key, FixedClock(parse_utc(AT))).wrap(rmk.material, context)
    return replace(made, blob=blob, version=1)


def seal_ring(store: KmsStore1, ring: KeyRing, rmk: Rmk) -> KmsStore1:
    """The store with the MEKs of this ring, wrapped and authenticated by this RMK."""
    sealed = replace(store, meks=tuple(_wrapped(mek, rmk) for mek in ring))
    return replace(sealed, mac=mac(sealed, rmk))


def mac(store: KmsStore1, rmk: Rmk) -> bytes:
    """The MAC over all members of the store except the MAC itself (2.3)."""
    data = store_1.KIND.dumps(store_1.fields(store))
    return hmac.digest(rmk.mac_key().reveal(), data, hashlib.sha256)


def serialize(store: KmsStore1) -> bytes:
    """The canonical bytes (1.1)."""
    return store_1.KIND.dumps({**store_1.fields(store), "mac": to_base64(store.mac)})


def first(key: SecretBytes, key_id: str, installation: str = "") -> tuple[KmsStore1, KeyRing, Rmk]:
    """A store in local mode with one MEK."""
    rmk = Rmk(RmkId(new_id()), InstallationId(installation or new_id()), rng.new_key())
    wrap = local_wrap(rmk, key, key_id)
    ring = KeyRing.with_first(MekId(new_id()), rng.new_key(), parse_utc(AT))
    store = KmsStore1(1, rmk.installation_id, "local", rmk.id, AT, (wrap,), ())
    return seal_ring(store, ring, rmk), ring, rmk


def _wrapped(mek: Mek, rmk: Rmk) -> WrappedMek:
    return WrappedMek(
        id=mek.id,
        state=mek.state,
        created_at=format_utc(mek.created_at),
        encrypting_since=moment_text(mek.encrypting_since),
        decrypt_only_since=moment_text(mek.decrypt_only_since),
        wrapped=aead.wrap(mek.material, kek=rmk.wrap_key(), aad=rmk.mek_aad(mek.id)),
    )
