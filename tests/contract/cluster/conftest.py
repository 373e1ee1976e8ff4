"""Services for a node of a cluster."""

import shutil
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from strongroom.cli import dispatch
from strongroom.cluster.services_file import ZOOKEEPER
from strongroom.node import opening
from tests.contract.cluster.commands import Run
from tests.contract.cluster.password_lab import passwords, root_of
from tests.contract.cluster.test_enable import enable
from tests.contract.joining.commands import Said
from tests.support import object_stores
from tests.support.cluster_services import ClusterServices, make_cluster_services
from tests.support.components.postgres import Postgres
from tests.support.components.zookeeper_ensemble import Ensemble
from tests.support.emulators import Aws
from tests.support.ready_cluster import ReadyCluster


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Aws]:
    """A store for the extracts of a module's clusters; its credentials are in the environment meanwhile."""
    with (
        object_stores.running("moto", tmp_path_factory.mktemp("moto")) as running,
        pytest.MonkeyPatch.context() as patch,
    ):
        object_stores.credentials(running, patch)
        yield running


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
def cluster_home(ready: ReadyCluster, services: ClusterServices, tmp_path: Path) -> Path:
    """The data directory of the first node of a cluster."""
    assert services.database == ready.services.database
    ready.put_back(tmp_path / "node")
    return tmp_path / "node"


@pytest.fixture
def home(cluster_home: Path, services: ClusterServices) -> Iterator[Path]:
    """The same, and its passwords are put back at the end."""
    yield cluster_home
    installation = root_of(cluster_home).rpartition("/")[2]
    known = [one.reveal().decode() for one in passwords(cluster_home, ZOOKEEPER).all]
    services.empty_tree(installation, *known, "by hand")


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs a command; the first word is the tool, the second the data directory."""
    monkeypatch.chdir(tmp_path)

    def call(tool: str, home: Path, *words: str) -> Said:
        capsys.readouterr()  # of a command that was killed
        code = dispatch.main(tool, [*words, "--data-dir", str(home)])
        return Said(code, *capsys.readouterr())

    return call
