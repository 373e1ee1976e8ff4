"""The settings of a backgrounder stay as they were while an entry cannot be read (P18; nodes.md 7.2, maintenance.md 3.1)."""

from strongroom.backgrounder.settings import Settings
from strongroom.coordination.base import Change
from strongroom.node.opening import Node
from strongroom.services.jobs import processes, roles
from strongroom.services.jobs.processes import Process


def _spoiled(node: Node, entry: str) -> None:
    found = node.coordinator.get(entry)
    node.coordinator.put({entry: Change(b'{"v":9}', found.version if found else 0)})


def test_an_entry_of_a_later_release_does_not_end_the_process(node: Node) -> None:
    settings = Settings(node)
    assert settings.may_work()
    _spoiled(node, processes.ENTRY)
    assert settings.may_work()
    assert settings.limits()[0] >= 1


def test_nor_does_one_give_work_to_a_node_that_had_none(node: Node) -> None:
    node.node_processes.set("me", "node1", Process.BACKGROUNDER, 0)
    settings = Settings(node)
    assert not settings.may_work()
    _spoiled(node, roles.ENTRY)
    assert not settings.may_work()
