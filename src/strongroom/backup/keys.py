"""The keys of a backup: subkeys of the RMK, and the further ways to the RMK (docs/format/backup.md 2); pure.

A backup is opened by whoever opens the RMK of its KMS store. Nothing here leaves a key in plain (A-24).
"""

import base64
import binascii
import hashlib
import hmac
import json
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from strongroom.backup.manifest import Seal, canonical
from strongroom.crypto import aead, age
from strongroom.crypto.age import OpenWith, SealTo
from strongroom.crypto.kdf import hkdf
from strongroom.crypto.secret import SecretBytes
from strongroom.errors import FormatError, IntegrityError
from strongroom.ids import id_bytes, id_text
from strongroom.kms import store as kms_store
from strongroom.kms.keyring import KeyRing
from strongroom.kms.keys import Mek, Rmk
from strongroom.kms.store import KmsStore
from strongroom.roots.settings import RootSettings

VERSION = 1
_MAC = b"strongroom/v1/backup/mac"
_ASSETS = b"strongroom/v1/backup/assets"
_MEK = b"strongroom/v1/backup/mek"
_ID_BYTES = 16
_NEVER_COPIED = frozenset({"create"})
"""An option that would make a key: a restore never does (architecture 9 rule 3)."""


@dataclass(frozen=True)
class Place:
    """What the subkeys are bound to."""

    installation_id: str
    rmk_id: str
    backup_id: str

    def info(self, label: bytes) -> bytes:
        """The info of a subkey, and the AAD of what it seals (2.2)."""
        parts = (self.installation_id, self.rmk_id, self.backup_id)
        return label + b"".join(id_bytes(part) for part in parts)


@dataclass(frozen=True)
class NeededRoot:
    """A root of the source, without its secrets (2.4).

    Attributes:
        settings: Kind, key and options.
        secrets: The names of the secrets that were left out.
    """

    settings: RootSettings
    secrets: tuple[str, ...]

    def with_credential(self, credential: SecretBytes) -> RootSettings:
        """Settings in which everything that was left out is this credential."""
        return replace(self.settings, secrets=dict.fromkeys(self.secrets, credential))


def place_of(store: KmsStore, backup_id: str) -> Place:
    """The place of a backup that holds this store."""
    return Place(store.installation_id, store.rmk_id, backup_id)


# ---- manifest ------------------------------------------------------------------------------------


def authenticated(manifest_sha256: str, rmk: Rmk, backup_id: str) -> Seal:
    """The seal of a manifest, by its digest (4.3)."""
    mac = _mac(bytes.fromhex(manifest_sha256), rmk, backup_id)
    return Seal(manifest_sha256, rmk.id, mac.hex())


def check_mac(seal: Seal, rmk: Rmk, backup_id: str) -> None:
    """Whether the maker of this manifest had the RMK (4.3).

    Raises:
        IntegrityError: No.
    """
    expected = _mac(bytes.fromhex(seal.manifest_sha256), rmk, backup_id)
    if not hmac.compare_digest(expected, bytes.fromhex(seal.mac)):
        raise IntegrityError(
            "the backup was changed and given new digests: its seal is not genuine"
        )


def _mac(digest: bytes, rmk: Rmk, backup_id: str) -> bytes:
    info = Place(rmk.installation_id, rmk.id, backup_id).info(_MAC)
    key = hkdf(rmk.material, salt=b"", info=info)
    return hmac.digest(key.reveal(), digest, hashlib.sha256)


# ---- asset keys ----------------------------------------------------------------------------------


def seal_assets(ring: bytes, rmk: Rmk, place: Place) -> bytes:
    """The ring of asset keys (2.3)."""
    info = place.info(_ASSETS)
    return aead.seal(hkdf(rmk.material, salt=b"", info=info), ring, aad=info)


def open_assets(sealed: bytes, rmk: Rmk, place: Place) -> SecretBytes:
    """The ring of asset keys.

    Raises:
        IntegrityError: It does not open.
    """
    info = place.info(_ASSETS)
    return SecretBytes(aead.open_(hkdf(rmk.material, salt=b"", info=info), sealed, aad=info))


# ---- ways to the RMK -----------------------------------------------------------------------------


