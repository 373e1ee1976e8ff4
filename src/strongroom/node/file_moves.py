"""Composes the move of a node's files to another store; what a move does is `services.content.move_files`' business."""

from contextlib import AbstractContextManager

from strongroom.extracts import place
from strongroom.extracts.place import Place
from strongroom.node import backup
from strongroom.node.opening import Node
from strongroom.objectstore import proof, registry
from strongroom.services.content.move_files import MovePorts, MoveService


def parse(text: str) -> str:
    """The address of a store in its one spelling: `disk`, or that of an object store.

    Raises:
        UsageError: The text is neither.
    """
    return text if text == place.DISK else registry.parse(text).text


def present(node: Node) -> Place:
    """Where the files are, and how far a move is."""
    return place.read(node.coordinator)[0]


def moves(node: Node) -> MoveService:
    """Moves files; within `alone`, but for a plan."""

    def prove(text: str) -> None:
        if text != place.DISK:
            proof.prove(node.bucket(text))

    return MoveService(
        MovePorts(
            coordinator=node.coordinator,
            repository=node.repository,
            event_log=node.events,
            node_id=node.paths.node_id,
            store=node.file_store,
            prove=prove,
            others=lambda: tuple(one.node_id for one in node.peers.others()),
        )
    )


def alone(node: Node) -> AbstractContextManager[None]:
    """Keep server and backgrounder of this node away for as long as a move takes.

    Raises:
        StateError: The node is served, or a command works on its jobs.
    """
    return backup.sole_user(node, "a move takes the files that it works on")
