"""The node's own part in joining: where its services are, its report on itself, and its entry in the registry (nodes.md 2, 3)."""

from collections.abc import Callable, Iterable
from typing import NamedTuple

from strongroom.canonical import Fields
from strongroom.clock import Clock, format_utc
from strongroom.cluster import services_file
from strongroom.cluster.services_file import (
    KIND,
    POSTGRES,
    ZOOKEEPER,
    Services,
    ServicesFile,
    ZookeeperPlace,
)
from strongroom.coordination.base import Change, Coordinator
from strongroom.crypto.installation_identity import InstallationIdentity
from strongroom.errors import FormatError, StateError, StrongroomError
from strongroom.eventlog.base import EventLog
from strongroom.eventlog.events import node_events
from strongroom.ids import new_id
from strongroom.joining import credentials, registry, welcome
from strongroom.joining.admission_request import AdmissionRequest
from strongroom.joining.node_keys import NodeKeys
from strongroom.joining.registry import NodeState, RegisteredNode, Report
from strongroom.joining.welcome import Asked, Sealed, Welcome
from strongroom.secrets.committed import ValueKey
from strongroom.services.keys import replacing
from strongroom.services.keys.peers import LOCK, LOCK_WAIT_S, Peers
from strongroom.system.findings import Finding


class OwnPaths(NamedTuple):
    """Paths on the new node's machine; without one, the bootstrap file or the node that admitted it says another.

    Attributes:
        zookeeper_ca: The authority of ZooKeeper's certificates.
        zookeeper_certificate: The node's certificate for ZooKeeper and its key.
        postgres_ca: The authority of PostgreSQL's certificate.
    """

    zookeeper_ca: str = ""
    zookeeper_certificate: str = ""
    postgres_ca: str = ""

    def or_else(self, others: "OwnPaths") -> "OwnPaths":
        """These paths, and others in the place of those that are empty."""
        return OwnPaths(*(one or other for one, other in zip(self, others, strict=True)))

    def applied(self, services: Services) -> Services:
        """The addresses with these paths."""
        place = services.zookeeper
        place = place._replace(
            ca=self.zookeeper_ca or place.ca,
            certificate=self.zookeeper_certificate or place.certificate,
        )
        postgres = dict(services.postgres)
        if self.postgres_ca:
            postgres["sslrootcert"] = self.postgres_ca
        return services._replace(zookeeper=place, postgres=postgres)


def opened(
    sealed: Sealed, request: AdmissionRequest, own: NodeKeys, identity: InstallationIdentity
) -> Welcome:
    """The answer to a node's request, proved and opened.

    Raises:
        IntegrityError: The answer is not of the identity that signed the bootstrap file, or was changed.
        FormatError: The answer is damaged.
    """
    digest = bytes.fromhex(credentials.request_digest(request))
    return welcome.opened(sealed, Asked(request.node_id, digest), own.sealing, identity)


def file_of(found: Welcome, installation_id: str, key: ValueKey) -> ServicesFile:
    """The node's file of services, with the passwords under its configuration key.

    Raises:
        FormatError: The answer does not name what such a file has.
    """
    fields = Fields(dict(found.coordination), KIND)
    fields.check_names(ZookeeperPlace._fields)
    if found.passwords.keys() != {POSTGRES, ZOOKEEPER}:
        raise FormatError("the answer of the installation has not just the two passwords")
    place = ZookeeperPlace(**found.coordination)
    services = Services(installation_id, new_id(), place, found.repository)
    return services_file.sealed(services, key, found.passwords)


class JoinPorts(NamedTuple):
    """The ports of a node that joins, or that is registered.

    Attributes:
        coordinator: The coordination service of the cluster.
        peers: The registry.
        event_log: The log of this node.
        clock: Gives the present.
    """

    coordinator: Coordinator
    peers: Peers
    event_log: EventLog
    clock: Clock


