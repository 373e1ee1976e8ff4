"""Starting points of the torture tests, made once per worker."""

import random
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.conftest import Torture
from tests.contract.roots.providers import started
from tests.support.servers import create_node
from tests.torture import harness, nodes, root_moves
from tests.torture.root_moves import Labs, Prepare, Prepared


@pytest.fixture
def own_starts(request: pytest.FixtureRequest, torture: Torture) -> bool:
    """Whether a test starts some of its commands anew, under strace: in a sample, one test of five does."""
    drawn = random.Random(f"{torture.seed} {request.node.nodeid}").randrange(5) == 0
    return torture.whole or drawn


@pytest.fixture(autouse=True)
def _figures(request: pytest.FixtureRequest, own_starts: bool) -> Iterator[None]:
    """Hand on how many points a test tried, for the session's closing lines."""
    harness.FIGURES.clear()
    harness.own_starts.wanted = own_starts
    yield
    request.node.user_properties.extend(("torture", line) for line in harness.FIGURES)


@pytest.fixture(scope="session")
def fresh_node(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a new node in `node`, never changed: copy it."""
    return create_node(tmp_path_factory.mktemp("fresh")).folder


@pytest.fixture
def start(fresh_node: Path, tmp_path: Path) -> Path:
    """A folder with a node in `node`, to be made into what a test starts from."""
    return nodes.copy(fresh_node, tmp_path / "start")


@pytest.fixture
def torture(torture: Torture) -> Torture:
    """Of an enumeration here a sample has the first point, the last, and one by the seed; `make torture` has all."""
    return replace(torture, size=max(3, torture.size * 3 // 5))


@pytest.fixture
def few(torture: Torture) -> Torture:
    """For commands on a whole node, of which each point costs a second: a smaller sample."""
    return replace(torture, size=max(3, torture.size // 3))


@pytest.fixture(scope="session")
def labs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Labs]:
    """Roots outside the machine, each started when the first test needs it."""
    with started(tmp_path_factory.mktemp) as found:
        yield found


@pytest.fixture
def prepare(
    labs: Labs, fresh_node: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Prepare:
    """Makes moves ready to be disturbed, each once."""

    def prepared(source: str, target: str) -> Prepared:
        variables = root_moves.start_roots(labs, (source, target), monkeypatch)
        place = tmp_path / f"{source} {target}"
        settings = [root_moves.settings_of(labs, name) for name in (source, target)]
        start = root_moves.make_start(fresh_node, place / "start", *settings)
        return Prepared(start, place, variables)

    return prepared
