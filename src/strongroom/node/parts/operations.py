"""The parts of a node for other nodes and encrypted files of no site, and for what other people's programs use."""

from functools import cached_property
from typing import TYPE_CHECKING

from strongroom.node.parts.keys import KeysPart

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from strongroom.joining.bearings import Bearings
    from strongroom.joining.node_reports import KeysSeen
    from strongroom.joining.welcome import Welcome
    from strongroom.services.backups.own_part import OwnPart
    from strongroom.services.files.data_key_desk import DataKeyDesk
    from strongroom.services.files.one import StandaloneFiles
    from strongroom.services.nodes.admit import TopologyService
    from strongroom.services.nodes.certificates import Certified
    from strongroom.services.nodes.create import NewNodePorts
    from strongroom.services.nodes.prepare import PreparePorts
    from strongroom.services.nodes.readiness import Readiness
    from strongroom.services.service_keys.key_backups import KeyBackups
    from strongroom.services.service_keys.keys import ServiceKeysService
    from strongroom.services.service_keys.material import Material
    from strongroom.services.service_keys.mounts import MountsService
    from strongroom.services.service_keys.parquet import ParquetKeysService
    from strongroom.services.service_keys.policies import PoliciesService
    from strongroom.services.service_keys.present import Present
    from strongroom.services.service_keys.roles import ServiceRolesService
    from strongroom.services.service_keys.secrets import ServiceSecretsService
    from strongroom.services.service_keys.tokens import ServiceTokensService
    from strongroom.services.service_keys.use import KeyUse
    from strongroom.services.service_keys.wrapping import ServiceWrapping


class OperationsPart(KeysPart):
    """New nodes, and standalone encrypted files."""

    @cached_property
    def topology(self) -> "TopologyService":
        """The nodes of the installation."""
        from strongroom.services.nodes.admit import TopologyPorts, TopologyService

        node_id, keystore = self.paths.node_id, self.keystore
        ports = (self.configuration, keystore, self.coordinator, self.events, self.clock, node_id)
        own = (self.identity, self.peers, self._welcome, self._certify, self._bearings)
        return TopologyService(TopologyPorts(*ports, *own))

    def _welcome(self) -> "Welcome | None":
        return None if self.outside is None else self.outside.welcome()

    def _certify(self, node_id: str, asked: bytes) -> "Certified | None":
        from strongroom.eventlog.base import SYSTEM
        from strongroom.joining import own_certificate
        from strongroom.services.nodes.certificates import CertificatePorts, CertificateService

        paths = self.paths
        ports = CertificatePorts(
            configuration=self.configuration,
            coordinator=self.coordinator,
            peers=self.peers,
            event_log=self.events,
            clock=self.clock,
            read=lambda: own_certificate.find(paths),
            write=lambda own: own_certificate.write(paths, own),
            keys=lambda: None,
            node_id=paths.node_id,
        )
        return CertificateService(ports).certify(SYSTEM, node_id, asked)

    def _bearings(self, server: str) -> "Bearings":
        from strongroom.services.nodes import bearings

        outside = self.outside
        ports = bearings.BearingsPorts(
            self.configuration,
            self.coordinator,
            self.peers,
            lambda: None if outside is None else outside.file.services,
        )
        return bearings.collect(ports, server)

    def present_controller(self) -> str:
        """The id of the node that is the controller now; empty if none is."""
        from strongroom.services.nodes import controller

        return self.coordinator.holder(controller.LOCK)

    @cached_property
    def backup_part(self) -> "OwnPart":
        """The part of a backup of the cluster that this node alone has."""
        from strongroom.services.backups.own_part import OwnPart

        return OwnPart(self.paths.events, self.keys_seen)

    def keys_seen(self) -> "KeysSeen":
        """The configuration keys that the keystore of this node opens now."""
        from strongroom.joining.node_reports import KeysSeen

        keys = self.authority.present()
        return KeysSeen(keys.active.id, keys.generation)

    @cached_property
    def mark_at_start(self) -> bytes:
        """The mark of the last restore or recovery of the cluster, as it was when this process first asked for it."""
        from strongroom.services.keys import replacing

        return replacing.find_mark(self.entry_store)

    @cached_property
    def readiness(self) -> "Readiness":
        """Whether the node is able to do its work now."""
        from strongroom.services.nodes.readiness import Readiness

        return Readiness(self.repository, self.kms_store)

    @cached_property
    def standalone_files(self) -> "StandaloneFiles":
        """Encrypts and decrypts files that belong to no site."""
        from strongroom.services.files.one import StandaloneFiles

        return StandaloneFiles(self.envelope_keys, self.events, self._changing_keys)

    @cached_property
    def data_key_desk(self) -> "DataKeyDesk":
        """Data keys of standalone files, for programs that encrypt and decrypt by themselves."""
        from strongroom.services.files.data_key_desk import DataKeyDesk

        return DataKeyDesk(
            self.envelope_keys,
            self.events,
            self._changing_keys,
            lambda: self.configuration.effective("gateway.data_keys") == "true",
        )

    def _changing_keys(self) -> "AbstractContextManager[object]":
        # the keeper is built only when called, since few files are encrypted while keys are rotated
        return self.kms_store.changing()

    def prepared_node_ports(self) -> "PreparePorts":
        """The parts of the node that `services.nodes.prepare` works on."""
        from strongroom.eventlog.jsonl import JsonlEventLog
        from strongroom.services.nodes.prepare import PreparePorts

        log = JsonlEventLog(self.paths.events, self.paths.node_id, self.clock, self.file_modes)
        return PreparePorts(self.keystore, log, self.paths, self.file_modes)

    def new_node_ports(self) -> "NewNodePorts":
        """The parts of the node that `services.nodes.create` works on; creates the coordination database."""
        from strongroom.services.nodes.create import NewNodePorts

        self.create_coordinator()
        paths = self.paths
        return NewNodePorts(
            directory=self.keystore,
            open_keys=self.open_configuration_keys,
            local_root=self.local_root,
            configuration=self.configuration,
            repository=self.repository,
            marks=self._kms_ports.marks,
            event_log=self.events,
            clock=self.clock,
            file_modes=self.file_modes,
            folders=(paths.extracts, paths.backups, paths.logs, paths.repository.parent),
            node_id=paths.node_id,
        )


