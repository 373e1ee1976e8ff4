"""The benches of roots: each is started once, when the first test needs it."""

from collections.abc import Callable, Iterator

import pytest

from tests.contract.roots.benches import started
from tests.contract.roots.harness import RootBench


@pytest.fixture(scope="session")
def benches(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], RootBench]]:
    with started(tmp_path_factory.mktemp) as found:
        yield found


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
