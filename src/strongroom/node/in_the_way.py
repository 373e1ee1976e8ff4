"""Names whoever is in the way of a command that wants every node off, and the commands by which each is out of it."""

from collections.abc import Sequence
from contextlib import suppress
from typing import NamedTuple

from strongroom.coordination.base import Group
from strongroom.errors import ConflictError, CoordinationError, StateError
from strongroom.node.opening import Node
from strongroom.runtime import running


class InTheWay(NamedTuple):
    """All that is in the way of a command.

    Attributes:
        own: The sentence on this node itself; empty if it is not in the way.
        is_served: Whether this node is served; else a command works on its jobs, if it is in the way.
        here: The id of this node; empty where it is a single one.
        served: The ids of the other nodes that are served.
        working: The ids of other nodes that are not served, and on which a command works on jobs.
    """

    own: str = ""
    is_served: bool = False
    here: str = ""
    served: Sequence[str] = ()
    working: Sequence[str] = ()

    def refusal(self, command: str, why: str) -> StateError:
        """The error: it names everybody, and the hint says what to do on each node.

        Args:
            command: The word for the command, as the reason of the maintenance before it.
            why: The reason for which all must be off, behind the words of who is not.
        """
        served = [self.own] if self.own else []
        if self.served:
            served.append(f"{_listed(self.served)} {_verb(self.served, 'is', 'are')} served")
        if self.working:
            served.append(f"{_listed(self.working)} {_verb(self.working, 'works', 'work')} on jobs")
        return StateError(f"{'; '.join(served)}: {why}", hint="; ".join(self._steps(command)))

    def _steps(self, command: str) -> list[str]:
        steps = list[str]()
        to_stop = [*([self.here] if self.is_served and self.here else []), *self.served]
        if self.is_served or self.served:
            steps.append(f"so that nothing is cut off: tsm maintenance enter --reason {command}")
            where = ", each on its own machine" if to_stop[1:] else ""
            places = f" on {_listed(to_stop)}{where}" if to_stop else ""
            steps.append(f"then tsm stop{places}")
        works_here = [self.here or "this node"] if self.own and not self.is_served else []
        if waited_for := [*works_here, *self.working]:
            steps.append(f"wait for the command that works on jobs on {_listed(waited_for)}")
        return [*steps, "then run this command again"]


def find(node: Node, own: ConflictError | None = None, *, looks_here: bool = False) -> InTheWay:
    """The nodes that are in the way now, and what each does.

    Args:
        node: The node.
        own: The error of whoever holds this node; None if nobody does.
        looks_here: Whether to look at this node as well, which the caller does not hold as yet.

    Raises:
        CoordinationError: The coordination service cannot be asked, and this node itself is not in the way.
    """
    found = InTheWay()
    if own is not None:
        found = InTheWay(own.message, running.find(node.paths) is not None)
    elif looks_here and running.find(node.paths) is not None:
        found = InTheWay(f"the node {node.paths.root} is served", is_served=True)
    if node.outside is None:
        return found
    found = found._replace(here=node.paths.node_id)
    if own is None:
        return _with_others(node, found)
    with suppress(CoordinationError):
        return _with_others(node, found)
    return found


def _with_others(node: Node, found: InTheWay) -> InTheWay:
    others = {
        group: {*node.coordinator.members(group)} - {node.paths.node_id}
        for group in (Group.NODES, Group.WORKERS)
    }
    working = others[Group.WORKERS] - others[Group.NODES]
    return found._replace(served=sorted(others[Group.NODES]), working=sorted(working))


def _listed(names: Sequence[str]) -> str:
    *first, last = names
    return f"{', '.join(first)} and {last}" if first else last


def _verb(names: Sequence[str], one: str, several: str) -> str:
    return one if len(names) == 1 else several
