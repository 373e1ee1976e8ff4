"""Composes the status of the services of a node in a cluster: each is asked now, and for no longer than a limit."""

import base64
import binascii
import time
from collections.abc import Callable
from typing import Any, Final

from strongroom.coordination import anchor
from strongroom.coordination.zookeeper import looking as zookeeper_looking
from strongroom.coordination.zookeeper.looking import ServerState, SessionState
from strongroom.coordination.zookeeper.settings import ZookeeperSettings
from strongroom.errors import StateError, StrongroomError
from strongroom.node import object_stores
from strongroom.node.opening import Node
from strongroom.objectstore.looking import StoreState
from strongroom.repository import looking as postgres_looking
from strongroom.repository.looking import DatabaseState
from strongroom.runtime import running
from strongroom.services.keys.peers import PREFIX as NODES
from strongroom.services.nodes.standing import NodeSeen, Own, Standing
from strongroom.system import hosts, together

LIMIT_S: Final = 12.0
"""How long all services together are waited for; and then, what this node reads by them."""
_STORE_S: Final = 8.0
"""How long object stores are waited for of that."""
_SESSION, _DATABASE, _OWN, _STORES = "session", "database", "own", "stores"


def look(node: Node, now: Callable[[], float] = time.time) -> Standing:
    """How the services stand, within twice `LIMIT_S`.

    Args:
        node: The node.
        now: This machine's clock, in seconds since the epoch.

    Raises:
        StateError: The node is a single one.
        KeystoreError: The keystore does not open the passwords of the services.
    """
    outside = node.outside
    if outside is None:
        raise StateError(
            "this node is a single one: its services are embedded",
            hint="'strongroom status' tells of it; 'strongroom cluster enable' brings it to ZooKeeper and PostgreSQL",
        )
    settings = outside.zookeeper_settings()
    settings.credentials()
    names = {one.text: one for one in hosts.endpoints(settings.hosts)}
    address = outside.file.services.postgres

    def database() -> DatabaseState:
        return postgres_looking.look(address, outside.postgres_passwords, anchor.MARK, now)

    calls: dict[str, Callable[[], Any]] = {
        _SESSION: lambda: zookeeper_looking.session(settings),
        _DATABASE: database,
        **{name: _server(one, settings) for name, one in names.items()},
    }
    told = together.within(LIMIT_S, calls)
    late = f"no answer within {LIMIT_S:g} s"
    session = told[_SESSION] or SessionState(problem=late)
    stored = told[_DATABASE] or DatabaseState(problem=late)
    servers = tuple(told[name] or ServerState(name, problem=late) for name in names)
    first = Standing(servers, session, stored, _anchor(stored), Own())
    if not first.is_connected:
        return first
    own = together.within(LIMIT_S, {_OWN: lambda: _own(node, with_faults=first.is_stored)})[_OWN]
    if own is None or own.problem:
        return first._replace(own=own or Own(problem=late))
    # behind it: the parts of a node are made when they are met first, by one thread at a time
    stores = together.within(LIMIT_S, {_STORES: lambda: _stores(node)})[_STORES]
    return first._replace(own=own, stores=stores)


def _stores(node: Node) -> tuple[StoreState, ...] | None:
    try:
        return object_stores.look(node, _STORE_S)
    except StrongroomError:
        return None  # why the state cannot be read is told of the node


def _server(one: hosts.Endpoint, settings: ZookeeperSettings) -> Callable[[], ServerState]:
    return lambda: zookeeper_looking.server(one, settings)


def _anchor(database: DatabaseState) -> int | None:
    if database.mark is None:
        return None
    try:
        return anchor.number_of(base64.b64decode(database.mark, validate=True)) or None
    except (binascii.Error, ValueError):
        return None


def _own(node: Node, *, with_faults: bool) -> Own:
    try:
        version = node.configuration.document().version
        registered = {key.removeprefix(NODES) for key in node.coordinator.list(NODES)}
        nodes: dict[str, bool | None] = dict.fromkeys(registered)
        nodes |= dict.fromkeys(node.coordinator.members(), True)
        nodes[node.paths.node_id] = running.find(node.paths) is not None
        faults = node.state_faults() if with_faults else ()
    except StrongroomError as error:
        return Own(problem=error.message)
    return Own(version, tuple(NodeSeen(*one) for one in sorted(nodes.items())), faults)
