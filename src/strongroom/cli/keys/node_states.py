"""The states of a cluster's nodes, as commands show them, and how a reader comes by them."""

from typing import TYPE_CHECKING, Any, NamedTuple

from strongroom.cli.terminal.session import Session
from strongroom.errors import CoordinationError, StrongroomError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator, Mapping, Sequence

    from strongroom.services.nodes.judging import Judged


def add_option(parser: "argparse.ArgumentParser") -> None:
    """Add the option that asks no other node."""
    parser.add_argument(
        "--local-only",
        action="store_true",
        help="of this node alone, in a cluster, too: no other is asked, and none is waited for",
    )


class Asked(NamedTuple):
    """The nodes of a cluster, as they are now.

    Attributes:
        nodes: Each node; none of a single node, or if only this one is wanted.
        problem: Why nothing is known of the others, in words; empty if they are known, or there are none.
    """

    nodes: "tuple[Judged, ...]" = ()
    problem: str = ""

    @property
    def problems(self) -> list[str]:
        """A sentence on each node that is not as it should be."""
        return [*_bad(self.nodes), *([self.problem] if self.problem else [])]


def ask(arguments: "argparse.Namespace", session: Session) -> Asked:
    """Ask every node of the cluster.

    Raises:
        CoordinationError: ZooKeeper does not answer: nothing is known of any node now.
    """
    if arguments.local_only or not session.node.paths.services.exists():
        return Asked()
    from strongroom.node import cluster_nodes

    try:
        nodes = cluster_nodes.ask(session.whole_node)
    except CoordinationError:
        raise
    except StrongroomError as error:
        # the keys of this node do not open what the others are compared with, which its own status tells
        return Asked(problem=f"the nodes are not known: {error.message}")
    if not nodes:
        return Asked(
            problem="no node is registered: the next start of the server registers this one"
        )
    return Asked(nodes)


def as_json(one: "Judged") -> dict[str, object]:
    """The members of a node that scripts read."""
    return {
        "id": one.node_id,
        "state": one.state.value,
        "checked_at": one.checked_at or None,
        "identity": one.identity or None,
        "epoch": one.epoch,
        "cause": one.cause or None,
    }


def of_one(node_id: str, status: "Mapping[str, Any]") -> dict[str, object]:
    """The same of a node that was not asked as one of a cluster, by its own status of the keys."""
    identities = [one["identity"] for one in status["roots"] if one["role"] == "mode"]
    return {
        "id": node_id,
        "state": status["status"],
        "checked_at": status["proved_at"] or None,
        "identity": next(iter(identities), "") or None,
        "epoch": status["epoch"],
        "cause": next(iter(status["problems"]), None),
    }


def with_nodes(text: str, own_problems: int, asked: Asked, *, is_brief: bool) -> str:
    """The text of the status of the keys, with all nodes in it.

    Args:
        text: The text of one node: its state in the first line, then a line for each of its problems.
        own_problems: How many of those there are.
        asked: The nodes; without any, the text stays as it is.
        is_brief: Whether the nodes are to be told in one line.
    """
    nodes, bad = asked.nodes, asked.problems
    if not nodes and not bad:
        return text
    first, *rest = text.splitlines()
    lines = ["Status: ERROR" if bad else first, *rest[:own_problems]]
    lines += [f"Problem: {words}" for words in bad]
    lines += rest[own_problems:]
    if is_brief:
        words = ", ".join(f"{one.node_id} {one.state.value}" for one in nodes)
        return "\n".join([*lines, f"Nodes: {words}"])
    return "\n".join([*lines, "Nodes:", *(line for one in nodes for line in _lines(one))])


def _bad(nodes: "Sequence[Judged]") -> list[str]:
    return [f"{one.node_id} is {one.state.value}: {one.cause}" for one in nodes if one.is_bad]


def _lines(one: "Judged") -> "Iterator[str]":
    yield f"  {one.node_id}"
    told = {
        "State": one.state.value,
        "Cause": one.cause,
        "Checked at": one.checked_at,
        "Identity": one.identity,
        "Epoch": "" if one.epoch is None else str(one.epoch),
    }
    yield from (f"    {word}: {text}" for word, text in told.items() if text)
