"""Nodes of an installation, registered by hand, and what each of them shows."""

from strongroom.coordination.base import Change
from strongroom.joining import node_keys, shown_certificates
from strongroom.joining.registry import NodeState, RegisteredNode
from strongroom.joining.shown_certificates import ShownCertificates
from strongroom.node.opening import Node
from strongroom.services.keys import peers

AT = "2026-11-30T12:00:00Z"
DAMAGED = b"{}\n"


def shows(
    at: Node, name: str, address: str, *, other: bool = False, state: NodeState = NodeState.JOINING
) -> None:
    """Register a node, and what it shows; signed by other keys than its own, as before a recovery, if it says so."""
    installation = at.configuration.document().installation_id
    keys, before = (node_keys.make(installation, name) for _ in "ab")
    node = RegisteredNode(name, keys.public, state, AT)
    signing = before.signing if other else keys.signing
    said = ShownCertificates(name, (b"x",), address, AT).signed(installation, signing)
    put(at, peers.PREFIX + name, node.serialize())
    put(at, shown_certificates.PREFIX + name, said)


def put(at: Node, entry: str, value: bytes) -> None:
    """Write an entry, whatever was there."""
    at.coordinator.put({entry: Change(value, at.coordinator.version(entry))})
