"""One process works on a node's jobs, and others see that it is there."""

import pytest

from strongroom.errors import ConflictError
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
