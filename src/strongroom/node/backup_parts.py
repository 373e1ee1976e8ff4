"""Composes the gathering of what each node of a cluster alone has, for a backup of the whole."""

import os
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import partial

from strongroom.backup.nodes import DISKS, SHARED
from strongroom.node.opening import Node
from strongroom.services.backups import gather
from strongroom.services.backups.gather import NOTHING, Gathered, GatherPorts
from strongroom.services.backups.own_part import Part


def gathering(
    node: Node, ask: Callable[[str], Part]
) -> Callable[[], AbstractContextManager[Gathered]]:
    """The gathering for a backup that this node makes; of a single node, there is nothing to gather.

    Args:
        node: The node.
        ask: Returns the part of another node; raises if that one cannot be called.
    """
    if node.outside is None:
        return lambda: nullcontext(NOTHING)
    own = node.paths.node_id
    ports = GatherPorts(
        nodes=node.peers.all,
        part_of=lambda one: node.backup_part if one == own else ask(one),
        keys=node.keys_seen,
        installation_id=node.configuration.document().installation_id,
        extracts=SHARED if node.shares_files else DISKS,
        folder=node.paths.repository.parent / f"{gather.FOLDER}{os.getpid()}",
    )
    return partial(gather.gathered, ports)
