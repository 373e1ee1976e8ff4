"""The labs of consumers: each component is started once, when the first test needs it."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from strongroom.node.opening import Node
from tests.contract.consumers.components import START
from tests.contract.consumers.harness import ConsumerLab
from tests.support.small_node import create_small_node


@pytest.fixture(scope="session")
def consumer_labs(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Callable[[str], ConsumerLab]]:
    started: dict[str, ConsumerLab] = {}
    with ExitStack() as stack:

        def lab(name: str) -> ConsumerLab:
            if name not in started:
                started[name] = stack.enter_context(START[name](tmp_path_factory.mktemp(name)))
            return started[name]

        yield lab


@pytest.fixture
def lab(request: pytest.FixtureRequest, consumer_labs: Callable[[str], ConsumerLab]) -> ConsumerLab:
    """The lab that the test is parametrised by."""
    return consumer_labs(request.param)


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    """A fresh small node: a consumer of it is configured by the test."""
    made = create_small_node(tmp_path / "small-node")
    yield made
    made.close()
