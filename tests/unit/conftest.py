"""A small node for whole sessions, to be copied."""

from pathlib import Path

import pytest

from tests.support.small_node import create_small_node


@pytest.fixture(scope="session")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data directory of a small node; not to be changed."""
    root = tmp_path_factory.mktemp("pristine") / "node"
    create_small_node(root).close()
    return root
