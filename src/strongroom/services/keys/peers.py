"""The nodes of the installation, and what may not be done to keys while others have the present ones (format/nodes.md 2, 4).

A node opens the configuration by its own keystore. A change that replaces the keys in the keystore of one node shuts
the others out; so it is refused while there are others, unless they are left out by name.
"""

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING

from strongroom.clock import Clock, format_utc
from strongroom.coordination.base import Change, Coordinator
from strongroom.errors import NotFoundError, StateError
from strongroom.eventlog import events
from strongroom.eventlog.base import EventLog

if TYPE_CHECKING:
    from collections.abc import Callable

    from strongroom.joining.registry import RegisteredNode

PREFIX = "topology/nodes/"
LOCK = "topology"
LOCK_WAIT_S = 5.0


class Peers:
    """The registry, as one node sees it."""

    def __init__(
        self,
        coordinator: Coordinator,
        event_log: EventLog,
        clock: Clock,
        node_id: str,
        installation_id: "Callable[[], str]",
    ) -> None:
        self._coordinator = coordinator
        self._event_log = event_log
        self._clock = clock
        self._node_id = node_id
        self._installation_id = installation_id

    def all(self) -> "Mapping[str, RegisteredNode]":
        """Every node by its id; none in an installation whose services are embedded.

        Raises:
            FormatError: An entry is damaged.
            IntegrityError: An entry is none, or says of a node what that one did not.
        """
        found = self._coordinator.list(PREFIX)
        if not found:
            # a single node imports nothing for what it has not
            return {}
        from strongroom.joining import registry

        installation_id = self._installation_id()
        nodes = [registry.parse(one.value, installation_id) for one in found.values()]
        return {one.node_id: one for one in sorted(nodes, key=lambda one: int(one.node_id[4:]))}

    def others(self) -> "tuple[RegisteredNode, ...]":
        """The other nodes that have the present keys, or are about to."""
        return tuple(
            one
            for one in self.all().values()
            if one.node_id != self._node_id and not one.state.is_gone
        )

    def check_alone(self, doing: str) -> None:
        """Refuse what would shut other nodes out.

        Args:
            doing: The command, in words for the sentence.

        Raises:
            StateError: There are other nodes.
        """
        others = self.others()
        if others:
            names = " and ".join(f"{one.node_id} ({one.state.value})" for one in others)
            options = " ".join(f"--without-node {one.node_id}" for one in others)
            raise StateError(
                f"{doing} would shut out {names}: the new keys come to this node only",
                hint=f"to go on without, and bring each in anew afterwards: {options}",
            )

    def leave_out(self, actor: str, names: Collection[str]) -> tuple[str, ...]:
        """Leave nodes out of the installation, before keys are changed without them; returns those that were not yet.

        Args:
            actor: The person or process that asks, for the events.
            names: Ids of nodes.

        Raises:
            NotFoundError: There is no other node of that id.
        """
        with self._coordinator.lock(LOCK, wait_s=LOCK_WAIT_S):
            known = self.all()
            for name in names:
                if name not in known or name == self._node_id:
                    raise NotFoundError(
                        f"there is no other node {name[:80]!r}",
                        hint="'tsm topology list-nodes' shows them",
                    )
            wanted = [known[name] for name in names if not known[name].state.is_gone]
            if not wanted:
                return ()
            self._event_log.append([events.node_left_out(actor, one.node_id) for one in wanted])
            now = format_utc(self._clock.now())
            self._coordinator.put(
                {
                    PREFIX + one.node_id: Change(
                        one.left_out(now).serialize(),
                        self._coordinator.version(PREFIX + one.node_id),
                    )
                    for one in wanted
                }
            )
        return tuple(one.node_id for one in wanted)