class ServicesPart(KeysPart):
    """All that other people's programs use through a door."""

    @cached_property
    def _service_material(self) -> "Material":
        from strongroom.services.service_keys.material import Material

        return Material(self.data_keys)

    @cached_property
    def service_rows(self) -> "Present":
        """Rows of services in memory, while they are the present ones."""
        from strongroom.services.service_keys.present import Present

        return Present(self.repository, self._service_material)

    @cached_property
    def service_keys(self) -> "ServiceKeysService":
        """Service keys: made, changed, removed."""
        from strongroom.services.service_keys.keys import ServiceKeysService

        return ServiceKeysService(self.repository, self._service_material, self.clock)

    def remove_due_service_keys(self) -> int:
        """Remove the service keys whose waiting time has ended; returns how many."""
        from strongroom.eventlog.base import SYSTEM
        from strongroom.services.service_keys.by import By

        return self.service_keys.remove_due(By.local(SYSTEM, self.events))

    @cached_property
    def service_key_use(self) -> "KeyUse":
        """Values under service keys."""
        from strongroom.services.service_keys.use import KeyUse

        return KeyUse(self.service_rows, self.clock)

    @cached_property
    def service_key_backups(self) -> "KeyBackups":
        """Service keys that leave with all their versions."""
        from strongroom.services.service_keys.key_backups import KeyBackups

        return KeyBackups(self.repository, self._service_material, self.clock)

    @cached_property
    def parquet_keys(self) -> "ParquetKeysService":
        """Keys of Parquet datasets."""
        from strongroom.services.service_keys.parquet import ParquetKeysService

        return ParquetKeysService(self.service_keys, self.service_key_use)

    @cached_property
    def service_secrets(self) -> "ServiceSecretsService":
        """Secrets of services."""
        from strongroom.services.service_keys.secrets import ServiceSecretsService

        return ServiceSecretsService(self.repository, self._service_material, self.clock)

    @cached_property
    def service_mounts(self) -> "MountsService":
        """The paths under which keys and secrets lie."""
        from strongroom.services.service_keys.mounts import MountsService

        return MountsService(self.repository, self.service_rows, self.clock)

    @cached_property
    def service_policies(self) -> "PoliciesService":
        """Policies of services."""
        from strongroom.services.service_keys.policies import PoliciesService

        return PoliciesService(self.repository, self.clock)

    @cached_property
    def service_tokens(self) -> "ServiceTokensService":
        """Tokens of services."""
        from strongroom.services.service_keys.tokens import ServiceTokensService

        return ServiceTokensService(self.repository, self.service_rows, self.clock)

    @cached_property
    def service_roles(self) -> "ServiceRolesService":
        """Roles by which services sign in."""
        from strongroom.services.service_keys.roles import ServiceRolesService

        return ServiceRolesService(self.repository, self.service_tokens, self.clock)

    @cached_property
    def service_wrapping(self) -> "ServiceWrapping":
        """Answers that wait for whoever has a token of one use."""
        from strongroom.services.service_keys.wrapping import ServiceWrapping

        return ServiceWrapping(self.repository, self._service_material, self.clock)
