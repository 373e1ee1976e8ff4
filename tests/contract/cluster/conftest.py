"""Services for a node of a cluster."""

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


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Aws]:
    """A store for the extracts of a module's clusters; its credentials are in the environment meanwhile."""
    with (
        object_stores.running("moto", tmp_path_factory.mktemp("moto")) as running,
        pytest.MonkeyPatch.context() as patch,
    ):
        object_stores.credentials(running, patch)
        yield running


@pytest.fixture
def services(
    ensemble: Ensemble, postgres: Postgres, pristine_node: Path, tmp_path: Path
) -> Iterator[ClusterServices]:
    """An empty database, and an ensemble that is whole again afterwards, without the tests' installation."""
    made = make_cluster_services(ensemble, postgres, tmp_path / "services")
    yield made
    ensemble.mend()
    with closing(opening.open_node(str(pristine_node))) as node:
        made.empty(node.claimed_installation())


@pytest.fixture
def home(
    node_dir: Path, services: ClusterServices, capsys: pytest.CaptureFixture[str]
) -> Iterator[Path]:
    """The data directory of a node of a cluster, whose passwords are put back at the end."""
    assert enable(node_dir, services) == 0
    capsys.readouterr()
    installation = root_of(node_dir).rpartition("/")[2]
    yield node_dir
    known = [one.reveal().decode() for one in passwords(node_dir, ZOOKEEPER).all]
    services.empty(installation, *known, "by hand")


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs a command; the first word is the tool, the second the data directory."""
    monkeypatch.chdir(tmp_path)

    def call(tool: str, home: Path, *words: str) -> Said:
        capsys.readouterr()  # of a command that was killed
        code = dispatch.main(tool, [*words, "--data-dir", str(home)])
        return Said(code, *capsys.readouterr())

    return call


@pytest.fixture
def cluster_home(
    node_dir: Path, services: ClusterServices, capsys: pytest.CaptureFixture[str]
) -> Path:
    """The data directory of the first node of a cluster."""
    assert enable(node_dir, services) == 0
    capsys.readouterr()
    return node_dir