def wrap_by_mek(rmk: Rmk, mek: Mek, place: Place) -> bytes:
    """The RMK under a MEK, so that an installation opens its own backups (2.5)."""
    info = place.info(_MEK)
    kek = hkdf(mek.material, salt=b"", info=info)
    return id_bytes(mek.id) + aead.wrap(rmk.material, kek=kek, aad=info)


def unwrap_by_mek(wrapped: bytes, ring: KeyRing, place: Place) -> SecretBytes:
    """The RMK by a MEK that is known here.

    Raises:
        KeyNotFoundError: The MEK is not in the ring.
        IntegrityError: It does not open.
    """
    if len(wrapped) < _ID_BYTES:
        raise FormatError("the backup's RMK under a MEK is cut")
    mek = ring.get(id_text(wrapped[:_ID_BYTES]))
    info = place.info(_MEK)
    kek = hkdf(mek.material, salt=b"", info=info)
    return aead.unwrap(wrapped[_ID_BYTES:], kek=kek, aad=info)


def seal_rmk(rmk: Rmk, place: Place, to: SealTo) -> bytes:
    """The RMK in an age file (2.6)."""
    fields = {
        "v": VERSION,
        "backup": place.backup_id,
        "installation": place.installation_id,
        "rmk_id": place.rmk_id,
        "rmk": base64.b64encode(rmk.material.reveal()).decode(),
    }
    return age.seal(canonical(fields), to)


def open_rmk(sealed: bytes, place: Place, by: OpenWith) -> SecretBytes:
    """The RMK of an age file.

    Raises:
        IntegrityError: Nothing given opens it.
        FormatError: It holds something else, or the RMK of another backup.
    """
    inside = age.open_sealed(sealed, by)
    try:
        fields = json.loads(inside.reveal())
        found = Place(fields["installation"], fields["rmk_id"], fields["backup"])
        material = SecretBytes(base64.b64decode(fields["rmk"], validate=True))
        known = fields["v"] == VERSION
    except (ValueError, KeyError, TypeError, binascii.Error, RecursionError):
        # without the cause, which could hold the key
        raise FormatError("what was sealed into the backup is no RMK") from None
    if not known or found != place:
        raise FormatError("what was sealed into the backup belongs to another one")
    return material


# ---- roots ---------------------------------------------------------------------------------------


def serialize_roots(roots: Iterable[RootSettings], store: KmsStore) -> bytes:
    """How to reach the roots of the store and of the closed stores in it, without secrets (2.4)."""
    stores = (store, *map(kms_store.parse, store.former))
    wraps = [wrap for one in stores for wrap in one.wraps]
    needed = [root for root in roots if any(map(root.opens, wraps))]
    ordered = sorted(needed, key=lambda root: (root.kind, root.root_key_id))
    return canonical({"v": VERSION, "roots": [_root_fields(root) for root in ordered]})


def parse_roots(data: bytes) -> tuple[NeededRoot, ...]:
    """The roots of their bytes.

    Raises:
        FormatError: Damaged, or of a version not known here.
    """
    try:
        document = json.loads(data)
        roots = tuple(_read_root(one) for one in document["roots"])
        same = canonical(document) == data and document["v"] == VERSION
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise FormatError("the root settings of the backup cannot be read") from error
    if not same:
        raise FormatError("the root settings of the backup are of a version not known here")
    return roots


def _root_fields(root: RootSettings) -> dict[str, object]:
    options = {key: text for key, text in root.options.items() if key not in _NEVER_COPIED}
    return {
        "kind": root.kind,
        "root_key_id": root.root_key_id,
        "options": options,
        "secrets": sorted(root.secrets),
    }


def _read_root(item: Any) -> NeededRoot:
    settings = RootSettings(item["kind"], item["root_key_id"], dict(item["options"]))
    return NeededRoot(settings, tuple(item["secrets"]))


@dataclass(frozen=True)
class WrappedKeys:
    """The entries below `keys/` besides the store.

    Attributes:
        roots: How to reach the roots.
        assets: The asset keys, sealed.
        by_mek: The RMK under a MEK.
        sealed: The RMK in an age file; empty if nothing was given to seal to.
    """

    roots: bytes
    assets: bytes
    by_mek: bytes
    sealed: bytes
