"""The labs of roots: each is started once, when the first test needs it."""

from collections.abc import Callable, Iterator

import pytest

from tests.contract.roots.harness import IMPATIENCE_S, PATIENCE_S, RootLab
from tests.contract.roots.providers import started
from tests.support.fault_server import Fault


@pytest.fixture(scope="session")
def labs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], RootLab]]:
    with started(tmp_path_factory.mktemp) as found:
        yield found


@pytest.fixture
def lab(
    request: pytest.FixtureRequest,
    labs: Callable[[str], RootLab],
    monkeypatch: pytest.MonkeyPatch,
) -> RootLab:
    """The lab that the test is parametrised by, with its variables set."""
    chosen = labs(request.param)
    for name, value in chosen.environment.items():
        monkeypatch.setenv(name, value)
    chosen.quicken(monkeypatch)
    seconds = IMPATIENCE_S if _is_of_a_slow_answer(request.node) else PATIENCE_S
    chosen.await_answers(seconds, monkeypatch)
    return chosen


def _is_of_a_slow_answer(test: pytest.Function) -> bool:
    values = test.callspec.params.values()
    return any(
        value is Fault.SLOW or getattr(value, "fault", None) is Fault.SLOW for value in values
    )
