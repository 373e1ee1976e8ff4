"""A backgrounder that begins while its node goes out of service (maintenance.md 3.3; b14)."""

import threading

import pytest

from strongroom.backgrounder import worker
from strongroom.errors import FormatError
from strongroom.node.opening import Node
from strongroom.services.nodes.maintenance import MaintenanceService


def test_a_process_that_looked_just_before_begins_with_nothing(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The node has said that it has drained: nobody held the lock yet."""
    begun: list[object] = []
    monkeypatch.setattr(worker, "_worker", lambda *_: begun.append(_))
    monkeypatch.setattr(MaintenanceService, "seen", lambda _: None)
    node.maintenance.enter("me", "new disks", within_s=1)
    worker.run(node, threading.Event())
    assert begun == []


def test_what_cannot_be_asked_stays_as_it_was_known(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    def damaged(_: object) -> None:
        raise FormatError("damaged")

    assert node.out_of_service.asked() is None
    found = node.maintenance.enter("me", "new disks", within_s=1)
    assert node.out_of_service.seen() == found
    monkeypatch.setattr(MaintenanceService, "present", damaged)
    assert node.out_of_service.asked() == found
