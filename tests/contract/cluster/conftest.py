"""Services for a node of a cluster."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from strongroom.node import opening
from tests.support.cluster_services import ClusterServices, make_cluster_services
from tests.support.components.postgres import Postgres
from tests.support.components.zookeeper_ensemble import Ensemble


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
