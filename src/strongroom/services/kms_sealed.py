"""Where the sealed KMS store lies: a configuration value.

A module of its own and a light one, since every command that needs a key starts here.
"""

from strongroom.config import versions
from strongroom.coordination.base import Coordinator
from strongroom.services.configuration import ConfigurationService

STORE = "kms.persistent_store"


class ConfiguredStore:
    """The KMS store as a configuration value (K-04); implements `kms.store.SealedStore`."""

    def __init__(self, configuration: ConfigurationService, coordinator: Coordinator) -> None:
        self._configuration = configuration
        self._coordinator = coordinator

    def version(self) -> int:
        """The version of the configuration; grows with every change of it."""
        return self._coordinator.version(versions.CURRENT)

    def load(self) -> tuple[bytes, int]:
        """The store's bytes, and a version that is not newer than they are."""
        version = self.version()
        return self._configuration.open_secret(STORE).reveal(), version
