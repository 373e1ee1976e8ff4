"""The processes that each node runs (b9), in one entry of the coordination service (format/nodes.md 7)."""

from collections.abc import Callable, Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Final, NamedTuple

from strongroom.canonical import ASCII, Fields, Kind
from strongroom.errors import FormatError, UsageError
from strongroom.eventlog.events import node_events
from strongroom.services.jobs.per_node import Form, NodeView, PerNode

ENTRY: Final = "topology/processes"
_VERSION: Final = 1
_KIND: Final = Kind("the entry of processes", ASCII, 16 << 10)


class Process(StrEnum):
    """The processes that a node may run or not; the words are those of `tsm topology set-process`."""

    #: Serves the clients of the interfaces.
    WEB = "web"
    #: Works on jobs.
    BACKGROUNDER = "backgrounder"


MOST: Final[Mapping[Process, int]] = MappingProxyType({Process.WEB: 1, Process.BACKGROUNDER: 8})
"""The most processes of a kind on one node (ADR 61)."""
NAMES: Final[Mapping[str, Process]] = MappingProxyType(
    {**{str(one): one for one in Process}, "vizportal": Process.WEB}
)
"""The processes by every name that they have; the web service keeps its log and its keystore as `vizportal`."""
SEVERAL: Final = "backgrounders-8"
"""The entry with more than one backgrounder of a node, among the formats of an installation (format/nodes.md 8)."""
_EVERYWHERE: Final = frozenset({"agent", "controller", "tabadminagent", "tabadmincontroller"})


class Counts(NamedTuple):
    """The number of processes of each kind; the usual ones are those of a node of which nothing is said."""

    web: int = 1
    backgrounder: int = 1

    def of(self, process: Process) -> int:
        """The number of one kind."""
        return self.web if process is Process.WEB else self.backgrounder

    def with_count(self, process: Process, count: int) -> "Counts":
        """The same with another number of one kind."""
        return self._replace(**{str(process): count})


class NodeProcesses:
    """The processes of the nodes, as one of them sees them."""

    def __init__(self, view: NodeView, check_several: Callable[[], None] = lambda: None) -> None:
        """Take the view.

        Args:
            view: The place from which the nodes are seen.
            check_several: Raises `StateError` while a node does not know the entry with several backgrounders.
        """
        self._check_several = check_several
        self._said = PerNode(view, Form(ENTRY, Counts(), parse, _serialize))

    def all(self) -> Mapping[str, Counts]:
        """The processes of each node.

        Raises:
            FormatError: The entry is damaged, or of a version that is not known here.
            CoordinationError: The coordination service cannot be asked.
        """
        return self._said.all()

    def own(self) -> Counts:
        """The processes of this node; cheap, and what they were before while the coordination service is away."""
        return self._said.own()

    def is_last(self, node_id: str, process: Process) -> bool:
        """Whether only this node, of all, has a process of that kind.

        Raises:
            NotFoundError: There is no node of that id.
            CoordinationError: The coordination service cannot be asked.
        """
        self._said.check_known(node_id)
        return {name for name, one in self.all().items() if one.of(process)} == {node_id}

    def set(self, actor: str, node_id: str, process: Process, count: int) -> None:
        """Have a node run so many processes of a kind; it follows within seconds, or at its next start.

        Args:
            actor: The person who asks, for the event.
            node_id: The node.
            process: The kind.
            count: The number, 0 for none.

        Raises:
            UsageError: A node cannot run so many.
            NotFoundError: There is no node of that id.
            StateError: A node of an older release would refuse the whole entry, and its jobs would stop.
        """
        check_count(process, count)
        self._said.check_known(node_id)
        if count > 1:
            self._check_several()
        self._said.change(
            node_id,
            lambda before: before.with_count(process, count),
            lambda _: node_events.node_processes_set(actor, node_id, process, count),
        )


def named(word: str) -> Process:
    """The process of a name.

    Raises:
        UsageError: No process has that name, or one that every node runs.
    """
    if word in _EVERYWHERE:
        raise UsageError(
            f"{word} runs on every node, and is part of the node's own process",
            hint=f"the topology has a say in: {', '.join(Process)}",
        )
    if word not in NAMES:
        raise UsageError(
            f"{word[:80]!r} is no process of a node", hint=f"one of: {', '.join(Process)}"
        )
    return NAMES[word]


def check_count(process: Process, count: int) -> None:
    """Refuse a number of processes that no node can run.

    Raises:
        UsageError: The number is negative, or too high.
    """
    most = MOST[process]
    if not 0 <= count <= most:
        more = (
            "how many extracts it works on at once is the setting backgrounder.extracts.concurrency"
            if process is Process.BACKGROUNDER
            else "a load balancer spreads requests over the nodes"
        )
        raise UsageError(f"a node runs 0 to {most} of {process}, not {count}", hint=more)


def parse(data: bytes) -> Mapping[str, Counts]:
    """The processes that were set, by node.

    Raises:
        FormatError: The entry is damaged, or of a version that is not known here.
    """
    fields = _KIND.loads(data)
    fields.check_version("v", _VERSION)
    fields.check_names(("processes", "v"))
    return {node: _counts(one, node) for node, one in fields.object_map("processes").items()}


def _counts(found: Fields, node: str) -> Counts:
    found.check_names(Counts._fields)
    counts = Counts(*(found.number(name) for name in Counts._fields))
    if any(counts.of(process) > most for process, most in MOST.items()):
        raise FormatError(f"the entry of processes has more for {node!r} than a node can run")
    return counts


def _serialize(said: Mapping[str, Counts]) -> bytes:
    return _KIND.dumps(
        {"processes": {name: one._asdict() for name, one in said.items()}, "v": _VERSION}
    )
