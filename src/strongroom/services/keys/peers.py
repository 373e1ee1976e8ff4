"""The nodes of the installation, and what may not be done to keys while others have the present ones (format/nodes.md 2, 4).

A node opens the configuration by its own keystore. A change of the keys in the keystore reaches the
nodes that are active (format/key-changes.md 4); one that has not said that it is in order would be shut out.
"""

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING

from strongroom.clock import Clock, format_utc
from strongroom.coordination.base import Change, Coordinator
from strongroom.errors import NotFoundError, StateError
from strongroom.eventlog.base import EventLog
from strongroom.eventlog.events import node_events

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
        self.node_id = node_id
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
            if one.node_id != self.node_id and not one.state.is_gone
        )

    def active_others(self) -> "tuple[RegisteredNode, ...]":
        """The other nodes that serve, or will at their next start without a further proof."""
        return tuple(one for one in self.others() if one.state.value == "active")

    def stale_others(self) -> "tuple[RegisteredNode, ...]":
        """The other nodes without which keys were changed: each finds the newest at its next start."""
        return tuple(one for one in self.others() if one.state.value == "stale")

    def check_can_follow(self, doing: str) -> None:
        """Refuse what a node could not follow that has not said as yet that it is in order.

        Args:
            doing: The command, in words for the sentence.

        Raises:
            StateError: There is a node that is joining.
        """
        others = [one for one in self.others() if one.state.value == "joining"]
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
            named = self._named(names)
            wanted = [one for one in named if not one.state.is_gone]
            if wanted:
                self._event_log.append(
                    [node_events.node_left_out(actor, one.node_id) for one in wanted]
                )
                now = format_utc(self._clock.now())
                self._put([one.left_out(now) for one in wanted])
        return tuple(one.node_id for one in wanted)

    def set_stale(self, actor: str, names: Collection[str]) -> tuple[str, ...]:
        """Have nodes prove the KMS store before they serve again, before it is changed without them.

        Args:
            actor: The person or process that asks, for the events.
            names: Ids of nodes.

        Returns:
            The ids of those that were active.

        Raises:
            NotFoundError: There is no other node of that id.
            StateError: The node is alive, and can be asked.
        """
        with self._coordinator.lock(LOCK, wait_s=LOCK_WAIT_S):
            wanted = [one for one in self._named(names) if one.state.value == "active"]
            alive = {*self._coordinator.members()}
            for one in wanted:
                if one.node_id in alive:
                    raise StateError(
                        f"{one.node_id} is alive: keys are not changed without a node that serves",
                        hint=f"leave out --without-node {one.node_id}, or stop that node first",
                    )
            if wanted:
                self._event_log.append(
                    [node_events.node_stale(actor, one.node_id) for one in wanted]
                )
                now = format_utc(self._clock.now())
                self._put([one.stale(now) for one in wanted])
        return tuple(one.node_id for one in wanted)

    def go_on_without(self, actor: str, names: Collection[str]) -> None:
        """Have the keys of the keystore be changed without nodes: they take the newest ones at their next start.

        A node that is joining has no keys to begin with, and is left out.

        Raises:
            NotFoundError: There is no other node of that id.
            StateError: The node is alive, and can be asked.
        """
        joining = [one.node_id for one in self._named(names) if one.state.value == "joining"]
        self.set_stale(actor, [name for name in names if name not in joining])
        self.leave_out(actor, joining)

    def _named(self, names: Collection[str]) -> "list[RegisteredNode]":
        known = self.all()
        for name in names:
            if name not in known or name == self.node_id:
                raise NotFoundError(
                    f"there is no other node {name[:80]!r}",
                    hint="'tsm topology list-nodes' shows them",
                )
        return [known[name] for name in dict.fromkeys(names)]

    def _put(self, nodes: "Collection[RegisteredNode]") -> None:
        self._coordinator.put(self.changes(nodes))

    def changes(self, nodes: "Collection[RegisteredNode]") -> dict[str, Change]:
        """The put of entries; a node that is gone finds no keys that were kept for it (format/key-changes.md 3.3)."""
        from strongroom.joining import key_bundles

        kept = [key_bundles.entry(one.node_id) for one in nodes if one.state.is_gone]
        versions = {name: self._coordinator.version(name) for name in kept}
        return {
            **{name: Change(None, version) for name, version in versions.items() if version},
            **{
                PREFIX + one.node_id: Change(
                    one.serialize(), self._coordinator.version(PREFIX + one.node_id)
                )
                for one in nodes
            },
        }
