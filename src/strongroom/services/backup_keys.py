"""What a backup needs of the keys: done by the process that holds them, while the bytes are copied elsewhere.

It gives out wrapped and sealed keys only, and a MAC (docs/format/backup.md 2).
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
from strongroom.services.assets import AssetService
from strongroom.services.kms_keeper import StoreKeeper


@dataclass(frozen=True)
class Wanted:
    """What the backup holds, so that its keys fit.

    Attributes:
        store_sha256: Digest of its KMS store.
        asset_keys: Ids of the asset keys that its credentials name.
    """

    store_sha256: str
    asset_keys: tuple[str, ...]


class KeyRoom(Protocol):
    """The port to whoever holds the keys: this process, or the one that serves the node."""

    def wrap(self, backup_id: str, wanted: Wanted, to: SealTo) -> WrappedKeys:
        """The keys of a backup.

        Raises:
            ConflictError: The store is another one by now, or an asset key is gone.
        """
        ...

    def seal(self, backup_id: str, rmk_id: str, manifest_sha256: str) -> Seal:
        """The seal of a manifest.

        Raises:
            ConflictError: There is another RMK by now.
        """
        ...


class BackupKeys:
    """Implements `KeyRoom` with the keys of this process."""

    def __init__(self, keeper: StoreKeeper, assets: AssetService) -> None:
        self._keeper, self._assets = keeper, assets

    def wrap(self, backup_id: str, wanted: Wanted, to: SealTo) -> WrappedKeys:
        """The keys of a backup."""
        opened = self._opened(wanted.store_sha256)
        store, rmk = opened.store, opened.rmk
        place, ring = keys.place_of(store, backup_id), self._assets.ring()
        if not {key.id for key in ring.keys}.issuperset(wanted.asset_keys):
            raise _changed()
        return WrappedKeys(
            roots=keys.serialize_roots(self._keeper.settings(), store),
            assets=keys.seal_assets(asset_ring.serialize(ring), rmk, place),
            by_mek=keys.wrap_by_mek(rmk, opened.ring.active, place),
            sealed=b"" if to.is_empty else keys.seal_rmk(rmk, place, to),
        )

    def seal(self, backup_id: str, rmk_id: str, manifest_sha256: str) -> Seal:
        """The seal of a manifest."""
        opened = self._keeper.keys.opened()
        if opened.rmk.id != rmk_id:
            raise _changed()
        return keys.authenticated(manifest_sha256, opened.rmk, backup_id)

    def _opened(self, store_sha256: str) -> OpenStore:
        opened = self._keeper.keys.opened()
        if kms_store.digest(kms_store.serialize(opened.store)) != store_sha256:
            raise _changed()
        return opened


def _changed() -> ConflictError:
    return ConflictError("the keys were changed while the backup was made", hint="run it again")
