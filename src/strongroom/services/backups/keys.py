"""The part of a backup that needs open keys: wrapping the keys, and the MAC of the manifest.

The process that holds the keys does this part, so that the process that copies the extracts needs no key. Only wrapped
and sealed keys and a MAC leave this module (docs/format/backup.md 2).
"""

from dataclasses import dataclass
from typing import Protocol

from strongroom.backup import keys
from strongroom.backup.keys import WrappedKeys
from strongroom.backup.manifest import Seal
from strongroom.crypto.age import SealTo
from strongroom.errors import ConflictError
from strongroom.kms import store as kms_store
from strongroom.kms.opening import OpenStore
from strongroom.secrets import asset_ring
from strongroom.services.keys.keeper import StoreKeeper
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


class KeyHolder(Protocol):
    """The port to the process that holds the keys: this one, or the one that serves the node."""

    def wrap(self, backup_id: str, wanted: WrapRequest, to: SealTo) -> WrappedKeys:
        """Wrap and seal the keys of a backup.

        Raises:
            ConflictError: The KMS store was changed since the request was made, or an asset key is gone.
        """
        ...

    def seal(self, backup_id: str, rmk_id: str, manifest_sha256: str) -> Seal:
        """Make the seal of a manifest, with its MAC.

        Raises:
            ConflictError: The RMK was replaced since the manifest was made.
        """
        ...


class BackupKeys:
    """Implements `KeyHolder` with the keys of this process."""

    def __init__(self, keeper: StoreKeeper, assets: AssetService) -> None:
        self._keeper, self._assets = keeper, assets

    def wrap(self, backup_id: str, wanted: WrapRequest, to: SealTo) -> WrappedKeys:
        """Wrap and seal the keys of a backup."""
        opened = self._opened(wanted.store_sha256)
        store, rmk = opened.store, opened.rmk
        place, ring = keys.place_of(store, backup_id), self._assets.ring()
        if not {key.id for key in ring.keys}.issuperset(wanted.asset_keys):
            raise _changed()
        return WrappedKeys(
            roots=keys.serialize_roots(self._keeper.root_settings(), store),
            assets=keys.seal_assets(asset_ring.serialize(ring), rmk, place),
            by_mek=keys.wrap_by_mek(rmk, opened.ring.active, place),
            sealed=b"" if to.is_empty else keys.seal_rmk(rmk, place, to),
        )

    def seal(self, backup_id: str, rmk_id: str, manifest_sha256: str) -> Seal:
        """Make the seal of a manifest, with its MAC."""
        opened = self._keeper.cache.opened()
        if opened.rmk.id != rmk_id:
            raise _changed()
        return keys.authenticated(manifest_sha256, opened.rmk, backup_id)

    def _opened(self, store_sha256: str) -> OpenStore:
        opened = self._keeper.cache.opened()
        if kms_store.digest(kms_store.serialize(opened.store)) != store_sha256:
            raise _changed()
        return opened


def _changed() -> ConflictError:
    return ConflictError("the keys were changed while the backup was made", hint="run it again")
