"""The move into a cluster, killed at its mutating system calls: a single node or one of a cluster, never anything between."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from strongroom.eventlog import events
from strongroom.node.opening import Node
from strongroom.system.compat import override
from tests.conftest import Torture
from tests.support.cluster_services import ClusterServices, make_cluster_services
from tests.support.components.postgres import Postgres
from tests.support.components.zookeeper_ensemble import Ensemble
from tests.torture import harness, nodes
from tests.torture.harness import FULL, KILL, Lab, Outcome
from tests.torture.nodes import run

pytestmark = pytest.mark.torture


@pytest.fixture
def services(ensemble: Ensemble, postgres: Postgres, tmp_path: Path) -> Iterator[ClusterServices]:
    yield make_cluster_services(ensemble, postgres, tmp_path / "services")
    ensemble.mend()


def test_a_move_that_was_interrupted_is_finished_by_the_next(
    start: Path, services: ClusterServices, few: Torture
) -> None:
    """Until the services are in force the node is a single one and works; afterwards it is one of the cluster."""
    home = start / "node"
    run(home, "strongroom", "sites", "create", "Sales")
    with nodes.opened(home) as node:
        installation = node.claimed_installation()
    words = ("strongroom", "cluster", "enable", *services.options)

    class _Emptied(Lab):
        """Nothing of a run before is outside of the node."""

        @override
        def _renew(self) -> None:
            services.empty(installation)
            super()._renew()

    lab = _Emptied(start, start.with_name("place"), words, {"STRONGROOM_HOME": "{place}/node"})

    place = lab.place / "node"

    def sites_of(node: Node) -> set[str]:
        with node.repository.reading() as tx:
            return {one.name for one in tx.sites.page().rows}

    def check(outcome: Outcome) -> None:
        with nodes.opened(place) as node:
            is_single = node.outside is None
            sites = sites_of(node)
            assert sites == {"Default", "Sales"}
        assert not (is_single and outcome.succeeded)
        if is_single or (place / "tabsvc" / "enabling.json").exists():
            run(place, *words)
        nodes.check_whole(place)
        with nodes.opened(place) as node:
            assert node.outside is not None
            assert sites_of(node) == sites
            assert len(list(node.events.history(events.CLUSTER_ENABLED))) == 1
        found = json.loads(run(place, "strongroom", "cluster", "check", "--json"))
        assert found["ok"]

    harness.torture(lab, few.choose(lab.points(KILL, FULL)), check)
