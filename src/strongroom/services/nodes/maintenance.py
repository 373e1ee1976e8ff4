"""The maintenance of an installation, or of one node: entered and left by a person, told by each node when it has drained.

One entry says that it goes on, and each served node answers by a word of its own (docs/format/maintenance.md). Whoever
reads judges: a node that is alive and has not said its word drains still, and one that is not alive is named. Nothing
waits for a node that cannot answer.
"""

import logging
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, NamedTuple

from strongroom.clock import Clock, format_utc
from strongroom.coordination.base import Change, Coordinator, Group
from strongroom.errors import (
    ConflictError,
    CoordinationError,
    NotFoundError,
    StateError,
    StrongroomError,
)
from strongroom.eventlog.base import Event, EventLog
from strongroom.eventlog.events import node_events
from strongroom.joining import maintenance as form
from strongroom.joining.maintenance import Drained, Maintenance, Place
from strongroom.joining.node_keys import NodeKeys
from strongroom.services.keys.peers import Peers
from strongroom.system.last_answer import LastAnswer

LOCK: Final = "maintenance"
_LOCK_WAIT_S: Final = 5.0
_log = logging.getLogger("strongroom.maintenance")
_ATTEMPTS: Final = 20
_STALE_S: Final = 20.0
"""The age at which what is known of the entry is asked for anew."""


class NodeState(StrEnum):
    """The states of a node in a maintenance."""

    #: Serves no client and works on no job, in its own words.
    DRAINED = "drained"
    #: Alive, and has not said that it is through.
    DRAINING = "draining"
    #: Not alive: it is stopped, or cut off and serves what it has in memory.
    DARK = "dark"


class NodeStanding(NamedTuple):
    """A node in a maintenance.

    Attributes:
        node_id: The node.
        state: The state.
        at: The time at which the node had drained, by its own clock; empty if it has not.
        cut: How many requests it cut off.
        is_excused: Whether whoever entered the maintenance named it as one that does not serve.
    """

    node_id: str
    state: NodeState
    at: str = ""
    cut: int = 0
    is_excused: bool = False

    @property
    def is_through(self) -> bool:
        """Whether nothing is waited for of this node."""
        return self.state is NodeState.DRAINED or (self.is_excused and self.state is NodeState.DARK)


@dataclass(frozen=True)
class MaintenancePorts:
    """The ports of the maintenance.

    Attributes:
        coordinator: The coordination service.
        peers: The registry.
        event_log: The log of this node.
        clock: Gives the present.
        node_id: This node.
        boot_id: This process.
        installation_id: Returns the installation.
        keys: Returns this node's own keys; None for a single node.
        boots: Returns the process that is alive for each node of a cluster; None for a single node.
        is_served: Returns whether a server serves this node; asked of a single node, which has no members.
        works: Returns whether a process works on the jobs of this node; asked likewise.
    """

    coordinator: Coordinator
    peers: Peers
    event_log: EventLog
    clock: Clock
    node_id: str
    boot_id: str
    installation_id: Callable[[], str]
    keys: Callable[[], NodeKeys | None]
    boots: Callable[[], Mapping[str, str] | None]
    is_served: Callable[[], bool]
    works: Callable[[], bool]


