"""The keys of a backup: subkeys of the RMK, and the further ways to the RMK (docs/format/backup.md 2); pure.

The keys of a backup open by the RMK of the KMS store inside it, and the RMK by one of several ways: a root of that
store, a MEK of the installation that made the backup, or an age file sealed to recipients or a passphrase. Each subkey
is bound to installation, RMK and backup, so that a part of one backup does not open in another. No function here
returns a key in plain but as `SecretBytes` (A-24).
"""

import hashlib
import hmac
from collections.abc import Iterable
from dataclasses import dataclass, replace

from strongroom.backup import keys_1
from strongroom.backup.manifest import Seal
from strongroom.backup.place import Place
from strongroom.canonical import UTF_8, Fields, Kind, to_base64
from strongroom.crypto import age, labels, places, seals
from strongroom.crypto.age import OpenWith, SealTo
from strongroom.crypto.kdf import hkdf
from strongroom.crypto.secret import SecretBytes
from strongroom.errors import FormatError, IntegrityError
from strongroom.ids import id_bytes, id_text
from strongroom.kms import any_store
from strongroom.kms.any_store import AnyStore
from strongroom.kms.keyring import KeyRing
from strongroom.kms.keys import Mek, Rmk
from strongroom.roots.settings import RootSettings

_VERSION = 1
"""The version of the entries `keys/sealed.age` and `keys/roots.json`, which are alike in both versions of a backup."""
_ID_BYTES = 16
_SEALED = Kind("the RMK that was sealed into the backup", UTF_8, most=1024)
_ROOTS = Kind("the list of roots in the backup", UTF_8, most=2 << 20)
_NEVER_COPIED = frozenset({"create"})
"""Options of a root that would create a key there; left out, since a restore must never create keys at a root."""


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
        """The settings, with this credential in the place of every secret that was left out."""
        return replace(self.settings, secrets=dict.fromkeys(self.secrets, credential))


# ---- manifest ------------------------------------------------------------------------------------


def mac(digest: bytes, rmk: Rmk, place: Place) -> bytes:
    """The MAC of a manifest, over its digest, the version and the RMK's id (4.3).

    Args:
        digest: SHA-256 of the manifest's bytes; the process that has the keys is not given a manifest of many extracts.
        rmk: The RMK of the backup's store.
        place: The ids of the backup.
    """
    if place.version == 1:
        return keys_1.mac(digest, rmk, place)
    key = hkdf(rmk.material, salt=b"", info=place.info(labels.BACKUP_MAC_2))
    told = digest + place.version.to_bytes(2, "big") + id_bytes(rmk.id)
    return hmac.digest(key.reveal(), told, hashlib.sha256)


def check_mac(seal: Seal, rmk: Rmk, place: Place) -> None:
    """Verify that the maker of this manifest had the RMK (4.3).

    Raises:
        IntegrityError: The MAC is another: somebody without the RMK changed the backup and renewed its digests.
    """
    expected = mac(bytes.fromhex(seal.manifest_sha256), rmk, place)
    if not hmac.compare_digest(expected, bytes.fromhex(seal.mac)):
        raise IntegrityError(
            "the backup was changed and given new digests: its seal is not genuine"
        )


# ---- asset keys ----------------------------------------------------------------------------------


def seal_assets(ring: bytes, rmk: Rmk, place: Place) -> bytes:
    """Seal the serialized ring of asset keys under the RMK (2.3)."""
    return seals.seal(rmk.material, _of_assets(place), ring)


def open_assets(sealed: bytes, rmk: Rmk, place: Place) -> SecretBytes:
    """The ring of asset keys.

    Raises:
        FormatError: The ring is too short.
        IntegrityError: The ring does not open by this RMK.
    """
    if place.version == 1:
        return keys_1.open_assets(sealed, rmk, place)
    return SecretBytes(seals.open_(rmk.material, _of_assets(place), sealed))


def _of_assets(place: Place) -> seals.Place:
    return places.of_backup_assets(place.installation_id, place.rmk_id, place.backup_id)


# ---- ways to the RMK -----------------------------------------------------------------------------


def wrap_by_mek(rmk: Rmk, mek: Mek, place: Place) -> bytes:
    """Wrap the RMK by a MEK, so that an installation opens its own backups without asking a root (2.5)."""
    return id_bytes(mek.id) + seals.wrap(rmk.material, _under(mek.id, place), kek=mek.material)


