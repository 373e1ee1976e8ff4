"""A restore and a recovery name every node that is in their way, with the commands that take each out of it (ADR 61)."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from strongroom.errors import ConflictError
from strongroom.node import in_the_way
from strongroom.node.in_the_way import InTheWay
from strongroom.node.opening import Node
from strongroom.runtime import running
from tests.support.small_node import copy_small_node

WHY = "a restore replaces what all nodes work on"
ENTER = "so that nothing is cut off: tsm maintenance enter --reason restore"
AGAIN = "then run this command again"


@pytest.mark.parametrize(
    ("found", "message", "steps"),
    [
        (
            InTheWay("the node /data is served already", is_served=True),
            "the node /data is served already",
            (ENTER, "then tsm stop", AGAIN),
        ),
        (
            InTheWay("backgrounder is locked by node1", here="node1"),
            "backgrounder is locked by node1",
            ("wait for the command that works on jobs on node1", AGAIN),
        ),
        (
            InTheWay("backgrounder is locked"),
            "backgrounder is locked",
            ("wait for the command that works on jobs on this node", AGAIN),
        ),
        (
            InTheWay(here="node1", served=("node2",)),
            "node2 is served",
            (ENTER, "then tsm stop on node2", AGAIN),
        ),
        (
            InTheWay("the node /d is served", True, "node1", ("node2", "node3"), ("node4",)),
            "the node /d is served; node2 and node3 are served; node4 works on jobs",
            (
                ENTER,
                "then tsm stop on node1, node2 and node3, each on its own machine",
                "wait for the command that works on jobs on node4",
                AGAIN,
            ),
        ),
        (
            InTheWay(here="node1", working=("node2", "node3")),
            "node2 and node3 work on jobs",
            ("wait for the command that works on jobs on node2 and node3", AGAIN),
        ),
    ],
)
def test_all_are_named_with_what_to_do_on_each(
    found: InTheWay, message: str, steps: tuple[str, ...]
) -> None:
    refused = found.refusal("restore", WHY)
    assert refused.message == f"{message}: {WHY}"
    assert refused.hint == "; ".join(steps)


@pytest.fixture
def node(pristine: Path, tmp_path: Path) -> Iterator[Node]:
    copied = copy_small_node(pristine, tmp_path / "node")
    yield copied
    copied.close()


def test_a_single_node_is_found_by_its_own_lock(node: Node) -> None:
    assert in_the_way.find(node, looks_here=True) == InTheWay()
    with running.sole_server(node.paths):
        with pytest.raises(ConflictError) as held, running.sole_server(node.paths):
            raise AssertionError
        found = in_the_way.find(node, held.value)
        assert (found.is_served, found.here) == (True, "")
        assert in_the_way.find(node, looks_here=True).is_served
        assert in_the_way.find(node) == InTheWay()
