"""One process works on a node's jobs, and others see that it is there."""

import pytest

from strongroom.errors import ConflictError, StorageError
from strongroom.node.opening import Node
from strongroom.services.jobs.sole_worker import SoleWorker


def test_one_holds_it_and_another_sees_that(node: Node) -> None:
    other = SoleWorker(node.coordinator, node.paths.node_id)
    assert not other.is_there()
    with node.sole_worker.hold():
        assert other.is_there()
        with pytest.raises(ConflictError), other.hold():
            pass
    assert not other.is_there()
    with other.hold():
        assert node.sole_worker.is_there()


def test_each_node_has_a_worker_of_its_own(node: Node) -> None:
    with SoleWorker(node.coordinator, "node2").hold():
        assert not node.sole_worker.is_there()


def test_whoever_asks_writes_nothing(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk would else keep the answer back, and with it the end of a maintenance."""

    def full(*_: object, **__: object) -> None:
        raise StorageError("the disk is full")

    with node.sole_worker.hold(place=7):
        monkeypatch.setattr(node.coordinator, "lock", full)
        assert node.sole_worker.is_there()
    assert not node.sole_worker.is_there()
