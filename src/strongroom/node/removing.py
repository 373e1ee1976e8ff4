"""Composes the removal of nodes from a cluster, with the change of the passwords that they know."""

from collections.abc import Callable, Collection
from typing import NamedTuple

from strongroom.cluster.services_file import POSTGRES, SERVICES
from strongroom.node import service_passwords
from strongroom.node.opening import Node
from strongroom.repository.role_password import RolePassword
from strongroom.services.nodes.remove import RemovePorts, RemoveService


class Removed(NamedTuple):
    """The outcome of a removal.

    Attributes:
        running: Removed nodes whose processes did not end.
        ended: The number of sessions with PostgreSQL that were ended.
    """

    running: tuple[str, ...]
    ended: int


def remove(
    node: Node,
    actor: str,
    names: Collection[str],
    report: Callable[[str], None],
    *,
    force: bool,
    drain: Callable[[Collection[str]], None] = lambda _: None,
) -> Removed:
    """Take nodes out, and have ZooKeeper and PostgreSQL refuse the passwords that they know; may be repeated.

    Args:
        node: The node on which this runs.
        actor: The person or process that asks, for the events.
        names: Ids of nodes.
        report: Is told each step.
        force: Also nodes that do not run, and nodes whose disks hold extracts; none is drained then.
        drain: Drains nodes that are alive, within a bound.

    Raises:
        StateError: The node is a single one; or as `RemoveService.remove` and `service_passwords.rotate`.
        StrongroomError: A service refuses; the next run goes on from there.
    """
    ports = RemovePorts(
        coordinator=node.coordinator,
        peers=node.peers,
        event_log=node.events,
        clock=node.clock,
        shares_files=lambda: node.shares_files,
        node_id=node.paths.node_id,
        drain=drain,
    )
    running = RemoveService(ports).remove(actor, names, force=force, report=report)
    ended = 0
    for name in reversed(SERVICES):
        changed = service_passwords.rotate(node, name, actor, report)
        if changed.resumed:
            # the password of an interrupted change may be known to a node that was removed since
            service_passwords.rotate(node, name, actor, report)
        if name == POSTGRES and node.outside is not None:
            # a session that stands goes on, whatever becomes of the password
            ended = RolePassword(node.outside.file.services.postgres).end_others(
                node.outside.postgres_passwords
            )
    return Removed(running, ended)
