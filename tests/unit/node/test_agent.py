"""A node that was cut off ends when it comes back to what replaces its keys, though it can prove nothing any more (ADR 60)."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from strongroom.coordination.base import Change
from strongroom.errors import FormatError
from strongroom.node import agent
from strongroom.node.opening import Node
from strongroom.services.keys.peers import PREFIX
from strongroom.services.keys.replacing import RECOVER_LOCK, RESTORE_LOCK
from tests.support.small_node import copy_small_node


@pytest.fixture
def node(pristine: Path, tmp_path: Path) -> Iterator[Node]:
    """A node of a cluster, as far as its registry goes; what is put there is refused by the keys that it has."""
    copied = copy_small_node(pristine, tmp_path / "node")
    copied.coordinator.put({PREFIX + "node1": Change(b"of a recovery", 0)})
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(copied.__dict__, "outside", object())
        yield copied
    copied.close()


@pytest.mark.parametrize("lock", [RECOVER_LOCK, RESTORE_LOCK])
def test_a_node_that_can_prove_nothing_ends_all_the_same(node: Node, lock: str) -> None:
    """A node that comes back behind the put of such a command: only the lock says why the entries are strange."""
    ended = list[str]()
    with node.coordinator.lock(lock, wait_s=0):
        agent._look_at_membership(node, lambda: ended.append(lock))
    assert ended == [lock]


def test_entries_that_are_refused_end_no_node(node: Node) -> None:
    """Without such a command they are an error, which the next look finds again: whoever writes them ends nobody."""
    ended = list[str]()
    with pytest.raises(FormatError):
        agent._look_at_membership(node, lambda: ended.append(""))
    assert ended == []
