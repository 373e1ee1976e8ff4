"""The words of an administrator on each node, in one entry of the coordination service; a node without any is a usual one."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

from strongroom.coordination.base import Change, Coordinator
from strongroom.errors import CoordinationError, NotFoundError
from strongroom.eventlog.base import Event, EventLog

LOCK: Final = "topology"
_LOCK_WAIT_S: Final = 5.0
_STALE_S: Final = 20.0
"""The age at which what is known of the entry is asked for anew."""
Said = TypeVar("Said")


@dataclass(frozen=True)
class Form(Generic[Said]):
    """The form of an entry.

    Attributes:
        entry: The name of the entry.
        usual: The value of a node of which nothing is said.
        parse: Returns the values in the bytes of an entry, by node; raises `FormatError`.
        serialize: Returns the bytes.
    """

    entry: str
    usual: Said
    parse: Callable[[bytes], Mapping[str, Said]]
    serialize: Callable[[Mapping[str, Said]], bytes]


@dataclass(frozen=True)
class NodeView:
    """The place from which the nodes are seen.

    Attributes:
        coordinator: The coordination service.
        event_log: Gets the events.
        node_id: This node.
        nodes: Returns the ids of the installation's nodes.
    """

    coordinator: Coordinator
    event_log: EventLog
    node_id: str
    nodes: Callable[[], Collection[str]]


class PerNode(Generic[Said]):
    """An entry, as one of the nodes sees it."""

    def __init__(self, view: NodeView, form: Form[Said]) -> None:
        self._view = view
        self._form = form
        self._seen: tuple[int, Said] = (-1, form.usual)

    def all(self) -> Mapping[str, Said]:
        """The value of each node.

        Raises:
            FormatError: The entry is damaged, or of a version that is not known here.
            CoordinationError: The coordination service cannot be asked.
        """
        said = self._read()[0]
        return {node: said.get(node, self._form.usual) for node in self._view.nodes()}

    def own(self) -> Said:
        """The value of this node; cheap, and as it was before while the coordination service is away."""
        try:
            version = self._view.coordinator.recent_version(self._form.entry, _STALE_S)
            if version != self._seen[0]:
                said, version = self._read()
                self._seen = (version, said.get(self._view.node_id, self._form.usual))
        except CoordinationError:
            pass
        return self._seen[1]

    def change(
        self, node_id: str, change: Callable[[Said], Said], event: Callable[[Said], Event]
    ) -> None:
        """Give a node another value.

        Args:
            node_id: The node.
            change: Returns the new value, by the present one.
            event: Returns the event that is left before, by the new value; called if that differs.

        Raises:
            NotFoundError: There is no node of that id.
        """
        self.check_known(node_id)
        view = self._view
        with view.coordinator.lock(LOCK, wait_s=_LOCK_WAIT_S):
            said, version = self._read()
            before = said.get(node_id, self._form.usual)
            wanted = change(before)
            if wanted == before:
                return
            view.event_log.append([event(wanted)])
            value = self._form.serialize({**said, node_id: wanted})
            view.coordinator.put({self._form.entry: Change(value, version)})

    def check_known(self, node_id: str) -> None:
        """Refuse an id that no node has.

        Raises:
            NotFoundError: There is no node of that id.
        """
        if node_id not in self._view.nodes():
            raise NotFoundError(
                f"there is no node {node_id[:80]!r}", hint="'tsm topology list-nodes' shows them"
            )

    def _read(self) -> tuple[Mapping[str, Said], int]:
        found = self._view.coordinator.get(self._form.entry)
        return ({}, 0) if found is None else (self._form.parse(found.value), found.version)
