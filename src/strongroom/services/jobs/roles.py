"""The nodes that work on jobs: the role of each (E-16), in one entry of the coordination service (format/nodes.md 6)."""

from collections.abc import Callable, Collection, Mapping
from enum import StrEnum
from typing import Final

from strongroom.canonical import ASCII, Kind
from strongroom.coordination.base import Change, Coordinator
from strongroom.errors import CoordinationError, FormatError, NotFoundError
from strongroom.eventlog.base import EventLog
from strongroom.eventlog.events import node_events

ENTRY: Final = "topology/roles"
LOCK: Final = "topology"
_LOCK_WAIT_S: Final = 5.0
_STALE_S: Final = 20.0
"""The age at which what is known of the entry is asked for anew."""
_VERSION: Final = 1
_KIND: Final = Kind("the entry of roles", ASCII, 16 << 10)


class NodeRole(StrEnum):
    """The sorts of jobs that a node's backgrounder works on; the words are those of `tsm topology set-node-role`."""

    #: Everything, which is the role of a node of which nothing is said.
    ALL = "all-jobs"
    #: Jobs on extracts, as the others here: there are no jobs of another sort.
    EXTRACTS = "extract-refreshes"
    #: No jobs on extracts, and so none.
    NO_EXTRACTS = "no-extract-refreshes"

    @property
    def is_usual(self) -> bool:
        """Whether the role is that of a node of which nothing is said."""
        return self is NodeRole.ALL

    @property
    def works_on_extracts(self) -> bool:
        """Whether the node takes jobs that encrypt, decrypt and rewrap."""
        return self is not NodeRole.NO_EXTRACTS


class JobRoles:
    """The roles of the nodes, as one of them sees them."""

    def __init__(
        self,
        coordinator: Coordinator,
        event_log: EventLog,
        node_id: str,
        nodes: Callable[[], Collection[str]],
    ) -> None:
        """Take the stores.

        Args:
            coordinator: The coordination service.
            event_log: Gets the events.
            node_id: This node.
            nodes: Returns the ids of the installation's nodes.
        """
        self._coordinator = coordinator
        self._event_log = event_log
        self._node_id = node_id
        self._nodes = nodes
        self._seen: tuple[int, bool] = (-1, True)

    def all(self) -> Mapping[str, NodeRole]:
        """The role of each node.

        Raises:
            FormatError: The entry is damaged, or of a version that is not known here.
            CoordinationError: The coordination service cannot be asked.
        """
        set_ = self._read()[0]
        return {node: set_.get(node, NodeRole.ALL) for node in self._nodes()}

    def may_work(self) -> bool:
        """Whether this node works on jobs; cheap, and what it was before while the coordination service is away."""
        try:
            version = self._coordinator.recent_version(ENTRY, _STALE_S)
            if version != self._seen[0]:
                set_, version = self._read()
                role = set_.get(self._node_id, NodeRole.ALL)
                self._seen = (version, role.works_on_extracts)
        except CoordinationError:
            pass
        return self._seen[1]

    def set(self, actor: str, node_id: str, role: NodeRole) -> None:
        """Give a node a role; its backgrounder follows within seconds.

        Args:
            actor: The person who asks, for the event.
            node_id: The node.
            role: The role.

        Raises:
            NotFoundError: There is no node of that id.
        """
        if node_id not in self._nodes():
            raise NotFoundError(
                f"there is no node {node_id[:80]!r}", hint="'tsm topology list-nodes' shows them"
            )
        with self._coordinator.lock(LOCK, wait_s=_LOCK_WAIT_S):
            set_, version = self._read()
            if set_.get(node_id, NodeRole.ALL) is role:
                return
            wanted = {name: str(one) for name, one in {**set_, node_id: role}.items()}
            self._event_log.append([node_events.node_role_set(actor, node_id, role)])
            value = _KIND.dumps({"roles": wanted, "v": _VERSION})
            self._coordinator.put({ENTRY: Change(value, version)})

    def _read(self) -> tuple[Mapping[str, NodeRole], int]:
        found = self._coordinator.get(ENTRY)
        return ({}, 0) if found is None else (parse(found.value), found.version)


def parse(data: bytes) -> Mapping[str, NodeRole]:
    """The roles that were set, by node.

    Raises:
        FormatError: The entry is damaged, or of a version that is not known here.
    """
    fields = _KIND.loads(data)
    fields.check_version("v", _VERSION)
    fields.check_names(("roles", "v"))
    try:
        return {node: NodeRole(role) for node, role in fields.text_map("roles").items()}
    except ValueError:
        raise FormatError("the entry of roles names a role that is not known here") from None
