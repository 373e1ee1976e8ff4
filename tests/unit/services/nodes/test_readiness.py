"""A node is ready where a row can be read and the keys decrypt."""

import pytest

from strongroom.errors import StrongroomError
from strongroom.node.opening import Node


def test_a_whole_node_is_ready(whole: Node) -> None:
    whole.kms_store.prove()
    whole.readiness.check()


def test_it_is_not_without_a_row_that_can_be_read(whole: Node) -> None:
    whole.kms_store.prove()
    whole.repository.close()
    for path in whole.paths.repository.parent.glob(f"{whole.paths.repository.name}*"):
        path.unlink()
    with pytest.raises(StrongroomError):
        whole.readiness.check()


def test_it_is_not_without_keys(whole: Node) -> None:
    for path in whole.paths.tabsvc.glob("config/*/tabsvc/keystores/*"):
        path.unlink()
    with pytest.raises(StrongroomError):
        whole.readiness.check()
