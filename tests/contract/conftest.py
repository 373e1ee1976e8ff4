"""A real node: made once for the session, copied for each test that wants one."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from strongroom.crypto.secret import SecretBytes
from strongroom.node import create, opening
from strongroom.node.opening import Node

ADMIN = "admin"
ADMIN_PASSWORD = "correct horse battery"


@pytest.fixture(scope="session")
def pristine_node(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data directory of a node that nobody has used; not to be changed."""
    root = tmp_path_factory.mktemp("pristine") / "node"
    create.create_node(str(root), ADMIN, SecretBytes(ADMIN_PASSWORD.encode()))
    return root


@pytest.fixture
def node_dir(pristine_node: Path, tmp_path: Path) -> Path:
    """The data directory of a fresh node."""
    return Path(shutil.copytree(pristine_node, tmp_path / "node"))


@pytest.fixture
def node(node_dir: Path) -> Iterator[Node]:
    """A fresh node, opened."""
    opened = opening.open_node(str(node_dir))
    yield opened
    opened.close()