class MaintenanceService:
    """The maintenance of all nodes, or of one, as one node sees it."""

    def __init__(self, ports: MaintenancePorts, of_node: str = "") -> None:
        """Take the ports; nothing is read.

        Args:
            ports: The ports.
            of_node: The node that is drained alone; empty for the maintenance of all.
        """
        self._ports = ports
        self._place = Place(of_node)
        self._seen: tuple[int, Maintenance | None] = (-1, None)

    # ---- what counts -----------------------------------------------------------------------------

    def present(self) -> Maintenance | None:
        """The maintenance that goes on; None without one.

        Raises:
            FormatError: The entry is damaged, or of a version that is not known here.
            CoordinationError: The coordination service cannot be asked.
        """
        found = self._read()[0]
        return found if found is not None and found.is_on else None

    def seen(self) -> Maintenance | None:
        """The same; cheap, and as it was before while the coordination service is away.

        Raises:
            FormatError: The entry is damaged, or of a version that is not known here.
        """
        try:
            version = self._ports.coordinator.recent_version(self._place.entry, _STALE_S)
            if version != self._seen[0]:
                found, version = self._read()
                self._seen = (version, found if found is not None and found.is_on else None)
        except CoordinationError:
            pass
        return self._seen[1]

    def check_known(self) -> None:
        """Refuse a drain of an id that no node has; a maintenance of all names none.

        Raises:
            NotFoundError: The installation has no such node.
        """
        node_id = self._place.node_id
        known = {one.node_id for one in self._ports.peers.all().values() if not one.state.is_gone}
        if node_id not in {"", *(known or {self._ports.node_id})}:
            raise NotFoundError(
                f"there is no node {node_id[:80]!r}", hint="'tsm topology list-nodes' shows them"
            )

    def check_may_work(self) -> None:
        """Refuse work on jobs while a maintenance goes on.

        Raises:
            StateError: A maintenance goes on.
        """
        if found := self.present():
            node_id = self._place.node_id
            where, ends = "the installation is in maintenance", "tsm maintenance leave"
            if node_id:
                where, ends = f"{node_id} is drained", f"tsm topology undrain -n {node_id}"
            raise StateError(
                f"{where} {found.words}; no job is worked on here, and none is lost",
                hint=f"'{ends}' ends it",
            )

    @property
    def goes_on(self) -> str:
        """The words for a person who stops waiting: what goes on all the same."""
        if node_id := self._place.node_id:
            return f"{node_id} stays drained until 'tsm topology undrain -n {node_id}'"
        return "the installation stays in maintenance until 'tsm maintenance leave'"

    # ---- by a person -----------------------------------------------------------------------------

    def enter(
        self, actor: str, what: str, *, within_s: int, without: Collection[str] = ()
    ) -> Maintenance:
        """Enter the maintenance; one that goes on already goes on as it is, but for further nodes that are not waited for.

        Args:
            actor: The person or process that asks.
            what: The reason, in words.
            within_s: The seconds that requests and extracts under way have to end.
            without: Ids of nodes that do not serve, and are not waited for.

        Returns:
            The maintenance that goes on.

        Raises:
            NotFoundError: The installation has no node of one of the ids.
            StateError: A node that is not to be waited for is alive.
        """
        ports = self._ports
        with ports.coordinator.lock(LOCK, wait_s=_LOCK_WAIT_S):
            self._check_known()
            self._check_away(without)
            found, version = self._read()
            if found is not None and found.is_on:
                excused = (*found.without, *(one for one in without if one not in found.without))
                wanted = found._replace(without=excused)
            else:
                wanted = Maintenance(
                    epoch=1 if found is None else found.epoch + 1,
                    state=form.Standing.ENTERED,
                    what=what[: form.MAX_REASON],
                    by=actor,
                    node=ports.node_id,
                    since=format_utc(ports.clock.now()),
                    within_s=within_s,
                    without=tuple(dict.fromkeys(without)),
                )
            if wanted != found:
                ports.event_log.append([self._entered(actor, wanted)])
                ports.coordinator.put({self._place.entry: Change(wanted.serialize(), version)})
        return wanted

    def leave(self, actor: str) -> Maintenance | None:
        """End the maintenance: every node serves again within seconds.

        Returns:
            The maintenance that ended; None if there was none.
        """
        ports = self._ports
        with ports.coordinator.lock(LOCK, wait_s=_LOCK_WAIT_S):
            found, version = self._read()
            if found is None or not found.is_on:
                return None
            ports.event_log.append([self._left(actor, found)])
            left = found._replace(
                state=form.Standing.LEFT,
                by=actor,
                node=ports.node_id,
                since=format_utc(ports.clock.now()),
                without=(),
            )
            self._put_left(Change(left.serialize(), version))
        return found

    def _put_left(self, left: Change) -> None:
        """End the maintenance with all words on it; a node that says its word in this moment makes a further attempt."""
        for others in reversed(range(_ATTEMPTS)):
            words = self._ports.coordinator.list(self._place.words)
            # nothing of this maintenance is said in the next one
            gone = {name: Change(None, one.version) for name, one in words.items()}
            try:
                self._ports.coordinator.put({self._place.entry: left, **gone})
            except ConflictError:
                if not others:
                    raise
            else:
                return

    def standing(self, of: Maintenance) -> tuple[NodeStanding, ...]:
        """The nodes in a maintenance: those of the registry that are expected to serve; none that was taken out.

        Raises:
            CoordinationError: The coordination service cannot be asked.
        """
        boots = self._ports.boots()
        if boots is None:
            return (self._alone(of),)
        working = set(self._ports.coordinator.members(Group.WORKERS))
        known = self._ports.peers.all()
        words = self._ports.coordinator.list(self._place.words)
        found = []
        for node_id in self._expected():
            entry = words.get(self._place.word(node_id))
            word = None
            if entry is not None and node_id in known:
                word = self._word(entry.value, node_id, known[node_id].keys.signing)
            is_said = word is not None and (word.epoch, word.boot) == (of.epoch, boots.get(node_id))
            state = NodeState.DARK
            if node_id in boots or node_id in working:
                state = NodeState.DRAINED if is_said else NodeState.DRAINING
            found.append(_standing(node_id, state, word, of))
        return tuple(found)

    def _alone(self, of: Maintenance) -> NodeStanding:
        node_id = self._ports.node_id
        entry = self._ports.coordinator.get(self._place.word(node_id))
        word = None if entry is None else self._word(entry.value, node_id, None)
        if not self._ports.is_served():
            # there is one node, on this machine: nothing serves it, as the kernel knows; a command may work on its jobs
            state = NodeState.DRAINING if self._ports.works() else NodeState.DRAINED
            return NodeStanding(node_id, state)
        is_said = word is not None and word.epoch == of.epoch
        state = NodeState.DRAINED if is_said else NodeState.DRAINING
        return _standing(node_id, state, word, of)

    # ---- by a node -------------------------------------------------------------------------------

    def say_drained(self, of: Maintenance, cut: int) -> None:
        """Say for this process that it has drained; nothing if it has said so.

        Args:
            of: The maintenance.
            cut: How many requests were cut off.

        Raises:
            StrongroomError: The word cannot be put; the maintenance may be over.
        """
        ports = self._ports
        name, keys = self._place.word(ports.node_id), ports.keys()
        entry = ports.coordinator.get(name)
        known = None
        if entry is not None:
            public = None if keys is None else keys.public.signing
            known = self._word(entry.value, ports.node_id, public)
        if known is not None and (known.epoch, known.boot) == (of.epoch, ports.boot_id):
            return
        word = Drained(of.epoch, ports.boot_id, cut, format_utc(ports.clock.now()))
        ports.event_log.append([node_events.node_drained(ports.node_id, of.epoch, cut=cut)])
        signed = word.signed(
            ports.installation_id(), ports.node_id, None if keys is None else keys.signing
        )
        ports.coordinator.put({name: Change(signed, 0 if entry is None else entry.version)})

    # ---- within ----------------------------------------------------------------------------------

    def _entered(self, actor: str, wanted: Maintenance) -> Event:
        if node_id := self._place.node_id:
            return node_events.node_draining(actor, node_id, wanted.epoch, what=wanted.what)
        without = " ".join(wanted.without)
        return node_events.maintenance_entered(
            actor, wanted.epoch, what=wanted.what, without=without
        )

    def _left(self, actor: str, found: Maintenance) -> Event:
        if node_id := self._place.node_id:
            return node_events.node_undrained(actor, node_id, found.epoch)
        return node_events.maintenance_left(actor, found.epoch)

    def _expected(self) -> tuple[str, ...]:
        """The nodes that serve, or may; without one that is being brought in, which serves nobody as yet."""
        return tuple(
            one.node_id
            for one in self._ports.peers.all().values()
            if not one.state.is_gone
            and one.state.value != "joining"
            and self._place.node_id in {"", one.node_id}
        )

    def _check_known(self) -> None:
        node_id, boots = self._place.node_id, self._ports.boots()
        known = (self._ports.node_id,) if boots is None else self._expected()
        if node_id and node_id not in known:
            raise NotFoundError(
                f"there is no node {node_id[:80]!r} that serves",
                hint="'tsm topology list-nodes' shows them",
            )

    def _check_away(self, names: Collection[str]) -> None:
        boots = self._ports.boots()
        known = (self._ports.node_id,) if boots is None else self._expected()
        for name in names:
            if name not in known:
                raise NotFoundError(
                    f"there is no node {name[:80]!r}", hint="'tsm topology list-nodes' shows them"
                )
            if boots and name in boots:
                raise StateError(
                    f"{name} is alive, and says itself when it has drained",
                    hint=f"leave out --without-node {name}",
                )

    def _word(self, data: bytes, node_id: str, public: bytes | None) -> Drained | None:
        try:
            return form.parse_drained(data, self._ports.installation_id(), node_id, public)
        except StrongroomError:
            # each node has the key of the entries' MACs: what a node did not sign, it did not say
            return None

    def _read(self) -> tuple[Maintenance | None, int]:
        found = self._ports.coordinator.get(self._place.entry)
        return (None, 0) if found is None else (form.parse(found.value), found.version)


