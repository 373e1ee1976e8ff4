"""The services of a node that the commands of configuration and secrets may use."""

from functools import cached_property
from typing import Protocol

from strongroom.services.configuration.service import ConfigurationService
from strongroom.services.configuration.settings import SettingsService
from strongroom.services.secrets.inventory import SecretInventory
from strongroom.services.secrets.rotate import SecretRotation


class SecretCommands(Protocol):
    """The services behind the commands of configuration and secrets."""

    @cached_property
    def configuration(self) -> ConfigurationService:
        """Configuration, pending changes, secrets."""
        ...

    @cached_property
    def settings(self) -> SettingsService:
        """Settings on their way out and in."""
        ...

    @cached_property
    def rotation(self) -> SecretRotation:
        """Rotation of secrets into the components that use them."""
        ...

    @cached_property
    def secret_inventory(self) -> SecretInventory:
        """Age of the secrets, and where forms of them lie."""
        ...
