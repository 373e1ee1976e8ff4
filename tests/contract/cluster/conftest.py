"""Services for a node of a cluster."""

import shutil
from collections.abc import Iterator
from contextlib import chdir, closing
from pathlib import Path

import pytest

from strongroom.cli import dispatch
from strongroom.node import opening
from tests.contract.cluster.commands import Run, joined, run_aside
from tests.contract.cluster.test_enable import enable
from tests.contract.joining.commands import Said
from tests.support import object_stores, web_client
from tests.support.cluster_services import ClusterServices, make_cluster_services
from tests.support.components.postgres import Postgres
from tests.support.components.zookeeper_ensemble import Ensemble
from tests.support.emulators import Aws
from tests.support.ready_cluster import ReadyCluster


@pytest.fixture(scope="module")
def server(moto_store: Aws) -> Iterator[Aws]:
    """A store for the extracts of a module's clusters; its credentials are in the environment meanwhile."""
    with pytest.MonkeyPatch.context() as patch:
        object_stores.credentials(moto_store, patch)
        yield moto_store


@pytest.fixture(scope="session")
def installation(pristine_node: Path) -> str:
    """The id of the installation that all these tests copy."""
    with closing(opening.open_node(str(pristine_node))) as node:
        return node.claimed_installation()


@pytest.fixture(scope="session")
def ready(
    ensemble: Ensemble,
    postgres: Postgres,
    pristine_node: Path,
    installation: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> ReadyCluster:
    """A cluster of one node, which each test that begins with one finds as it was made."""
    folder = tmp_path_factory.mktemp("ready")
    home = Path(shutil.copytree(pristine_node, folder / "node"))
    made = make_cluster_services(ensemble, postgres, folder / "services")
    assert enable(home, made) == 0
    kept = ReadyCluster.keep(made, home)
    made.empty_tree(installation)
    return kept


@pytest.fixture(scope="session")
def ready_pair(
    ready: ReadyCluster, installation: str, tmp_path_factory: pytest.TempPathFactory
) -> ReadyCluster:
    """The same with a second node that has joined, and nobody serves either."""
    folder = tmp_path_factory.mktemp("pair")
    one, two = folder / "node", folder / "two"
    ready.services.empty_tree(installation)
    ready.put_back(one)
    with web_client.serve(one) as served, chdir(folder):
        joined(served, run_aside, two)
    kept = ReadyCluster.keep(ready.services, one, two)
    ready.services.empty_tree(installation)
    return kept


@pytest.fixture
def services(
    request: pytest.FixtureRequest,
    ensemble: Ensemble,
    postgres: Postgres,
    installation: str,
    tmp_path: Path,
) -> Iterator[ClusterServices]:
    """An empty database, or that of the ready cluster, for a test that has it.

    The ensemble is whole again afterwards, without the tests' installation.
    """
    folder = tmp_path / "services"
    if "ready" in request.fixturenames:
        ready: ReadyCluster = request.getfixturevalue("ready")
        made = ready.for_test(folder)
    else:
        made = make_cluster_services(ensemble, postgres, folder)
    yield made
    ensemble.mend()
    made.empty_tree(installation)
    made.drop_database()


@pytest.fixture
def cluster_home(
    request: pytest.FixtureRequest, ready: ReadyCluster, services: ClusterServices, tmp_path: Path
) -> Path:
    """The data directory of the first node of a cluster; its only one, unless the test has `second_home`."""
    assert services.database == ready.services.database
    homes = [tmp_path / "node"]
    if "second_home" in request.fixturenames:
        ready = request.getfixturevalue("ready_pair")
        homes.append(tmp_path / "two" / "node")
    ready.put_back(*homes)
    return homes[0]


@pytest.fixture
def second_home(ready_pair: ReadyCluster, cluster_home: Path) -> Path:
    """The data directory of its second node, which is active; nobody serves either of them."""
    assert len(ready_pair.homes) == 2
    return cluster_home.parent / "two" / "node"


@pytest.fixture
def home(cluster_home: Path) -> Path:
    """The same: a test may change its passwords, and all that has them is put back for the next one."""
    return cluster_home


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs a command; the first word is the tool, the second the data directory."""
    monkeypatch.chdir(tmp_path)

    def call(tool: str, home: Path, *words: str) -> Said:
        capsys.readouterr()  # of a command that was killed
        code = dispatch.main(tool, [*words, "--data-dir", str(home)])
        return Said(code, *capsys.readouterr())

    return call
