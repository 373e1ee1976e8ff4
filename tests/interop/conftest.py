"""A node served by the real `strongroom serve`, once for each file of tests."""

from collections.abc import Iterator

import pytest

from tests.support.servers import TestNode, create_node, serving


@pytest.fixture(scope="module")
def served_node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestNode]:
    """A fresh node with a running server and backgrounder."""
    with serving(create_node(tmp_path_factory.mktemp("served"))) as node:
        yield node
