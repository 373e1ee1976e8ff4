"""Composes what a start and a list of nodes ask about the releases of a cluster's nodes; a single node has no others."""

from collections.abc import Mapping

from strongroom.joining.software import InForce, Software
from strongroom.node.opening import Node


def check_serves(node: Node) -> None:
    """Refuse a node of a cluster by software that does not know what the others have begun with.

    Raises:
        StateError: The software is too old.
    """
    if node.outside is not None:
        node.software.check_serves()


def say(node: Node) -> bool:
    """Tell the other nodes which software serves this one; returns whether they had not been told.

    Raises:
        CoordinationError: The coordination service cannot be written.
    """
    return node.outside is not None and node.software.say()


def known(node: Node) -> tuple[Mapping[str, Software], InForce]:
    """The software of each node that has said so, and what counts for all of them."""
    return node.software.all(), node.software.in_force()
