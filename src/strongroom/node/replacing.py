"""Keeps the other nodes of a cluster off for a command that replaces what all of them serve; a single node has none."""

from collections.abc import Iterator
from contextlib import contextmanager

from strongroom.node import in_the_way
from strongroom.node.opening import Node
from strongroom.services.keys import replacing


@contextmanager
def others_off(node: Node, lock: str, why: str, *, looks_here: bool = False) -> Iterator[None]:
    """Hold the lock of a command that replaces what all nodes serve; the other nodes are off when it begins, and stay so.

    Args:
        node: The node.
        lock: `RECOVER_LOCK` or `RESTORE_LOCK`.
        why: The reason for which they must be off, behind the words of who is served.
        looks_here: Whether a refusal names this node, too, if it is served: the caller does not hold it as yet.

    Raises:
        ConflictError: Another node holds the lock.
        StateError: A process of another node serves or works on jobs, or another such command is under way.
    """
    if node.outside is None:
        yield
        return
    # the lock comes first, and a server announces itself before it looks for the lock: one of the two sees the other
    with node.coordinator.lock(lock, wait_s=0):
        replacing.check_nobody_replaces(node.coordinator, but=lock)
        found = in_the_way.find(node, looks_here=looks_here)
        if found.served or found.working:
            raise found.refusal(lock, why)
        yield


def leave_mark(node: Node, lock: str) -> None:
    """Have a node that was cut off find, when it is back, that what it serves was replaced; a single node has none.

    The caller is within `others_off`, and has replaced nothing as yet.

    Args:
        node: The node.
        lock: `RECOVER_LOCK` or `RESTORE_LOCK`.
    """
    if node.outside is not None:
        replacing.leave_mark(node.coordinator, lock, node.paths.node_id, node.clock)


def check_may_serve(node: Node) -> None:
    """Refuse to serve a node while a command replaces what all nodes serve.

    Whoever is to be served asks once before anything is changed, and once more when it is announced.

    Raises:
        StateError: A node restores a backup or recovers its keys.
    """
    if node.outside is not None:
        replacing.check_nobody_replaces(node.coordinator)


def was_replaced(node: Node) -> bool:
    """Whether such a command has begun since this process asked first, before it read anything, whether it has ended or not.

    Raises:
        FormatError: The mark is damaged.
        CoordinationError: The coordination service cannot be asked.
    """
    if node.outside is None:
        return False
    # in this order: at the first look both are the mark of now
    return node.mark_at_start != replacing.find_mark(node.entry_store)
