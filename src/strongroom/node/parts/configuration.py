"""The part of a node for its configuration, and for the event log, which configuration keys sign."""

from functools import cached_property
from typing import TYPE_CHECKING

from strongroom.node.parts.ports import Ports

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from strongroom.configuration_keys.keys import ConfigurationKeys
    from strongroom.crypto.secret import SecretBytes
    from strongroom.eventlog.jsonl import JsonlEventLog
    from strongroom.eventlog.notes import LogSigner
    from strongroom.services.configuration.service import ConfigurationService
    from strongroom.services.configuration.settings import SettingsService


class ConfigurationPart(Ports):
    """Configuration keys, configuration, event log."""

    @cached_property
    def events(self) -> "JsonlEventLog":
        """The event log of this node."""
        from strongroom.eventlog.jsonl import JsonlEventLog

        find = self._find_log_signer
        return JsonlEventLog(
            self.paths.events, self.paths.node_id, self.clock, self.file_modes, find
        )

    def _find_log_signer(self) -> "LogSigner | None":
        from strongroom.services.keys import log_signing

        return log_signing.find_signer(self.configuration, self.paths.node_id)

    def open_configuration_keys(self, installation_id: str) -> "ConfigurationKeys":
        """The configuration keys, opened by the keystore as it is now."""
        from strongroom.configuration_keys.keys import ConfigurationKeys

        second = self.paths.recovery_records
        return ConfigurationKeys(self.keystore, self.keystore.load(), installation_id, second)

    def _present_keys(self) -> "ConfigurationKeys":
        return self.open_configuration_keys(self.configuration.document().installation_id)

    @cached_property
    def configuration(self) -> "ConfigurationService":
        """Configuration keys, pending changes, secrets."""
        from strongroom.runtime.processes import SERVICES
        from strongroom.services.configuration.service import ConfigurationService

        service = ConfigurationService(
            self.coordinator,
            self.open_configuration_keys,
            self.events,
            [self.paths.service_config(service) for service in SERVICES],
            self.file_modes,
        )
        service.checks.append(self._check_certificates)
        return service

    def _check_certificates(
        self, names: "Collection[str]", find: "Callable[[str], SecretBytes | None]"
    ) -> None:
        # other changes do not load the TLS libraries
        if any(".ssl." in f".{name}" for name in names):
            from strongroom.services.configuration import https_material

            https_material.check_changes(names, find, self.clock)

    @cached_property
    def settings(self) -> "SettingsService":
        """The export and import of settings."""
        from strongroom.runtime.processes import SERVICES
        from strongroom.services.configuration.settings import SettingsService

        return SettingsService(self.configuration, self.events, {self.paths.node_id: SERVICES})
