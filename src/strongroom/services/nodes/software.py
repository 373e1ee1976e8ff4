"""Nodes of different releases in one installation: who may be controller, and from when on a new format is written (ADR 57).

Each node says by its own signature which release serves it and which formats that knows. The controller switches on what
all of them know. A node of a release that is too old for the office, or for what is switched on, is told so by name.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from strongroom.clock import Clock, format_utc
from strongroom.coordination.base import Change, Coordinator, Group
from strongroom.errors import FormatError, IntegrityError, StateError
from strongroom.eventlog.base import EventLog
from strongroom.eventlog.events import node_events
from strongroom.joining import software
from strongroom.joining.software import InForce, NodeSoftware, Software
from strongroom.services.keys.peers import LOCK, LOCK_WAIT_S, Peers

if TYPE_CHECKING:
    from collections.abc import Callable

    from strongroom.joining.node_keys import NodeKeys

_UPGRADE = "see docs/howto/upgrade.md"


@dataclass(frozen=True)
class SoftwarePorts:
    """The ports of this service.

    Attributes:
        coordinator: Holds what each node says, and what counts.
        peers: The registry of the nodes.
        event_log: The log of this node.
        clock: Gives the present.
        keys: Reads the keys by which this node signs.
        own: The software of this process.
    """

    coordinator: Coordinator
    peers: Peers
    event_log: EventLog
    clock: Clock
    keys: "Callable[[], NodeKeys]"
    own: Software


class SoftwareService:
    """The software of the nodes, as one of them sees it."""

    def __init__(self, ports: SoftwarePorts) -> None:
        self._ports = ports

    def all(self) -> Mapping[str, Software]:
        """The software of each node that is one of the installation and has said so, by the keys that it has now.

        Raises:
            FormatError: An entry is damaged.
        """
        found = self._ports.coordinator.list(software.PREFIX)
        known = {}
        for node in self._ports.peers.all().values():
            entry = found.get(software.PREFIX + node.node_id)
            if entry is not None and not node.state.is_gone:
                said = self._said(entry.value, node.node_id, node.keys.signing)
                if said is not None:
                    known[node.node_id] = said
        return known

    def in_force(self) -> InForce:
        """The release and the formats that count for all nodes; nothing before the first controller looked.

        Raises:
            FormatError: The entry is damaged, or of a version that is not known here.
        """
        return self._in_force()[0]

    def say(self) -> bool:
        """Say which software serves this node, if it has not; returns whether it had not.

        Raises:
            CoordinationError: The coordination service cannot be written.
        """
        ports, keys = self._ports, self._ports.keys()
        name = software.PREFIX + keys.node_id
        found = ports.coordinator.get(name)
        if found is not None:
            before = self._said(found.value, keys.node_id, keys.public.signing)
            if before == ports.own:
                return False
        said = NodeSoftware(keys.node_id, ports.own, format_utc(ports.clock.now()))
        entry = said.signed(keys.installation_id, keys.signing)
        ports.coordinator.put({name: Change(entry, found.version if found else 0)})
        return True

    def cause(self) -> str:
        """Why this software cannot serve a node of the installation, in words; empty if it can.

        Raises:
            FormatError: The entry of formats is damaged, or of a version that is not known here.
        """
        own, counts = self._ports.own, self.in_force()
        missing = sorted(counts.formats - own.formats)
        if not missing:
            return ""
        return (
            f"this software ({own.version}) does not know {' and '.join(missing)}, which all nodes have used"
            f" since the installation came to {counts.min_version}"
        )

    def check_serves(self) -> None:
        """Refuse a node whose software is older than a format that is switched on.

        Raises:
            StateError: The software does not know a format.
        """
        if cause := self.cause():
            raise StateError(cause, hint=f"install the release of the other nodes; {_UPGRADE}")

    def check_controls(self) -> None:
        """Refuse the office of the controller to a node whose software is older than that of all others.

        Raises:
            StateError: The software is older than the installation.
        """
        own, counts = self._ports.own, self.in_force()
        if counts.min_version and own.is_older_than(counts.min_version):
            raise StateError(
                f"this node cannot be the controller: its software ({own.version}) is older than"
                f" {counts.min_version}, which all nodes have had",
                hint=f"the node serves meanwhile; install {counts.min_version} or newer on it; {_UPGRADE}",
            )

    def raise_to_all(self, actor: str) -> bool:
        """Switch on what every node of the installation knows; the controller's duty. Returns whether anything was.

        A node that has not said what it knows holds everything up: a format that it cannot read would shut it out.

        Args:
            actor: The process that asks, for the event.

        Raises:
            ConflictError: Another command works on the nodes.
        """
        if self._after() == self.in_force():
            return False
        ports = self._ports
        with ports.coordinator.lock(LOCK, wait_s=LOCK_WAIT_S):
            # a node that is admitted in this moment looks for itself before it is served
            (before, version), after = self._in_force(), self._after()
            if after == before:
                return False
            ports.event_log.append(
                [
                    node_events.formats_raised(
                        actor,
                        min_version=after.min_version,
                        formats=" ".join(sorted(after.formats - before.formats)),
                    )
                ]
            )
            ports.coordinator.put({software.IN_FORCE: Change(after.serialize(), version)})
        return True

    def check_may_begin(self, name: str) -> None:
        """Refuse to begin with a format that a node must know to work at all, such as tables, while a node runs without it.

        Whoever is off is refused at its next start, until it has a release that knows the format.

        Raises:
            StateError: A process is alive for a node whose software does not know the format.
        """
        ports, known = self._ports, self.all()
        alive = sorted(
            {one for group in Group for one in ports.coordinator.members(group)}
            & {*ports.peers.all()}
        )
        behind = [one for one in alive if one not in known or name not in known[one].formats]
        if behind:
            versions = (known[one].version if one in known else "not known" for one in behind)
            names = " and ".join(map("{} ({})".format, behind, versions))
            raise StateError(
                f"{names} runs with software that does not know {name}, with which {ports.own.version} works",
                hint=f"stop every node, then start each with the new release; {_UPGRADE}",
            )

    def check_in_force(self, name: str, what: str) -> None:
        """Refuse to write in a format that is not switched on; nodes that do not know it are named, also those that are off.

        A node without another one in the registry may: nobody else reads it, and its controller switches the format on.

        Args:
            name: The name of the format.
            what: The content of such an entry, in words.

        Raises:
            StateError: The format is not switched on.
        """
        if name in self.in_force().formats or self._expected() <= {self._ports.keys().node_id}:
            return
        known = self.all()
        behind = [
            f"{one} ({known[one].version if one in known else 'not known'})"
            for one in sorted(self._expected())
            if one not in known or name not in known[one].formats
        ]
        if behind:
            raise StateError(
                f"{what} is of no use as yet: the software of {' and '.join(behind)} does not know it",
                hint=f"install {self._ports.own.version} or newer there, and start it; {_UPGRADE}",
            )
        raise StateError(
            f"{what} is not switched on as yet",
            hint="the controller does that within seconds of the start of the last node; try again",
        )

    # ---- inside ----------------------------------------------------------------------------------

    def _after(self) -> InForce:
        before, known = self.in_force(), self.all()
        is_whole = known and known.keys() == self._expected()
        return before.raised([*known.values()]) if is_whole else before

    def _expected(self) -> set[str]:
        return {one.node_id for one in self._ports.peers.all().values() if not one.state.is_gone}

    def _in_force(self) -> tuple[InForce, int]:
        found = self._ports.coordinator.get(software.IN_FORCE)
        if found is None:
            return InForce(), 0
        return software.parse_in_force(found.value), found.version

    def _said(self, data: bytes, node_id: str, public: bytes) -> Software | None:
        """The software in an entry; None if the node has not said so by the key that it has now."""
        installation_id = self._ports.keys().installation_id
        try:
            return software.parse(data, installation_id, node_id, public).software
        except (IntegrityError, FormatError):
            # of the keys before a recovery, of somebody else, or of a later release that was taken back: until the node has
            # said it anew, at its next start, nothing new begins
            return None