def unwrap_by_mek(wrapped: bytes, ring: KeyRing, place: Place) -> SecretBytes:
    """Unwrap the RMK by the MEK that the wrap names, if that MEK is in the ring.

    Raises:
        KeyNotFoundError: The MEK is not in the ring.
        FormatError: The wrap is too short.
        IntegrityError: The wrapped RMK does not open by that MEK.
    """
    if len(wrapped) < _ID_BYTES:
        raise FormatError("the backup's RMK under a MEK is cut")
    mek, inner = ring.get(id_text(wrapped[:_ID_BYTES])), wrapped[_ID_BYTES:]
    if place.version == 1:
        return keys_1.unwrap_by_mek(inner, mek, place)
    return seals.unwrap(inner, _under(mek.id, place), kek=mek.material)


def _under(mek_id: str, place: Place) -> seals.Place:
    return places.of_backup_rmk(place.installation_id, place.rmk_id, place.backup_id, mek_id)


def seal_rmk(rmk: Rmk, place: Place, to: SealTo) -> bytes:
    """Seal the RMK into an age file (2.6)."""
    fields = {
        "v": _VERSION,
        "backup": place.backup_id,
        "installation": place.installation_id,
        "rmk_id": place.rmk_id,
        "rmk": to_base64(rmk.material.reveal()),
    }
    return age.seal(_SEALED.dumps(fields), to)


def open_rmk(sealed: bytes, place: Place, by: OpenWith) -> SecretBytes:
    """The RMK of an age file.

    Raises:
        IntegrityError: No given identity or passphrase opens the age file.
        FormatError: The age file holds something else, or the RMK of another backup.
    """
    inside = age.open_sealed(sealed, by)
    fields = _SEALED.loads(inside.reveal())
    ids = fields.text("installation"), fields.text("rmk_id"), fields.text("backup")
    fields.check_version("v", _VERSION)
    if ids != (place.installation_id, place.rmk_id, place.backup_id):
        raise FormatError("what was sealed into the backup belongs to another one")
    fields.check_names(("v", "backup", "installation", "rmk_id", "rmk"))
    return SecretBytes(fields.raw("rmk"))


# ---- roots ---------------------------------------------------------------------------------------


def serialize_roots(
    roots: Iterable[RootSettings], store: AnyStore, closed: Iterable[bytes]
) -> bytes:
    """How to reach the roots of the store and of its closed stores, without secrets (2.4).

    Args:
        roots: The settings of the node's roots.
        store: The store.
        closed: The bytes of its closed stores.
    """
    stores = (store, *map(any_store.parse, closed))
    wraps = [wrap for one in stores for wrap in one.wraps]
    needed = [root for root in roots if any(map(root.opens, wraps))]
    ordered = sorted(needed, key=lambda root: (root.kind, root.root_key_id))
    return _ROOTS.dumps({"v": _VERSION, "roots": [_root_fields(root) for root in ordered]})


def parse_roots(data: bytes) -> tuple[NeededRoot, ...]:
    """The roots of their bytes.

    Raises:
        FormatError: The list is damaged, or of a version not known here.
    """
    fields = _ROOTS.loads(data)
    fields.check_version("v", _VERSION)
    fields.check_names(("v", "roots"))
    return tuple(map(_read_root, fields.objects("roots")))


def _root_fields(root: RootSettings) -> dict[str, object]:
    options = {key: text for key, text in root.options.items() if key not in _NEVER_COPIED}
    return {
        "kind": root.kind,
        "root_key_id": root.root_key_id,
        "options": options,
        "secrets": sorted(root.secrets),
    }


def _read_root(item: Fields) -> NeededRoot:
    item.check_names(("kind", "root_key_id", "options", "secrets"))
    settings = RootSettings(item.text("kind"), item.text("root_key_id"), item.text_map("options"))
    return NeededRoot(settings, item.texts("secrets"))


@dataclass(frozen=True)
class WrappedKeys:
    """The entries below `keys/` besides the store.

    Attributes:
        roots: The settings by which the roots are reached, without secrets.
        assets: The asset keys, sealed.
        by_mek: The RMK under a MEK.
        sealed: The RMK in an age file; empty if no recipient or passphrase was given to seal it to.
    """

    roots: bytes
    assets: bytes
    by_mek: bytes
    sealed: bytes
