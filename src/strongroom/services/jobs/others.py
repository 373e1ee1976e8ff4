"""The nodes of the installation, as one that works on jobs or looks after them sees them (ADR 42)."""

from collections.abc import Callable, Collection
from contextlib import AbstractContextManager
from dataclasses import dataclass

from strongroom.coordination.base import Group


@dataclass(frozen=True)
class Others:
    """The view of the nodes by one of them.

    Attributes:
        node_id: The node whose view this is.
        members: Returns the nodes that are in a group now; raises if the coordination service cannot be asked.
        working: Makes this process a member of the workers, until the end of the block.
        shares_files: Returns whether all nodes use one file store.
        gone_s: The time for which a node must not have been a member before it counts as gone: that of a session, so
            that a node that begins anew in that time keeps its jobs.
    """

    node_id: str
    members: Callable[[Group], Collection[str]]
    working: Callable[[], AbstractContextManager[None]]
    shares_files: Callable[[], bool]
    gone_s: float
