"""The part of a node for its configuration, and for the event log, which configuration keys sign."""

import time
from contextlib import suppress
from functools import cached_property
from typing import TYPE_CHECKING

from strongroom.errors import FormatError, NotFoundError, StateError
from strongroom.eventlog.base import ALL
from strongroom.node.parts.ports import Ports
from strongroom.system.compat import override

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

    from strongroom.configuration_keys.keys import ConfigurationKeys
    from strongroom.coordination.anchor import LogPoint
    from strongroom.coordination.anchoring import Anchoring
    from strongroom.crypto.secret import SecretBytes
    from strongroom.eventlog.base import Event, EventLog, Query
    from strongroom.eventlog.jsonl import JsonlEventLog
    from strongroom.eventlog.notes import LogSigner
    from strongroom.joining.node_keys import NodeKeys
    from strongroom.repository.unit_of_work import Transaction
    from strongroom.services.configuration.service import ConfigurationService
    from strongroom.services.configuration.settings import SettingsService
    from strongroom.services.keys.identity import IdentityService
    from strongroom.services.keys.log_anchor import LogAnchor
    from strongroom.services.keys.node_anchor import NodeAnchor
    from strongroom.services.keys.peers import Peers
    from strongroom.services.keys.state_anchor import StateAnchor
    from strongroom.services.nodes.log_key import LogKeyService
    from strongroom.services.nodes.maintenance import MaintenanceService, OutOfService
    from strongroom.services.nodes.software import SoftwareService

_LOG_MARK = "anchor.logs"
"""`services.keys.log_anchor.MARK`, whose module is loaded only if the mark is there."""


class OpenedLater:
    """An event log that is opened, and whose modules are loaded, by the first event: reading a setting makes none."""

    def __init__(self, find: "Callable[[], EventLog]") -> None:
        """Args: `find` opens the log at its first call, and gives the same one from then on."""
        self._find = find

    def append(self, events: "Sequence[Event]", /) -> None:
        """As the log itself."""
        self._find().append(events)

    def read(self, query: "Query" = ALL) -> "Iterator[Mapping[str, object]]":
        """As the log itself."""
        return self._find().read(query)

    def history(self, *ids: str) -> "Iterator[Mapping[str, object]]":
        """As the log itself."""
        return self._find().history(*ids)