class JoinService:
    """The entry of this node in the registry."""

    def __init__(self, ports: JoinPorts, keys: NodeKeys) -> None:
        self._ports = ports
        self._keys = keys

    def find(self) -> RegisteredNode | None:
        """The entry of this node; None if it has none.

        Raises:
            StateError: The entry is of a node with other keys, or this node was left out or removed.
        """
        found = self._ports.peers.all().get(self._keys.node_id)
        if found is None:
            return None
        if found.keys != self._keys.public:
            raise StateError(
                f"{found.node_id} is registered with other keys than those of this directory",
                hint="this is an older copy, or another node's: bring the node in anew",
            )
        check_not_taken_out(found)
        return found

    def tell(self, actor: str, cause: str) -> RegisteredNode:
        """Write what this node found when it tried its services and keys: it is active if nothing was amiss.

        Args:
            actor: The person or process that asks, for the event.
            cause: The first thing that was not in order, in words; empty if all was.

        Raises:
            StateError: The node is not registered, or was left out; or a command replaces what it would be active with.
        """
        ports = self._ports
        with ports.coordinator.lock(LOCK, wait_s=LOCK_WAIT_S):
            # under this lock such a command has made the node stale, and later nothing but the command changes that
            replacing.check_nobody_replaces(ports.coordinator)
            before = self.find()
            if before is None:
                raise StateError(
                    f"{self._keys.node_id} is not registered",
                    hint="bring the node in anew, by a new bootstrap file",
                )
            report = Report(format_utc(ports.clock.now()), cause)
            after = before.reported(self._keys.installation_id, self._keys, report)
            self._write(after)
            if after.state is NodeState.ACTIVE and before.state is not NodeState.ACTIVE:
                self._tell_joined(actor)
        return after

    def tell_log_key(self) -> None:
        """Write the key by which the node alone signs its event log, if its entry names another one or none.

        Raises:
            StateError: The node was left out, or is registered with other keys.
        """
        if not self._has_other_log_key(self.find()):
            return
        ports = self._ports
        with ports.coordinator.lock(LOCK, wait_s=LOCK_WAIT_S):
            before = self.find()
            if before is not None and before.report is not None:
                report = Report(format_utc(ports.clock.now()), before.report.cause)
                self._write(before.reported(self._keys.installation_id, self._keys, report))

    def _has_other_log_key(self, node: RegisteredNode | None) -> bool:
        # without a report the node is still joining: its first one names the key
        return (
            node is not None and node.report is not None and node.log_key != self._keys.log_public
        )

    def take_place(self, actor: str) -> None:
        """Write an entry with the keys of this node in the place of the one with the keys that it lost.

        The caller holds the lock of the registry.

        Raises:
            StateError: The node was left out.
        """
        before = self._ports.peers.all().get(self._keys.node_id)
        if before is not None:
            check_not_taken_out(before)
        now = format_utc(self._ports.clock.now())
        node = RegisteredNode(self._keys.node_id, self._keys.public, NodeState.JOINING, now)
        self._write(node.reported(self._keys.installation_id, self._keys, Report(now, "")))
        self._tell_joined(actor)

    def ensure_first(self, actor: str) -> bool:
        """Register the node that was there before there was a registry; returns whether it was not registered.

        Raises:
            StateError: There are other nodes, and this one is not among them.
        """
        if self.find() is not None:
            return False
        ports = self._ports
        with ports.coordinator.lock(LOCK, wait_s=LOCK_WAIT_S):
            if ports.peers.all():
                raise StateError(
                    f"{self._keys.node_id} is not among the nodes of the installation",
                    hint="'tsm topology list-nodes' on another node shows them",
                )
            now = format_utc(ports.clock.now())
            node = RegisteredNode(self._keys.node_id, self._keys.public, NodeState.JOINING, now)
            report = Report(now, "")
            self._write(node.reported(self._keys.installation_id, self._keys, report))
            self._tell_joined(actor)
        return True

    def _tell_joined(self, actor: str) -> None:
        fingerprint = self._keys.public.fingerprint
        self._ports.event_log.append(
            [node_events.node_joined(actor, self._keys.node_id, fingerprint=fingerprint)]
        )

    def _write(self, node: RegisteredNode) -> None:
        name = registry.PREFIX + node.node_id
        version = self._ports.coordinator.version(name)
        self._ports.coordinator.put({name: Change(node.serialize(), version)})


def check_not_taken_out(node: RegisteredNode) -> None:
    """Refuse a node that was left out or removed.

    Raises:
        StateError: Keys were changed without the node, or it was taken out of the cluster.
    """
    if node.state is NodeState.REMOVED:
        raise StateError(
            f"{node.node_id} was removed at {node.since}",
            hint="bring the machine in anew, by a new bootstrap file and in an empty directory",
        )
    if node.state is NodeState.LEFT_OUT:
        raise StateError(
            f"{node.node_id} was left out at {node.since}: keys were changed without it",
            hint="bring the machine in anew, by a new bootstrap file and in an empty directory",
        )


def first_cause(
    links: Callable[[], Iterable[Finding]], prove: Callable[[], tuple[str, ...]]
) -> str:
    """The first thing that is not in order with a node, in words; empty if it may be active.

    Args:
        links: Tries the links to the services.
        prove: Opens the KMS store by this node's own access to the root; returns problems.
    """
    try:
        bad = next((one for one in links() if not one.is_ok), None)
        if bad is not None:
            return f"{bad.link}, {bad.check}: {bad.detail}"
        problems = prove()
    except StrongroomError as error:
        return error.with_hint
    return f"keys: {problems[0]}" if problems else ""
