"""A node that was cut off ends when it comes back to what replaces its keys, though it can prove nothing any more (ADR 60)."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from strongroom.coordination.base import Change
from strongroom.errors import FormatError
from strongroom.node import agent, replacing
from strongroom.node.opening import Node
from strongroom.services.keys.peers import PREFIX
from strongroom.services.keys.replacing import RECOVER_LOCK, RESTORE_LOCK, find_mark
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
        agent._look_at_membership(node, lambda: ended.append(lock), lambda: ended.append("anew"))
    assert ended == [lock]


@pytest.mark.parametrize("lock", [RECOVER_LOCK, RESTORE_LOCK])
def test_a_node_that_comes_back_when_all_is_over_begins_anew(node: Node, lock: str) -> None:
    """ADR 69: neither lock nor command is there any more, and only the mark is another one than at its start."""
    before = node.mark_at_start
    with node.coordinator.lock(lock, wait_s=0):
        replacing.leave_mark(node, lock)
    ended = list[str]()
    agent._look_at_membership(node, lambda: ended.append("for good"), lambda: ended.append(lock))
    assert ended == [lock]
    assert before == b""
    assert json.loads(find_mark(node.entry_store))["command"] == lock
    # a second one of the same kind is another one as well
    node.__dict__["mark_at_start"] = find_mark(node.entry_store)
    assert not replacing.was_replaced(node)
    replacing.leave_mark(node, lock)
    assert replacing.was_replaced(node)


def test_entries_that_are_refused_end_no_node(node: Node) -> None:
    """Without such a command they are an error, which the next look finds again: whoever writes them ends nobody."""
    ended = list[str]()
    with pytest.raises(FormatError):
        agent._look_at_membership(node, lambda: ended.append(""), lambda: ended.append(""))
    assert ended == []
