"""The levels of the service logs follow the configuration (A-16, A-17)."""

import logging
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from strongroom.config import versions
from strongroom.coordination.base import Change
from strongroom.coordination.proved import ProvedCoordinator
from strongroom.node.opening import Node
from strongroom.runtime import service_logs
from strongroom.services.configuration import log_levels
from tests.support import loggers
from tests.support.small_node import copy_small_node

LIMIT_S = 60.0


@pytest.fixture
def node(pristine: Path, tmp_path: Path) -> Iterator[Node]:
    made = copy_small_node(pristine, tmp_path)
    with loggers.as_before():
        service_logs.configure(made.paths, "vizportal")
        yield made
        made.close()


def until(found: Callable[[], bool]) -> None:
    deadline = time.monotonic() + LIMIT_S
    while not found():
        assert time.monotonic() < deadline, "it did not come to pass in time"
        time.sleep(0.02)


def apply(node: Node, level: str) -> None:
    node.configuration.set("vizqlserver.log.level", level, actor="os:tester")
    node.configuration.apply(actor="os:tester")


def is_told(node: Node) -> bool:
    """Whether the sentence that the seeds promise is written."""
    log = node.paths.service_log("vizqlserver")
    before = log.stat().st_size if log.exists() else 0
    logging.getLogger("vizqlserver.AwsKmsEncryptionEnvelope").info("Using RMK with ID r")
    return (log.stat().st_size if log.exists() else 0) > before


def test_the_promised_sentences_are_on_unless_somebody_turns_them_off(node: Node) -> None:
    """A-16: at the default level; one that was applied before is in force from the first line."""
    with log_levels.followed(node.configuration, "vizportal"):
        assert is_told(node)
        apply(node, "off")
        until(lambda: not is_told(node))
        apply(node, "trace")
        until(lambda: is_told(node))
        apply(node, "warn")
        until(lambda: not is_told(node))
    apply(node, "info")
    assert not is_told(node)  # nobody follows it any more
    with log_levels.followed(node.configuration, "vizportal"):
        assert is_told(node)


def test_a_configuration_that_cannot_be_read_leaves_the_levels(node: Node) -> None:
    with log_levels.followed(node.configuration, "vizportal"):
        apply(node, "off")
        until(lambda: not is_told(node))
        entry = node.coordinator.get(versions.CURRENT)
        assert entry is not None
        # a put makes an anchor of the document, and does not take one that is damaged
        unanchored = ProvedCoordinator(node.coordinator.store, node.coordinator.authority)
        unanchored.put({versions.CURRENT: Change(b"damaged", entry.version)})
        log = node.paths.service_log("vizportal")
        until(lambda: log.exists() and "the last ones stay" in log.read_text())
        assert not is_told(node)
        unanchored.put({versions.CURRENT: Change(entry.value, entry.version + 1)})
