"""The part of a node for the secrets of components beside it, and for the credentials in its content."""

from functools import cached_property
from typing import TYPE_CHECKING

from strongroom.node.parts.configuration import ConfigurationPart

if TYPE_CHECKING:
    from strongroom.consumers.base import Consumer
    from strongroom.services.secrets.embedded import AssetService
    from strongroom.services.secrets.inventory import SecretInventory
    from strongroom.services.secrets.rotate import SecretRotation
    from strongroom.services.secrets.upkeep import RotationUpkeep


class SecretsPart(ConfigurationPart):
    """Rotation, inventory, embedded credentials."""

    @cached_property
    def assets(self) -> "AssetService":
        """Credentials embedded in content."""
        from strongroom.services.secrets.embedded import AssetService

        return AssetService(self.configuration, self.repository)

    @cached_property
    def rotation(self) -> "SecretRotation":
        """Rotation of secrets into the components that use them."""
        from strongroom.services.secrets.rotate import RotationPorts, SecretRotation

        ports = RotationPorts(self.coordinator, self.events, self.clock)
        return SecretRotation(self.configuration, self._consumers, ports)

    def _consumers(self) -> "tuple[Consumer, ...]":
        from strongroom.node import consumers

        return consumers.configured(self.configuration.effective, self.rotation.candidates)

    @cached_property
    def secret_inventory(self) -> "SecretInventory":
        """The inventory of secrets: their age, and the places that hold forms of them."""
        from strongroom.config import yaml_files
        from strongroom.configuration_keys import record_files
        from strongroom.keystore import replicas
        from strongroom.runtime.processes import SERVICES
        from strongroom.services.secrets.inventory import OwnPlaces, SecretInventory, Sources

        yaml = (yaml_files.CLUSTER_FILE, yaml_files.SERVICE_FILE)
        keys = (replicas.FILE_NAME, record_files.FILE_NAME)
        places = OwnPlaces(
            tuple(self.paths.service_config(one) / name for one in SERVICES for name in yaml),
            tuple(self.paths.keystores(one) / name for one in SERVICES for name in keys),
            self.paths.keystore_password,
        )
        sources = Sources(self.rotation.journals.records, self.events.secret_times, self._consumers)
        return SecretInventory(self.configuration, sources, places, self.clock)

    @cached_property
    def rotation_upkeep(self) -> "RotationUpkeep":
        """Rotations that were cut, or are due."""
        from strongroom.services.secrets.upkeep import RotationUpkeep

        return RotationUpkeep(self.configuration, self.secret_inventory, self.rotation)
