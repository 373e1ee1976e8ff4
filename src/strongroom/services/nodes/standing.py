"""Judges how the services of a cluster stand, by what they themselves said just now; pure.

Three degrees, which the exit codes tell: all is well; the services serve this node, and something is not as it should be;
a service does not serve this node. What could not be asked is unknown, and never what it was before.
"""

from typing import Final, NamedTuple

from strongroom.coordination.zookeeper.looking import ServerState, SessionState
from strongroom.errors import CoordinationError, StorageError
from strongroom.objectstore.looking import StoreState
from strongroom.repository.looking import DatabaseState

SKEW_S: Final = 300.0
"""The difference of clocks from which on times of one machine mean nothing on another."""
_DEGRADED: Final = 1


class NodeSeen(NamedTuple):
    """A node of the installation.

    Attributes:
        id: The node's id.
        is_serving: Whether a server serves the node; None if that is not known here: this node knows of itself, and of
            others that announce themselves at ZooKeeper.
    """

    id: str
    is_serving: bool | None


class Own(NamedTuple):
    """The values that this node reads by its services, and proves.

    Attributes:
        configuration: The version of the configuration; None if it could not be read.
        nodes: The nodes of the installation; None if they could not be listed.
        faults: Sentences on how the state contradicts its anchors.
        problem: The reason for which something could not be read; empty if all could.
    """

    configuration: int | None = None
    nodes: tuple[NodeSeen, ...] | None = None
    faults: tuple[str, ...] = ()
    problem: str = ""


class Problem(NamedTuple):
    """Something that is not as it should be.

    Attributes:
        where: The service, server or node.
        words: The problem.
    """

    where: str
    words: str


class Standing(NamedTuple):
    """How the services of a node stand.

    Attributes:
        servers: The servers of ZooKeeper.
        session: A session with them.
        database: The database of PostgreSQL.
        anchor: The number of the newest anchor that the database knows; None if it is not known now.
        own: The values that the node reads by both.
        stores: The object stores with the extracts; none if they lie on the disks of the nodes; None if that is not
            known now.
    """

    servers: tuple[ServerState, ...]
    session: SessionState
    database: DatabaseState
    anchor: int | None
    own: Own
    stores: tuple[StoreState, ...] | None = None

    @property
    def has_quorum(self) -> bool:
        """Whether most of the servers serve, by the session that came about or by their own words."""
        serving = sum(one.role is not None for one in self.servers)
        return self.is_connected or 2 * serving > len(self.servers)

    @property
    def is_connected(self) -> bool:
        """Whether ZooKeeper serves this node."""
        return self.session.id is not None

    @property
    def is_stored(self) -> bool:
        """Whether PostgreSQL serves this node."""
        return not self.database.problem

    @property
    def is_filed(self) -> bool:
        """Whether the object stores with the extracts serve this node, as far as they are known."""
        return not any(one.problem for one in self.stores or ())

    @property
    def problems(self) -> tuple[Problem, ...]:
        """All that is not as it should be."""
        found = [Problem(f"zookeeper {one.server}", one.problem) for one in self.servers]
        found += [
            Problem("zookeeper", self.session.problem),
            Problem("postgres", self.database.problem),
            Problem("postgres", self._skew()),
            *(Problem(f"object store {one.address}", one.problem) for one in self.stores or ()),
            Problem("node", self.own.problem),
            *(Problem("node", words) for words in self.own.faults),
        ]
        return tuple(one for one in found if one.words)

    @property
    def exit_code(self) -> int:
        """0 if all is well, 40 or 41 if a service does not serve this node, else 1."""
        if not self.is_connected:
            return CoordinationError.exit_code
        if not self.is_stored or not self.is_filed:
            return StorageError.exit_code
        return _DEGRADED if self.problems else 0

    def _skew(self) -> str:
        seconds = self.database.skew_s or 0.0
        if abs(seconds) <= SKEW_S:
            return ""
        return f"its clock differs from this machine's by {abs(seconds):.1f} s"
