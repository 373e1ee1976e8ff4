"""A small node for each test: made once, copied."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from strongroom.bootstrap import Node
from strongroom.clock import SystemClock
from strongroom.topology.paths import DataPaths
from tests.small_node import create_small_node


@pytest.fixture(scope="session")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data directory of a small node; not to be changed."""
    root = tmp_path_factory.mktemp("pristine") / "node"
    create_small_node(root).close()
    return root


@pytest.fixture
def node(pristine: Path, tmp_path: Path) -> Iterator[Node]:
    """A fresh small node, opened."""
    copied = Node(DataPaths(Path(shutil.copytree(pristine, tmp_path / "node"))), SystemClock())
    yield copied
    copied.close()
