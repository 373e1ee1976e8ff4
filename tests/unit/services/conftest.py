"""A small node or a whole one for each test: made once, copied."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from strongroom.clock import SystemClock
from strongroom.crypto.secret import SecretBytes
from strongroom.node import create
from strongroom.node.opening import Node
from strongroom.runtime.paths import DataPaths
from tests.support.small_node import copy_small_node


@pytest.fixture
def node(pristine: Path, tmp_path: Path) -> Iterator[Node]:
    """A fresh small node, opened."""
    copied = copy_small_node(pristine, tmp_path / "node")
    yield copied
    copied.close()


@pytest.fixture(scope="session")
def pristine_whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data directory of a node as `init` makes it; not to be changed."""
    root = tmp_path_factory.mktemp("pristine") / "whole"
    create.create_node(str(root), "admin", SecretBytes(b"correct horse battery"))
    return root


@pytest.fixture
def whole(pristine_whole: Path, tmp_path: Path) -> Iterator[Node]:
    """A fresh node that has keys and a repository, opened."""
    copied = Node(
        DataPaths(Path(shutil.copytree(pristine_whole, tmp_path / "whole"))), SystemClock()
    )
    yield copied
    copied.close()
