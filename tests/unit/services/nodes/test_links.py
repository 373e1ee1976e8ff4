"""Whose certificate counts: its node named it, and is active at this call (docs/format/certificates.md 5.1; issue 11 C)."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from strongroom import ids
from strongroom.clock import FixedClock
from strongroom.crypto import node_certificates
from strongroom.crypto.node_certificates import Issuing, NodeName
from strongroom.errors import PermissionDeniedError, StateError
from strongroom.joining import node_keys
from strongroom.joining.own_certificate import OwnCertificate, Pair
from strongroom.joining.registry import NodeState, RegisteredNode, Report
from strongroom.joining.shown_certificates import ShownCertificates
from strongroom.services.nodes.links import LinkPorts, LinkService

NOW = datetime(2026, 11, 30, 12, 0, tzinfo=UTC)
AT = "2026-11-30T12:00:00Z"
NAME = NodeName(ids.new_id(), "node2")
AUTHORITY = node_certificates.new_authority(NAME.installation_id, NOW)
KEYS = node_keys.make(NAME.installation_id, "node2")
ACTIVE = RegisteredNode("node2", KEYS.public, NodeState.JOINING, AT).reported(
    NAME.installation_id, KEYS, Report(AT, "")
)


def pair(name: NodeName = NAME) -> Pair:
    key = node_certificates.new_key()
    made = Issuing(AUTHORITY, NOW).certify(node_certificates.request(key, name), name)
    return Pair(made, key)


OWN, FORGED = pair(), pair()
SHOWN = ShownCertificates("node2", (OWN.certificate,), "", AT)


def links(
    node: RegisteredNode | None = ACTIVE,
    shown: ShownCertificates | None = SHOWN,
    own: OwnCertificate | None = None,
) -> LinkService:
    return LinkService(
        LinkPorts(
            read=lambda: own,
            nodes=lambda: {} if node is None else {"node2": node},
            shown=lambda _: shown,
            clock=FixedClock(NOW),
            installation_id=lambda: NAME.installation_id,
        )
    )


def test_the_certificate_that_an_active_node_named_is_its() -> None:
    assert links().caller(OWN.certificate) == "node2"


@pytest.mark.parametrize("state", [one for one in NodeState if one is not NodeState.ACTIVE])
def test_a_node_that_is_not_active_is_refused_with_its_state(state: NodeState) -> None:
    with pytest.raises(PermissionDeniedError, match=f"node2 is {state} since 2026-11-30"):
        links(replace(ACTIVE, state=state)).caller(OWN.certificate)


def test_who_is_not_registered_is_refused() -> None:
    with pytest.raises(PermissionDeniedError, match="node2 is no node of this installation, and"):
        links(None).caller(OWN.certificate)


@pytest.mark.parametrize("shown", [SHOWN, None])
def test_a_certificate_that_the_node_did_not_name_is_refused(
    shown: ShownCertificates | None,
) -> None:
    """The key of the authority, which every node has and a removed one had, makes nobody another node."""
    with pytest.raises(PermissionDeniedError, match="node2 did not name the certificate"):
        links(shown=shown).caller(FORGED.certificate)


def test_a_certificate_of_another_node_or_installation_is_refused() -> None:
    with pytest.raises(PermissionDeniedError, match="is that of node2, not of node3"):
        links().check("node3", OWN.certificate)
    with pytest.raises(PermissionDeniedError, match="is that of nobody, not of node2"):
        links().check("node2", AUTHORITY.certificate)
    for other in (AUTHORITY.certificate, pair(NodeName(ids.new_id(), "node2")).certificate):
        with pytest.raises(PermissionDeniedError, match="none of a node of this installation"):
            links().caller(other)


def test_a_node_shows_what_its_file_has() -> None:
    own = OwnCertificate(NAME, OWN, None, (AUTHORITY.certificate,), "ENC(x)")
    found = links(own=own).material()
    assert found.believed == node_certificates.pem((AUTHORITY.certificate,))
    assert found.shown.reveal().startswith(node_certificates.pem((OWN.certificate,)).encode())
    assert b"PRIVATE KEY" in found.shown.reveal()
    assert links(own=own).authority() == found.believed
    assert links(own=own).describe() == {"now": AT, "certificate_ends": "2027-02-28T12:00:00Z"}


def test_without_a_certificate_nothing_is_shown() -> None:
    for own in (None, OwnCertificate(NAME)):
        with pytest.raises(StateError, match="no certificate as yet"):
            links(own=own).material()
        assert links(own=own).describe()["certificate_ends"] == ""
