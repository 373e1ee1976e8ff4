"""Nodes to back up, and nodes of another installation to restore on."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from strongroom.crypto.secret import SecretBytes
from strongroom.node import create, opening
from strongroom.node.opening import Node
from tests.support import backups

OpenNode = Callable[[str], Node]


@pytest.fixture(scope="session")
def other_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data directory of a node of another installation; not to be changed."""
    root = tmp_path_factory.mktemp("other") / "node"
    create.create_node(str(root), "admin", SecretBytes(b"correct horse battery"))
    return root


@pytest.fixture
def fresh(other_dir: Path, tmp_path: Path) -> Iterator[OpenNode]:
    """Opens a fresh machine of this name: a node of another installation."""
    opened: list[Node] = []

    def make(name: str) -> Node:
        opened.append(opening.open_node(shutil.copytree(other_dir, tmp_path / name).as_posix()))
        return opened[-1]

    yield make
    for node in opened:
        node.close()


@pytest.fixture
def target(fresh: OpenNode) -> Node:
    """A fresh machine."""
    return fresh("target")


@pytest.fixture
def source(node: Node) -> Node:
    """A node with two encrypted extracts, a plain one and a credential."""
    row = backups.publish(node, "one", bytes(range(256)) * 3000)
    backups.publish(node, "two", b"")
    backups.publish(node, "plain", b"plain bytes", encrypted=False)
    backups.embed(node, row, b"embedded secret")
    return node
