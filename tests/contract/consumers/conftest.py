"""The benches of consumers: each component is started once, when the first test needs it."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from tests.contract.consumers.benches import START
from tests.contract.consumers.harness import ConsumerBench


@pytest.fixture(scope="session")
def consumer_benches(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Callable[[str], ConsumerBench]]:
    started: dict[str, ConsumerBench] = {}
    with ExitStack() as stack:

        def bench(name: str) -> ConsumerBench:
            if name not in started:
                started[name] = stack.enter_context(START[name](tmp_path_factory.mktemp(name)))
            return started[name]

        yield bench


@pytest.fixture
def bench(
    request: pytest.FixtureRequest, consumer_benches: Callable[[str], ConsumerBench]
) -> ConsumerBench:
    """The bench that the test is parametrised by."""
    return consumer_benches(request.param)
