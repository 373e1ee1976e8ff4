"""Waits for the words of the other nodes on a change of keys: each signed by its node, on just this change (key-changes.md 2)."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Final, NamedTuple

from strongroom.clock import Clock
from strongroom.coordination.base import Change, Coordinator
from strongroom.coordination.floors import Point
from strongroom.crypto.secret import SecretBytes
from strongroom.errors import NodesError, StrongroomError
from strongroom.eventlog.base import EventLog
from strongroom.joining import acknowledgements
from strongroom.services.keys.peers import Peers

if TYPE_CHECKING:
    from strongroom.joining.registry import RegisteredNode

WAIT_S: Final = 30.0
_LOOK_S: Final = 0.1
_wait_s: ContextVar[float] = ContextVar("wait_s", default=WAIT_S)


@contextmanager
def waiting(wait_s: float) -> Iterator[None]:
    """Have changes within the block wait for so many seconds for the other nodes."""
    token = _wait_s.set(wait_s)
    try:
        yield
    finally:
        _wait_s.reset(token)


class SpreadPorts(NamedTuple):
    """The ports by which a change is spread.

    Attributes:
        coordinator: The coordination service of the cluster.
        peers: The registry.
        event_log: The log of this node.
        clock: Gives the present.
        open_key: Opens a configuration key by its id.
        boots: Returns the id of the process that is alive for each node, by node.
        monotonic: Seconds of a clock that never goes back.
        pause: Waits for some seconds.
    """

    coordinator: Coordinator
    peers: Peers
    event_log: EventLog
    clock: Clock
    open_key: Callable[[str], SecretBytes]
    boots: Callable[[], Mapping[str, str]]
    monotonic: Callable[[], float]
    pause: Callable[[float], None]


class Expected(NamedTuple):
    """The change on which nodes are to say their word.

    Attributes:
        installation_id: The installation.
        change_id: The change.
        present: The KMS store that is in force.
        staged: SHA-256 of the bytes that each node is to try, in hexadecimal digits, by node.
        prefix: The beginning of the names of the words.
    """

    installation_id: str
    change_id: str
    present: Point
    staged: Mapping[str, str]
    prefix: str = acknowledgements.PREFIX


class Taken(NamedTuple):
    """The words of all nodes, each of which can follow.

    Attributes:
        removals: The removal of each.
        boots: The process that said it, by node.
    """

    removals: dict[str, Change]
    boots: dict[str, str]


class Words:
    """The words of other nodes."""

    def __init__(self, ports: SpreadPorts) -> None:
        self._ports = ports
        self._coordinator = ports.coordinator

    def check_alive(self, nodes: "Sequence[RegisteredNode]", hint: str) -> None:
        """Refuse at once what would wait in vain.

        Args:
            nodes: The nodes that are to say their word.
            hint: The way out for one that is not alive.

        Raises:
            NodesError: A node is not alive.
        """
        alive = {*self._coordinator.members()}
        gone = [one.node_id for one in nodes if one.node_id not in alive]
        if gone:
            options = " ".join(f"--without-node {one}" for one in gone)
            raise NodesError(
                f"{' and '.join(gone)} cannot be asked whether the new keys open there: not alive;"
                " nothing was changed",
                hint=f"{hint}: {options}",
            )

    def wait(self, expected: Expected, nodes: "Sequence[RegisteredNode]", what: str) -> Taken:
        """The words of the nodes, when all have said that they can follow.

        Args:
            expected: The change.
            nodes: The nodes.
            what: The beginning of the sentence if one cannot.

        Raises:
            NodesError: A node said that it cannot follow, or said nothing.
        """
        limit = _wait_s.get()
        until = self._ports.monotonic() + limit
        found, causes = Taken({}, {}), dict[str, str]()
        silent = {one.node_id: one for one in nodes}
        while silent and self._ports.monotonic() < until:
            for name, one in list(silent.items()):
                word = self._word(expected, one)
                if word is not None:
                    del silent[name]
                    causes[name], version, found.boots[name] = word
                    entry = acknowledgements.entry(expected.change_id, name, expected.prefix)
                    found.removals[entry] = Change(None, version)
            if silent:
                self._ports.pause(_LOOK_S)
        causes |= dict.fromkeys(silent, f"it did not answer within {limit:g} s")
        if any(causes.values()):
            told = "; ".join(f"{name}: {why}" for name, why in sorted(causes.items()) if why)
            raise NodesError(
                f"{what}. {told}",
                hint="see to that node, then run the command again; one that is not alive can be left behind with"
                " --without-node",
            )
        return found

    def check_same_processes(self, boots: Mapping[str, str]) -> None:
        """Refuse words of processes that are not there any more: what they opened, another one has not (key-changes.md 2.5).

        Raises:
            NodesError: A node was started anew, or is not alive any more.
        """
        alive = self._ports.boots()
        anew = [node for node, boot in sorted(boots.items()) if alive.get(node) != boot]
        if anew:
            raise NodesError(
                f"{' and '.join(anew)} is no longer the process that opened the new keys; nothing was changed",
                hint="run the command again",
            )

    def _word(self, expected: Expected, node: "RegisteredNode") -> tuple[str, int, str] | None:
        """Why a node cannot follow, empty if it can, the version of its word, and the process that said it.

        None if it has said nothing as yet.
        """
        name = acknowledgements.entry(expected.change_id, node.node_id, expected.prefix)
        entry = self._coordinator.get(name) if self._coordinator.version(name) else None
        if entry is None:
            return None
        try:
            word = acknowledgements.parse(
                entry.value, expected.installation_id, node.node_id, node.keys.signing
            )
        except StrongroomError as error:
            return f"its answer is not believed: {error.message}", entry.version, ""
        wanted = (expected.change_id, expected.staged[node.node_id], expected.present)
        if word[:3] != wanted:
            return "its answer is not believed: it is one to another change", entry.version, ""
        return word.cause, entry.version, word.boot