class OutOfService:
    """All that takes one node out of service: the maintenance of all nodes, or a drain of this one."""

    def __init__(self, *services: MaintenanceService) -> None:
        """Take them, the one that counts first."""
        self._services = services
        what = "whether this node is out of service"
        self._seen = [LastAnswer(one.seen, None, _log, what) for one in services]

    def seen(self) -> Maintenance | None:
        """The first that goes on, by what is known here; None if the node is in service.

        An entry that cannot be read may say anything: the answer of before stays, and each cause is logged once.
        """
        return next((found for seen in self._seen if (found := seen())), None)

    def asked(self) -> Maintenance | None:
        """The same, asked anew, for a process that is about to begin: what is known here may be some seconds old."""
        for one, seen in zip(self._services, self._seen, strict=True):
            try:
                found = one.present()
            except StrongroomError:
                found = seen()
            if found is not None:
                return found
        return None

    def say_drained(self, of: Maintenance, cut: int) -> None:
        """Say for this process that it has drained, in the place of what goes on; as `MaintenanceService.say_drained`.

        Raises:
            StateError: The maintenance or drain that was read does not go on any more.
        """
        places = []
        for one, seen in zip(self._services, self._seen, strict=True):
            found = seen()
            if found is not None and found.is_same(of):
                places.append(one)
        if not places:
            raise StateError(
                "the maintenance of before is over", hint="the next look tells what goes on"
            )
        for one in places:
            one.say_drained(of, cut)

    def check_may_work(self) -> None:
        """Refuse work on jobs on this node.

        Raises:
            StateError: The node is out of service.
        """
        for one in self._services:
            one.check_may_work()


def _standing(
    node_id: str, state: NodeState, word: Drained | None, of: Maintenance
) -> NodeStanding:
    is_excused = node_id in of.without
    if word is None or state is not NodeState.DRAINED:
        return NodeStanding(node_id, state, is_excused=is_excused)
    return NodeStanding(node_id, state, word.at, word.cut, is_excused)
