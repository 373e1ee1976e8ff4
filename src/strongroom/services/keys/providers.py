"""The port to the roots, which the keeper of the KMS store asks."""

from typing import Protocol

from strongroom.kms.next_store import RootSet
from strongroom.kms.store import KmsStore
from strongroom.roots.base import RootProvider, WrapRecord
from strongroom.roots.settings import RootSettings


class Providers(Protocol):
    """Finds and builds the providers of roots."""

    def all_for(self, store: KmsStore, mode: str, key_id: str | None = None) -> RootSet:
        """The roots of the next store: that of the mode, and the recovery roots of this store.

        Args:
            store: The present store.
            mode: The KMS mode of the next one.
            key_id: The configuration key that the local root wraps by; None is the active one.
        """
        ...

    def find(self, wrap: WrapRecord) -> RootProvider:
        """The provider that opens a wrap.

        Raises:
            RootError: The node has no settings for the wrap's root.
        """
        ...

    def build(self, settings: RootSettings) -> RootProvider:
        """The provider of settings that are not stored yet."""
        ...
