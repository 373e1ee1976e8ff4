"""The regular duties of a node in a cluster, as long as it serves: nobody pushes to a node, each looks by itself.

A duty looks when it is told that something changed, and every few seconds besides: news may be lost, and a node that
was cut off catches up by itself. A single node has no such duties.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Final

from strongroom.node.opening import Node
from strongroom.runtime import duties
from strongroom.runtime.duties import Duty

LOOK_S: Final = 15.0
"""Seconds between two looks at what other nodes changed, without news."""
_CONFIGURATION: Final = "configuration"


@contextmanager
def at_work(node: Node) -> Iterator[None]:
    """Do the duties of a node until the end of the block; a single node has none."""
    if node.outside is None:
        yield
        return
    with ExitStack() as stack:
        follower = _Follower(node)
        kept = stack.enter_context(duties.kept([Duty(_CONFIGURATION, LOOK_S, follower.follow)]))
        stack.callback(node.configuration.on_change(lambda: kept.hasten(_CONFIGURATION)))
        yield


class _Follower:
    """Writes the YAML files of this node's services when another node changed the configuration."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._written = 0

    def follow(self) -> None:
        version = self._node.configuration.version
        if version != self._written:
            self._node.configuration.project()
            self._written = version
