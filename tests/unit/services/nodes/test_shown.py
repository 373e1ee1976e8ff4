"""An entry of a node's certificates that does not hold hinders no other node (certificates.md §4)."""

from datetime import timedelta

import pytest

from strongroom.errors import FormatError, IntegrityError
from strongroom.joining import shown_certificates
from strongroom.joining.registry import NodeState
from strongroom.node import certificates
from strongroom.node.opening import Node
from strongroom.services.nodes.certificates import Lives
from tests.unit.services.nodes.shown_lab import DAMAGED, put, shows


def test_a_node_is_asked_for_alone(whole: Node) -> None:
    """Calls to node2 go on while node3, whose keys are new, was not served as yet, and node4's entry is damaged."""
    shows(whole, "node2", "two.example:8850")
    shows(whole, "node3", "three.example:8850", other=True)
    shows(whole, "node4", "four.example:8850")
    put(whole, shown_certificates.PREFIX + "node4", DAMAGED)
    shows(whole, "node5", "five.example:8850", state=NodeState.REMOVED)
    service = certificates.service(whole)
    found = service.shown_by("node2")
    assert found is not None
    assert found.address == "two.example:8850"
    with pytest.raises(IntegrityError):
        service.shown_by("node3")
    with pytest.raises(FormatError):
        service.shown_by("node4")
    assert service.shown_by("node5") is None
    assert service.shown_by("node9") is None
    with pytest.raises((FormatError, IntegrityError)):
        service.shown()  # who lists them all is told


def test_an_authority_is_kept_while_a_node_may_show_a_certificate_of_it(whole: Node) -> None:
    """The duty of the others does not fail for it either."""
    service = certificates.service(whole)
    service.renew_authority("os:test")
    assert service.follow("os:test")
    service.renew_authority("os:test")
    shows(whole, "node2", "", other=True)
    later = certificates.service(whole, Lives(spread=timedelta(0)))
    assert later.follow("os:test")
    known = later.find_authorities()
    assert known is not None
    assert known.former
