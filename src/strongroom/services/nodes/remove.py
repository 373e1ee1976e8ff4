"""Takes nodes out of the installation: the registry says so first, and each that runs still ends by it (nodes.md 5)."""

import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Final

from strongroom.clock import Clock, format_utc
from strongroom.coordination.base import Change, Coordinator
from strongroom.errors import NotFoundError, StateError
from strongroom.eventlog.base import EventLog
from strongroom.eventlog.events import node_events
from strongroom.joining.maintenance import DRAINS
from strongroom.joining.registry import RegisteredNode
from strongroom.services.keys.peers import LOCK, LOCK_WAIT_S, Peers

END_WAIT_S: Final = 30.0
"""How long a node that runs has to end."""
_POLL_S: Final = 0.2


@dataclass(frozen=True)
class RemovePorts:
    """The ports of a removal.

    Attributes:
        coordinator: The coordination service of the cluster.
        peers: The registry.
        event_log: The log of this node.
        clock: Gives the present.
        shares_files: Whether all nodes use one store of extracts.
        node_id: This node.
        drain: Drains nodes that are alive, within a bound.
    """

    coordinator: Coordinator
    peers: Peers
    event_log: EventLog
    clock: Clock
    shares_files: Callable[[], bool]
    node_id: str
    drain: Callable[[Collection[str]], None] = lambda _: None


class RemoveService:
    """The removal of nodes."""

    def __init__(self, ports: RemovePorts) -> None:
        self._ports = ports

    def remove(
        self, actor: str, names: Collection[str], *, force: bool, report: Callable[[str], None]
    ) -> tuple[str, ...]:
        """Take nodes out, and wait until those that run have ended; may be repeated.

        Args:
            actor: The person or process that asks, for the events.
            names: Ids of nodes.
            force: Also nodes that do not run, and nodes whose disks hold extracts; none is drained then.
            report: Is told each step.

        Returns:
            The nodes that run all the same.

        Raises:
            NotFoundError: There is no other node of an id.
            StateError: A node does not run, or its disk holds extracts, and `force` is false.
        """
        ports = self._ports
        if not force:
            known = self._known(names)
            self._require_reachable(known)
            # without the lock: it takes as long as what is under way
            ports.drain([one.node_id for one in known if not one.state.is_gone])
        with ports.coordinator.lock(LOCK, wait_s=LOCK_WAIT_S):
            known = self._known(names)
            if not force:
                self._require_reachable(known)
            gone = [one for one in known if not one.state.is_gone]
            if gone:
                ports.event_log.append(
                    [node_events.node_removed(actor, one.node_id) for one in gone]
                )
                now = format_utc(ports.clock.now())
                ports.coordinator.put(ports.peers.changes([one.removed(now) for one in gone]))
        for one in known:
            report(f"{one.node_id} is none of the nodes any more")
        running = self._running({one.node_id for one in known})
        self._forget_drains({one.node_id for one in known} - set(running))
        return running

    def _forget_drains(self, names: Collection[str]) -> None:
        """Remove what was said of drains; not before the nodes have ended, which would serve again by that."""
        found = self._ports.coordinator.list(DRAINS)
        gone = {
            name: Change(None, one.version)
            for name, one in found.items()
            if name.removeprefix(DRAINS).partition("/")[0] in names
        }
        if gone:
            self._ports.coordinator.put(gone)

    def _known(self, names: Collection[str]) -> list[RegisteredNode]:
        found = self._ports.peers.all()
        for name in names:
            if name not in found or name == self._ports.node_id:
                why = "the node that this runs on" if name in found else "no node of that id"
                raise NotFoundError(
                    f"{name[:80]!r} cannot be removed: it is {why}",
                    hint="'tsm topology list-nodes' shows the nodes; remove one from another",
                )
        return [found[name] for name in dict.fromkeys(names)]

    def _require_reachable(self, known: Collection[RegisteredNode]) -> None:
        present = [one.node_id for one in known if not one.state.is_gone]
        alive = set(self._ports.coordinator.members())
        dead = [name for name in present if name not in alive]
        if dead:
            raise StateError(
                f"{' and '.join(dead)} does not run, so nobody knows whether it will come back",
                hint="if its machine is lost, or was emptied, add --force",
            )
        if present and not self._ports.shares_files():
            raise StateError(
                "extracts lie on the disk of each node, and those of a removed one cannot be read",
                hint="move them all to an object store first: 'strongroom extracts move';"
                " or give them up: --force",
            )

    def _running(self, names: Collection[str]) -> tuple[str, ...]:
        """The nodes that are members after the wait."""
        end = time.monotonic() + END_WAIT_S
        while found := sorted(set(self._ports.coordinator.members()) & set(names)):
            if time.monotonic() >= end:
                return tuple(found)
            time.sleep(_POLL_S)
        return ()
