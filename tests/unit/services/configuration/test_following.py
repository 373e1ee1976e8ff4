"""Whoever follows the configuration is called: at each change, and when a change asks a server to reload (C-20)."""

import threading

from strongroom.node.opening import Node

ACTOR = "os:anna"


def apply(node: Node, key: str, value: str) -> None:
    node.configuration.set(key, value, actor=ACTOR)
    node.configuration.apply(actor=ACTOR)


def test_a_change_is_told_and_a_wish_to_reload_apart(node: Node) -> None:
    changed, restarted = threading.Event(), threading.Event()
    stops = [
        node.configuration.on_change(changed.set),
        node.configuration.on_restart(restarted.set),
    ]
    apply(node, "vizqlserver.log.level", "warn")  # a running server notices it by itself
    assert changed.wait(60)
    assert not restarted.is_set()
    apply(node, "gateway.https.port", "8443")
    assert restarted.wait(60)
    for stop in stops:
        stop()


def test_nothing_is_told_once_it_was_ended(node: Node) -> None:
    changed, others = threading.Event(), threading.Event()
    node.configuration.on_change(changed.set)()
    stop = node.configuration.on_change(others.set)
    apply(node, "vizqlserver.log.level", "warn")
    assert others.wait(60)
    assert not changed.is_set()
    stop()
