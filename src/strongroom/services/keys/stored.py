"""Reads the sealed KMS store, which lies in the configuration as one value.

This is a module of its own with few imports, since every command that needs a key starts here.
"""

from strongroom.config import versions
from strongroom.coordination.base import Coordinator
from strongroom.services.configuration.present import PresentConfiguration

STORE = "kms.persistent_store"
STALE_S = 20.0
"""Twice the session of a coordination service: for so long nothing is sealed by what a node heard last (cluster.md b5)."""


class ConfiguredStore:
    """The KMS store as a configuration value (K-04); implements `kms.store.SealedStore`."""

    def __init__(self, configuration: PresentConfiguration, coordinator: Coordinator) -> None:
        self._configuration = configuration
        self._coordinator = coordinator

    def version(self) -> int:
        """The version of the configuration, which grows with every change of any value."""
        return self._coordinator.version(versions.CURRENT)

    def recent_version(self) -> int:
        """The version of the configuration as it was at most `STALE_S` seconds ago."""
        return self._coordinator.recent_version(versions.CURRENT, STALE_S)

    def load(self) -> tuple[bytes, int]:
        """The store's bytes, and a version that is not newer than those bytes."""
        # The version is read first. If the store changes in between, the bytes are newer than the version says, and the
        # next comparison reads them once more; the other way round a change would be missed.
        version = self.version()
        return self._configuration.open_secret(STORE).reveal(), version
