"""The benches of roots: each is started once, when the first test needs it."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from tests.contract.roots.benches import START
from tests.contract.roots.harness import RootBench


@pytest.fixture(scope="session")
def benches(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], RootBench]]:
    started: dict[str, RootBench] = {}
    with ExitStack() as stack:

        def bench(name: str) -> RootBench:
            if name not in started:
                folder = tmp_path_factory.mktemp(name)
                started[name] = stack.enter_context(START[name](folder))
            return started[name]

        yield bench


@pytest.fixture
def bench(
    request: pytest.FixtureRequest,
    benches: Callable[[str], RootBench],
    monkeypatch: pytest.MonkeyPatch,
) -> RootBench:
    """The bench that the test is parametrised by, with its variables set."""
    chosen = benches(request.param)
    for name, value in chosen.environment.items():
        monkeypatch.setenv(name, value)
    chosen.quicken(monkeypatch)
    return chosen