class ConfigurationPart(Ports):
    """Configuration keys, configuration, event log."""

    @cached_property
    def events(self) -> "JsonlEventLog":
        """The event log of this node."""
        from strongroom.eventlog.jsonl import JsonlEventLog

        return JsonlEventLog(
            self.paths.events,
            self.paths.node_id,
            self.clock,
            self.file_modes,
            self._find_log_signer,
            self._compare_log,
        )

    def _compare_log(self) -> None:
        """Refuse a log that does not go on from its newest anchor, before this process appends to it."""
        from strongroom.errors import StrongroomError
        from strongroom.eventlog.merkle import EMPTY, Frontier
        from strongroom.repository import marks_alone

        known = EMPTY
        # an anchor that is missing, or does not prove itself, is told by the puts and by the comparison of everything
        with suppress(StrongroomError):
            known = Frontier(*self._anchored_log() or EMPTY)
        row = marks_alone.read(self.marks, (_LOG_MARK,)).get(_LOG_MARK)
        if known.size or row is not None:
            self.log_anchor.check_alone(row, known)

    def _anchored_log(self) -> "LogPoint | None":
        from strongroom.coordination import anchor

        entry = self.coordinator.get(anchor.ENTRY)
        return anchor.parse(entry.value).logs.get(self.paths.node_id) if entry else None

    @cached_property
    def _node_anchor(self) -> "NodeAnchor":
        from strongroom.services.keys.node_anchor import NodeAnchor

        return NodeAnchor(
            self.marks,
            self.paths.node_id,
            self.clock,
            lambda: self.events,
            self._open_configuration_key,
        )

    def _open_configuration_key(self, key_id: str) -> "SecretBytes":
        # the configuration is opened by the first call: it lies in the service for which the anchor is made
        return self.configuration.open_key(key_id)

    @cached_property
    @override
    def anchoring(self) -> "Anchoring":
        """The maker of the anchor at each put."""
        from strongroom.coordination.anchoring import Anchoring

        return Anchoring(self._node_anchor)

    @cached_property
    def state_anchor(self) -> "StateAnchor":
        """The comparison of the whole state with its anchors."""
        from strongroom.services.keys.state_anchor import StateAnchor
        from strongroom.services.keys.stored import STORE

        return StateAnchor(
            self.coordinator,
            self.anchoring,
            self._node_anchor,
            self.events,
            lambda: self.configuration.open_secret(STORE).reveal(),
            (self.paths.node_id, self.marks),
        )

    def state_faults(self) -> tuple[str, ...]:
        """Sentences on how the state of the node, but for the event log, contradicts its anchors.

        Raises:
            StrongroomError: Nothing could be compared.
        """
        return self.state_anchor.faults()

    def accept_state(self, actor: str, reason: str) -> tuple[str, ...]:
        """Take the state as it is, whatever its anchors say; returns what contradicted them.

        Raises:
            StrongroomError: The event or an anchor cannot be written.
        """
        from strongroom.repository.reach import ROWS

        with self.repository.transaction(ROWS) as tx:
            # a ZooKeeper that was put back counts its locks from where it was then, also if nothing but locks was lost; and
            # a process that ends behind this begins anew
            tx.fence.begin_anew()
        told = (*self.event_log_faults(), *self.state_anchor.faults())
        if told:
            self.state_anchor.accept(actor, reason, told)
            self.log_anchor.begin_anew(self.repository)
        return told

    def _find_log_signer(self) -> "LogSigner | None":
        from strongroom.services.keys import log_signing

        if self.paths.node_keys.exists():
            from strongroom.joining import own_keys

            keys = own_keys.read(self.paths)
            if keys.log is not None:
                return log_signing.own_signer(self.configuration, keys, keys.log)
        if self.outside is not None:
            self._check_no_log_key()
        return log_signing.find_signer(self.configuration, self.paths.node_id)

    def _check_no_log_key(self) -> None:
        """Refuse the key that all nodes have, for a node that has said that it signs by one of its own.

        Raises:
            StateError: The node's own key is not there.
        """
        node_id = self.paths.node_id
        found = self.peers.all().get(node_id)
        if found is not None and found.log_key:
            raise StateError(
                f"{node_id} signs its event log by a key of its own, and {self.paths.node_keys} has none",
                hint="bring the file back, or have the node get new keys: strongroom recover",
            )

    @cached_property
    def log_key(self) -> "LogKeyService":
        """The key by which a node of a cluster alone signs its event log."""
        from strongroom.joining import own_keys
        from strongroom.services.nodes.join import JoinPorts, JoinService
        from strongroom.services.nodes.log_key import KeyFile, LogKeyPorts, LogKeyService

        paths, join = (
            self.paths,
            JoinPorts(self.coordinator, self.peers, self.events, self.clock),
        )
        file = KeyFile(
            paths.node_keys.exists,
            lambda: own_keys.read(paths),
            lambda keys: own_keys.write(paths, keys),
        )
        return LogKeyService(
            LogKeyPorts(
                file,
                self.events,
                self.coordinator,
                self.peers,
                lambda keys: JoinService(join, keys),
            )
        )

    @cached_property
    def log_anchor(self) -> "LogAnchor":
        """How far the event log had come, outside its folder."""
        from strongroom.config import versions
        from strongroom.services.keys.log_anchor import LogAnchor, Times
        from strongroom.services.keys.stored import STALE_S

        def version() -> int:
            return self.coordinator.recent_version(versions.CURRENT, STALE_S)

        times = Times(time.monotonic, version)
        return LogAnchor(self.configuration, self.events, self.paths.node_id, self.clock, times)

    @override
    def _before_commit(self, tx: "Transaction") -> None:
        self.log_anchor.renew(tx)

    def event_log_faults(self) -> tuple[str, ...]:
        """Sentences on how the event log contradicts its anchors.

        Raises:
            StrongroomError: Nothing could be compared.
        """
        return (*self.log_anchor.problems(self.repository), *self.state_anchor.log_faults())

    def anchor_event_log_anew(self) -> None:
        """Take the event log as it is, whatever its anchor says: an administrator has archived the one before it.

        Raises:
            StrongroomError: The log is not signed, or the repository cannot be written.
        """
        with self.anchoring.anew_logs():
            self.coordinator.put({})
        self.log_anchor.begin_anew(self.repository)

    def open_configuration_keys(self, installation_id: str) -> "ConfigurationKeys":
        """The configuration keys, opened by the keystore as it is now."""
        from strongroom.configuration_keys.keys import ConfigurationKeys

        second = self.paths.recovery_records
        keystore = self.keystore.load()
        return ConfigurationKeys(
            self.keystore, keystore, installation_id, second, self.coming_master_key
        )

    def present_keys(self) -> "ConfigurationKeys":
        """The same, of this node's installation."""
        return self.open_configuration_keys(self.configuration.document().installation_id)

    @cached_property
    def configuration(self) -> "ConfigurationService":
        """Configuration keys, pending changes, secrets."""
        from strongroom.runtime.processes import SERVICES
        from strongroom.services.configuration.service import ConfigurationService

        service = ConfigurationService(
            self.coordinator,
            self.open_configuration_keys,
            OpenedLater(lambda: self.events),
            [self.paths.service_config(service) for service in SERVICES],
            self.file_modes,
        )
        service.checks.append(self._check_certificates)
        if self.outside is not None:
            service.local_uses.append(self.outside.key_ids)
        return service

    def _check_certificates(
        self, names: "Collection[str]", find: "Callable[[str], SecretBytes | None]"
    ) -> None:
        # other changes do not load the TLS libraries
        if any(".ssl." in f".{name}" for name in names):
            from strongroom.services.configuration import https_material

            https_material.check_changes(names, find, self.clock)

    @cached_property
    def identity(self) -> "IdentityService":
        """The identity of the installation."""
        from strongroom.services.keys.identity import IdentityService

        return IdentityService(self.configuration, self.coordinator, self.events)

    @cached_property
    def peers(self) -> "Peers":
        """The registry of the installation's nodes."""
        from strongroom.services.keys.peers import Peers

        def installation_id() -> str:
            return self.configuration.document().installation_id

        node_id = self.paths.node_id
        return Peers(self.coordinator, self.events, self.clock, node_id, installation_id)

    @cached_property
    def maintenance(self) -> "MaintenanceService":
        """The maintenance of the installation."""
        return self._maintenance_of("")

    @cached_property
    def out_of_service(self) -> "OutOfService":
        """All that takes this node out of service."""
        from strongroom.services.nodes.maintenance import OutOfService

        return OutOfService(self.maintenance, self.drain_of(self.paths.node_id))

    def drain_of(self, node_id: str) -> "MaintenanceService":
        """The maintenance of one node alone.

        Raises:
            NotFoundError: The text is no id of a node, such as an empty one, which would stand for all.
        """
        from strongroom.joining.bootstrap_file import check_node_id

        try:
            check_node_id(node_id)
        except FormatError:
            raise NotFoundError(
                f"there is no node {node_id[:80]!r}", hint="'tsm topology list-nodes' shows them"
            ) from None
        return self._maintenance_of(node_id)

    def _maintenance_of(self, node_id: str) -> "MaintenanceService":
        from strongroom.runtime import running
        from strongroom.services.jobs.processes import MOST, Process
        from strongroom.services.jobs.sole_worker import SoleWorker
        from strongroom.services.nodes.maintenance import MaintenancePorts, MaintenanceService

        def own_keys() -> "NodeKeys | None":
            if self.outside is None:
                return None
            from strongroom.joining import own_keys

            return own_keys.read(self.paths)

        ports = MaintenancePorts(
            coordinator=self.coordinator,
            peers=self.peers,
            event_log=OpenedLater(lambda: self.events),
            clock=self.clock,
            node_id=self.paths.node_id,
            boot_id=self.boot_id,
            installation_id=lambda: self.configuration.document().installation_id,
            keys=own_keys,
            boots=lambda: None if self.board is None else self.board.boots(),
            is_served=lambda: running.find(self.paths) is not None,
            works=SoleWorker(
                self.coordinator, self.paths.node_id, MOST[Process.BACKGROUNDER]
            ).is_there,
        )
        return MaintenanceService(ports, node_id)

    @cached_property
    def software(self) -> "SoftwareService":
        """The software by which each node of a cluster is served, and what all of them know."""
        from strongroom.joining import own_keys
        from strongroom.joining.software import Software
        from strongroom.repository.revision import formats
        from strongroom.services.jobs.processes import SEVERAL
        from strongroom.services.nodes.software import SoftwarePorts, SoftwareService
        from strongroom.system import version

        own = Software(version.VERSION, frozenset((*formats(), SEVERAL)))
        ports = (self.coordinator, self.peers, self.events, self.clock)
        return SoftwareService(SoftwarePorts(*ports, lambda: own_keys.read(self.paths), own))

    @override
    def _before_upgrade(self) -> None:
        from strongroom.repository import revision

        if self.outside is not None:
            self.software.check_may_begin(revision.format_name(revision.REVISION))

    @cached_property
    def settings(self) -> "SettingsService":
        """The export and import of settings."""
        from strongroom.runtime.processes import SERVICES
        from strongroom.services.configuration.settings import SettingsService

        return SettingsService(self.configuration, self.events, {self.paths.node_id: SERVICES})
