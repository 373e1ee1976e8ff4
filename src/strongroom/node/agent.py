"""The regular duties of a node in a cluster, as long as it serves: nobody pushes to a node, each looks by itself.

A duty looks when it is told that something changed, and every few seconds besides: news may be lost, and a node that
was cut off catches up by itself. A single node has no such duties. The duties of the whole installation are the controller's,
for which every node stands here.
"""

import logging
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Final

from strongroom.cluster import services_file
from strongroom.errors import IntegrityError, StateError
from strongroom.joining import password_change
from strongroom.node import (
    controller,
    kept_keys,
    key_changes,
    log_witnesses,
    replacing,
    reporting,
    service_passwords,
)
from strongroom.node.opening import Node
from strongroom.runtime import duties
from strongroom.runtime.duties import Duty
from strongroom.services.keys.peers import PREFIX as NODES
from strongroom.services.keys.replacing import MARK

LOOK_S: Final = 15.0
"""Seconds between two looks at what other nodes changed, without news."""
MEMBERSHIP_S: Final = 5.0
"""Seconds between two looks at whether this node is one of its cluster still."""
_CONFIGURATION, _PASSWORDS, _MEMBERSHIP = "configuration", "passwords", "membership"
_KEYS: Final = "change of keys"
_LOGS: Final = "event logs"
_log = logging.getLogger("strongroom.agent")


@contextmanager
def at_work(
    node: Node,
    leave: Callable[[], None] = lambda: None,
    begin_anew: Callable[[], None] | None = None,
) -> Iterator[None]:
    """Do the duties of a node until the end of the block; a single node has none.

    Args:
        node: The node.
        leave: Ends the processes of this node: it was taken out of its cluster, or a restore replaces what it serves.
        begin_anew: Ends them to be started again: what it serves was replaced, or keys were changed, while it was cut
            off, and its next start takes what is there now. As `leave`, unless it is given.
    """
    if node.outside is None:
        yield
        return
    follower = _Follower(node)
    with ExitStack() as stack:
        reporter = stack.enter_context(reporting.listening(node))
        kept = stack.enter_context(
            duties.kept(
                [
                    Duty(_CONFIGURATION, LOOK_S, follower.follow),
                    Duty(_PASSWORDS, LOOK_S, lambda: service_passwords.follow(node)),
                    Duty(
                        _MEMBERSHIP,
                        MEMBERSHIP_S,
                        lambda: _look_at_membership(node, leave, begin_anew or leave),
                    ),
                    *reporter.duties(),
                    key_changes.duty(node, _KEYS),
                    Duty(kept_keys.MEMORY, MEMBERSHIP_S, lambda: kept_keys.remember(node)),
                    log_witnesses.duty(node, _LOGS),
                ]
            )
        )
        reporter.hasten = lambda: kept.hasten(reporting.REPORT)
        stack.callback(node.configuration.on_change(lambda: kept.hasten(_CONFIGURATION)))
        for service in services_file.SERVICES:
            stack.callback(
                node.coordinator.watch(
                    password_change.PREFIX + service, lambda _: kept.hasten(_PASSWORDS)
                )
            )
        own = NODES + node.paths.node_id
        for name in (own, MARK):
            stack.callback(node.coordinator.watch(name, lambda _: kept.hasten(_MEMBERSHIP)))
        stack.callback(key_changes.on_news(node, lambda: kept.hasten(_KEYS)))
        # last: the duties of the installation rest on those of the node
        stack.enter_context(controller.standing(node))
        yield


def _look_at_membership(
    node: Node, leave: Callable[[], None], begin_anew: Callable[[], None]
) -> None:
    """End this node's processes once it is none of the cluster's: keys in their memory would open extracts still.

    A node that had no session when another one began to restore a backup, or to recover, was not seen by that one, and
    ends as well, also if it comes back when that has ended. The locks and the mark come first, which need no key: what
    the other one has put by then is under keys that this node does not have, and the registry cannot be proved by those
    of before.

    Raises:
        StrongroomError: The locks or the registry cannot be read; or an entry is refused while no such command goes on.
    """
    try:
        replacing.check_may_serve(node)
    except StateError as error:
        _log.error("%s: it ends", error.message)
        leave()
        return
    if replacing.was_replaced(node):
        _log.error("a restore or a recovery replaced what this node serves, unseen by it: it ends")
        begin_anew()
        return
    try:
        own = node.peers.all().get(node.paths.node_id)
    except IntegrityError:
        # a change of the keystore's keys went on without it (key-changes.md 3.2)
        if not kept_keys.are_waiting(node):
            raise
        _log.error(
            "keys were changed while this node was cut off, and wait for its next start: it ends"
        )
        begin_anew()
        return
    if own is not None and own.state.is_gone:
        _log.error("this node was taken out of its cluster at %s: it ends", own.since)
        leave()


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
