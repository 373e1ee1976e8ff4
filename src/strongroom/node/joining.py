"""Composes the joining of a prepared node to its cluster, and the registration of the node that was there before.

Beside the composition root, which opens nodes; what a node says of itself is `services.nodes.join`'s business.
"""

from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

from strongroom.clock import SystemClock
from strongroom.cluster import services_file
from strongroom.errors import StateError, StrongroomError
from strongroom.eventlog.events import key_events, node_events
from strongroom.extracts import place
from strongroom.joining import node_keys, own_certificate, own_keys, prepared
from strongroom.joining.prepared import PreparedNode
from strongroom.joining.registry import NodeState
from strongroom.node.environment import installation_file_modes, local_actor
from strongroom.node.opening import Node
from strongroom.node.outside import OutsideServices
from strongroom.objectstore import proof
from strongroom.runtime.paths import DataPaths
from strongroom.secrets.committed import ValueKey
from strongroom.services.nodes.join import JoinPorts, JoinService, OwnPaths, first_cause
from strongroom.system import durable


class Joined(NamedTuple):
    """The outcome of an attempt to join.

    Attributes:
        state: The state of the node afterwards.
        cause: Why it is not active; empty if it is.
    """

    state: NodeState
    cause: str


def service(node: Node) -> JoinService:
    """The entry of a node in the registry.

    Raises:
        StorageError: The node's own keys are not there.
    """
    ports = JoinPorts(node.coordinator, node.peers, node.events, node.clock)
    return JoinService(ports, own_keys.read(node.paths))


def join(
    root: Path, waiting: PreparedNode, paths: OwnPaths, report: Callable[[str], None]
) -> Joined:
    """Have a prepared node try its services and keys, and tell the cluster what it found; may be repeated.

    Args:
        root: The data directory.
        waiting: The record of its preparation.
        paths: Paths on this machine that differ from those that are known.
        report: Is told each step.

    Raises:
        StateError: The node is not registered, or was left out.
        StorageError: The disk refuses.
    """
    found = DataPaths(root, waiting.node_id)
    # the installation has answered: a killed attempt to be admitted may have left these
    own_keys.forget(root)
    own_keys.forget_asked(found)
    file_modes = installation_file_modes()
    for folder in (found.extracts, found.backups, found.repository.parent, found.locks):
        durable.make_folder(folder, file_modes)
    with closing(Node(found, SystemClock())) as node:
        _point(node, paths.or_else(_brought(node, paths)))
    with closing(Node(found, SystemClock())) as node:
        report("trying ZooKeeper, PostgreSQL, the keys and the store of extracts")
        cause = first_cause(lambda: _outside(node).probe(), lambda: _problems(node))
        try:
            if not cause:
                node.software.say()
                _tell_prepared(node, waiting)
            state = service(node).tell(local_actor(), cause).state
        except StateError:
            raise
        except StrongroomError as error:
            # the services themselves are not reached, so it can be told to nobody
            cause, state = cause or error.with_hint, NodeState.JOINING
        if state is NodeState.ACTIVE:
            node.configuration.project()
    if state is not NodeState.ACTIVE:
        prepared.write(found, waiting.refused(cause), file_modes)
        return Joined(state, cause)
    # from here on every command works on the node
    prepared.forget(found)
    return Joined(state, "")


def ensure_registered(node: Node, actor: str) -> bool:
    """Register the node of a cluster that was made before there was a registry; returns whether it was not registered.

    Raises:
        StateError: The node was left out, or has not joined.
        StrongroomError: The registry cannot be read or written.
    """
    paths = node.paths
    if not paths.node_keys.exists():
        if paths.node_id in node.peers.all():
            raise StateError(
                f"{paths.node_keys} is not there, and {paths.node_id} is registered with the keys in it",
                hint="bring the file back, or have the node get new keys: strongroom recover",
            )
        installation_id = node.configuration.document().installation_id
        # the log is signed by the key in the configuration, until `ensure_log_key`
        own_keys.write(paths, node_keys.make(installation_id, paths.node_id).with_log(None))
    return service(node).ensure_first(actor)


def ensure_log_key(node: Node, actor: str) -> bool:
    """Have a registered node sign its event log by a key of its own; returns whether it did not as yet.

    Raises:
        StateError: The log does not fit its checkpoint.
        StrongroomError: A key, the registry or the log cannot be read or written.
    """
    return node.log_key.ensure(actor)


def _problems(node: Node) -> tuple[str, ...]:
    """Problems with software and keys; without any, the store that all nodes share is proved, if there is one.

    Raises:
        StorageError: The store cannot be relied on from here.
    """
    cause = node.software.cause()
    problems = (cause,) if cause else tuple(node.kms_store.prove().problems)
    if not problems and node.shares_files:
        proof.prove(node.bucket(place.in_force(node.coordinator)))
    return problems


def _tell_prepared(node: Node, waiting: PreparedNode) -> None:
    """Write the events of the preparation, unless an earlier attempt has."""
    if any(node.events.history(node_events.NODE_PREPARED)):
        return
    actor, node_id = local_actor(), waiting.node_id
    fingerprint = node.identity.fingerprint()
    master_key = node.keystore.load().newest
    node.events.append(
        [
            key_events.key_moved(actor, "master", master_key, place=node_id),
            node_events.node_prepared(
                actor,
                waiting.installation_id,
                node_id,
                server=waiting.server,
                fingerprint=fingerprint,
            ),
        ]
    )


def _outside(node: Node) -> OutsideServices:
    if node.outside is None:
        raise StateError("this node was not told where its services are")
    return node.outside


def _brought(node: Node, named: OwnPaths) -> OwnPaths:
    """The paths of the authorities that the bootstrap file brought, and of what this node can show to ZooKeeper.

    That is its own certificate, if there is no file where the first node has one: it does for a ZooKeeper that asks for
    none, or believes the installation's authority.
    """
    paths, own = node.paths, own_certificate.find(node.paths)
    given = Path(_outside(node).file.services.zookeeper.certificate)
    if not (named.zookeeper_certificate or given.exists() or own is None):
        own_certificate.show_to_zookeeper(paths, own)
    certificate = paths.zookeeper_certificate
    found = {
        name: str(path.absolute())
        for name in services_file.SERVICES
        if (path := paths.authority(name)).exists()
    }
    return OwnPaths(
        zookeeper_ca=found.get(services_file.ZOOKEEPER, ""),
        zookeeper_certificate=str(certificate.absolute()) if certificate.exists() else "",
        postgres_ca=found.get(services_file.POSTGRES, ""),
    )


def _point(node: Node, paths: OwnPaths) -> None:
    """Write the paths of this machine into the node's file of services, if they are others."""
    outside = _outside(node)
    services = paths.applied(outside.file.services)
    if services == outside.file.services:
        return
    [key_id] = outside.file.key_ids
    open_key = node.authority.open_local
    passwords = {name: outside.file.password(name, open_key) for name in outside.file.secrets}
    key = ValueKey(services.installation_id, key_id, open_key(key_id))
    file = services_file.sealed(services, key, passwords)
    services_file.write(node.paths.services, file, node.file_modes)
