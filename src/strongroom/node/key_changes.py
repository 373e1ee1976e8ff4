"""Composes the duty of a node in changes of keys that other nodes make: it tries what is staged, and proves itself anew.

The agent does it regularly, and at once when something is staged.
"""

from collections.abc import Callable
from typing import Final

from strongroom.eventlog.base import SYSTEM
from strongroom.joining import key_bundles
from strongroom.joining.registry import NodeState
from strongroom.kms import staged
from strongroom.node import joining
from strongroom.node.opening import Node
from strongroom.runtime.duties import Duty

LOOK_S: Final = 5.0
"""Seconds between two looks, without news: well below the time for which a change waits."""


def duty(node: Node, name: str) -> Duty:
    """The duty: to take keys that are given, try what is staged, and prove the keys if a change was made without this node.

    The parts of the node that it needs are built here, before any thread of a duty works with them.
    """
    received, trial = node.received_keys, node.trial_of_change

    def look() -> None:
        received.look()
        trial.look()
        prove_if_stale(node)

    return Duty(name, LOOK_S, look)


def prove_if_stale(node: Node) -> str:
    """Prove the KMS store if it was changed without this node; returns why the node may not serve, or nothing.

    A start serves nothing before (key-changes.md 3.1).

    Raises:
        StateError: The node was left out.
    """
    registered = joining.service(node)
    found = registered.find()
    if found is None or found.state is not NodeState.STALE:
        return ""
    node.kms_cache.forget()
    problems = tuple(node.kms_store.prove().problems)
    return registered.tell(SYSTEM, problems[0] if problems else "").cause


def on_news(node: Node, notice: Callable[[], None]) -> Callable[[], None]:
    """Call `notice` when something is staged, given or taken away, from a thread; returns the function that stops it."""
    names = (staged.ENTRY, key_bundles.entry(node.paths.node_id))
    stops = [node.coordinator.watch(name, lambda _: notice()) for name in names]

    def stop() -> None:
        for one in stops:
            one()

    return stop
