"""The part of a backup that needs open keys: wrapping the keys, and the MAC of the manifest.

The process that holds the keys does this part, so that the process that copies the extracts needs no key. Only wrapped
and sealed keys and a MAC leave this module (docs/format/backup.md 2).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from strongroom.backup import keys
from strongroom.backup.keys import WrappedKeys
from strongroom.backup.manifest import Seal
from strongroom.backup.place import VERSION, Place
from strongroom.crypto import said
from strongroom.crypto.age import SealTo
from strongroom.crypto.statements import Purpose
from strongroom.errors import ConflictError
from strongroom.kms.any_store import HeldKeys
from strongroom.kms.closed_stores import ClosedStore
from strongroom.roots.settings import RootSettings
from strongroom.secrets import asset_ring
from strongroom.services.keys.identity import IdentityService
from strongroom.services.secrets.embedded import AssetService


@dataclass(frozen=True)
class WrapRequest:
    """The state of the keys that a backup contains, to which the wrapped keys must fit.

    Attributes:
        store_sha256: Digest of the KMS store in the backup.
        asset_keys: Ids of the asset keys that credentials in the backup name.
    """

    store_sha256: str
    asset_keys: tuple[str, ...]


@dataclass(frozen=True)
class SealRequest:
    """The manifest that is to be sealed.

    Attributes:
        backup_id: The backup.
        rmk_id: The RMK of the store in it.
        manifest_sha256: Digest of the manifest.
        identity: The public key that the manifest names, in hexadecimal digits; empty if it names none.
        version: The version of the backup.
    """

    backup_id: str
    rmk_id: str
    manifest_sha256: str
    identity: str
    version: int = VERSION


class KeyHolder(Protocol):
    """The port to the process that holds the keys: this one, or the one that serves the node."""

    def wrap(self, backup_id: str, wanted: WrapRequest, to: SealTo) -> WrappedKeys:
        """Wrap and seal the keys of a backup.

        Raises:
            ConflictError: The KMS store was changed since the request was made, or an asset key is gone.
        """
        ...

    def seal(self, wanted: SealRequest) -> Seal:
        """Make the seal of a manifest, with its MAC and its signature.

        Raises:
            ConflictError: The RMK or the identity was replaced since the manifest was made.
        """
        ...


class KeySource(Protocol):
    """Gives the keys of the KMS store: its keeper, or the reader of a store of format 1 that is to be upgraded."""

    def held(self) -> HeldKeys:
        """The store with its open keys."""
        ...

    def root_settings(self) -> tuple[RootSettings, ...]:
        """The settings by which the roots are reached."""
        ...

    def closed_stores(self) -> Mapping[ClosedStore, bytes]:
        """The bytes of each closed store."""
        ...


class BackupKeys:
    """Implements `KeyHolder` with the keys of this process."""

    def __init__(self, source: KeySource, assets: AssetService, identity: IdentityService) -> None:
        self._source, self._assets, self._identity = source, assets, identity

    def wrap(self, backup_id: str, wanted: WrapRequest, to: SealTo) -> WrappedKeys:
        """Wrap and seal the keys of a backup."""
        opened = self._source.held()
        if opened.digest != wanted.store_sha256:
            raise _changed()
        store, rmk = opened.store, opened.rmk
        place = Place(store.installation_id, store.rmk_id, backup_id)
        ring = self._assets.ring()
        if not {key.id for key in ring.keys}.issuperset(wanted.asset_keys):
            raise _changed()
        closed = self._source.closed_stores().values()
        return WrappedKeys(
            roots=keys.serialize_roots(self._source.root_settings(), store, closed),
            assets=keys.seal_assets(asset_ring.serialize(ring), rmk, place),
            by_mek=keys.wrap_by_mek(rmk, opened.ring.active, place),
            sealed=b"" if to.is_empty else keys.seal_rmk(rmk, place, to),
        )

    def seal(self, wanted: SealRequest) -> Seal:
        """Make the seal of a manifest, with its MAC and its signature."""
        rmk, identity = self._source.held().rmk, self._identity.find()
        public = identity.identity.public.hex() if identity else ""
        if (rmk.id, public) != (wanted.rmk_id, wanted.identity):
            raise _changed()
        digest = bytes.fromhex(wanted.manifest_sha256)
        place = Place(rmk.installation_id, rmk.id, wanted.backup_id, wanted.version)
        payload = said.of_manifest_digest(digest)
        signature = identity.sign(Purpose.MANIFEST, payload) if identity else b""
        mac = keys.mac(digest, rmk, place).hex()
        return Seal(wanted.manifest_sha256, rmk.id, mac, signature, wanted.version)


def _changed() -> ConflictError:
    return ConflictError("the keys were changed while the backup was made", hint="run it again")
