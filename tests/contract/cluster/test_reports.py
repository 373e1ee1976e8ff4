"""The state of every node, proved now and judged by who asks (issue 11 F, b10; A-05, A-18, A-19; E2, E3, E13)."""

import json
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from strongroom.crypto.signing import SigningKey
from strongroom.joining import node_reports, own_keys
from strongroom.node import agent, opening, reporting
from strongroom.node.opening import Node
from strongroom.services.nodes import judging
from tests.contract.cluster.commands import Run, joined
from tests.support import servers, web_client
from tests.support.cluster_services import ClusterServices

LIMIT_S = 60.0


@pytest.fixture
def homes(cluster_home: Path, run: Run, tmp_path: Path) -> tuple[Path, Path]:
    """The directories of two active nodes, which nobody serves."""
    second = tmp_path / "two"
    with web_client.serve(cluster_home) as served:
        joined(served, run, second)
    return cluster_home, second


@contextmanager
def at_work(home: Path) -> Iterator[Node]:
    """A node that does its duties in this process, as `serve` has it do."""
    with closing(opening.open_node(str(home))) as node, node.announced(), agent.at_work(node):
        yield node


def kms(run: Run, home: Path, *words: str) -> tuple[int, dict[str, Any]]:
    said = run("tsm", home, "security", "kms", "status", "--json", *words)
    found = json.loads(said.out)
    assert (said.code == 0) == (found["status"] == "OK")
    return said.code, found


def states(found: dict[str, Any]) -> dict[str, str]:
    return {one["id"]: one["state"] for one in found["nodes"]}


def test_each_node_proves_its_keys_for_who_asks(homes: tuple[Path, Path], run: Run) -> None:
    one, two = homes
    with at_work(one), at_work(two):
        code, found = kms(run, one)
        assert code == 0, found
        assert states(found) == {"node1": "OK", "node2": "OK"}
        said = run("tsm", two, "status", "-v")
        print(said.out, said.err)
        said = run("tsm", two, "security", "kms", "status")
        print(said.out, said.err)
