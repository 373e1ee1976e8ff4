"""The nodes that work on jobs: the role of each (E-16), in one entry of the coordination service (format/nodes.md 6)."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Final

from strongroom.canonical import ASCII, Kind
from strongroom.errors import FormatError
from strongroom.eventlog.events import node_events
from strongroom.services.jobs.per_node import Form, NodeView, PerNode

ENTRY: Final = "topology/roles"
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

    def __init__(self, view: NodeView) -> None:
        self._said = PerNode(view, Form(ENTRY, NodeRole.ALL, parse, _serialize))

    def all(self) -> Mapping[str, NodeRole]:
        """The role of each node.

        Raises:
            FormatError: The entry is damaged, or of a version that is not known here.
            CoordinationError: The coordination service cannot be asked.
        """
        return self._said.all()

    def may_work(self) -> bool:
        """Whether this node works on jobs; cheap, and what it was before while the coordination service is away."""
        return self._said.own().works_on_extracts

    def set(self, actor: str, node_id: str, role: NodeRole) -> None:
        """Give a node a role; its backgrounder follows within seconds.

        Args:
            actor: The person who asks, for the event.
            node_id: The node.
            role: The role.

        Raises:
            NotFoundError: There is no node of that id.
        """
        self._said.change(
            node_id,
            lambda _: role,
            lambda wanted: node_events.node_role_set(actor, node_id, wanted),
        )


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


def _serialize(said: Mapping[str, NodeRole]) -> bytes:
    return _KIND.dumps({"roles": {name: str(one) for name, one in said.items()}, "v": _VERSION})
