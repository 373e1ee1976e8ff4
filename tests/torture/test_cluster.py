"""The move into a cluster, and changes of its passwords, killed at their mutating system calls.

A node is a single one or one of a cluster, never anything between, and opens its services after each kill.
"""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from strongroom.eventlog.events import node_events
from strongroom.joining import own_keys
from strongroom.node.opening import Node
from strongroom.system.compat import override
from tests.conftest import Torture
from tests.support.cluster_services import ROLE_PASSWORD, ClusterServices, make_cluster_services
from tests.support.components.postgres import Postgres
from tests.support.components.zookeeper_ensemble import PASSWORD, Ensemble
from tests.torture import harness, nodes
from tests.torture.harness import FULL, KILL, Lab, Outcome
from tests.torture.nodes import run

#: Of the cases of each test a run takes a third, by its seed; `make torture` takes all.
pytestmark = [pytest.mark.torture, pytest.mark.sampled(3)]


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
            assert len(list(node.events.history(node_events.CLUSTER_ENABLED))) == 1
            # by a key of its own, and the one that all nodes have is not taken any more
            newest, keys = node.events.newest_checkpoint(), own_keys.read(node.paths)
            assert newest is not None
            assert newest.signer.verifier.public == keys.log_public
            assert newest.signer.former is None
            assert node.peers.all()["node1"].log_key == keys.log_public
        found = json.loads(run(place, "strongroom", "cluster", "check", "--json"))
        assert found["ok"]

    harness.torture(lab, few.choose(lab.points(KILL, FULL)), check)


@pytest.mark.parametrize("service", ["postgres", "zookeeper"])
def test_a_change_of_a_password_that_was_interrupted_is_finished(
    service: str, start: Path, services: ClusterServices, few: Torture
) -> None:
    """Whatever the kill leaves, the node opens both services at once; the next run ends with one password."""
    home = start / "node"
    with nodes.opened(home) as node:
        installation = node.claimed_installation()
    words = ("strongroom", "cluster", "rotate-password", service)

    class _Enabled(Lab):
        """Each run begins with a node that was just brought to empty services."""

        @override
        def _renew(self) -> None:
            services.empty(installation)
            super()._renew()
            run(self.place / "node", "strongroom", "cluster", "enable", *services.options)

    lab = _Enabled(start, start.with_name("place"), words, {"STRONGROOM_HOME": "{place}/node"})
    place = lab.place / "node"

    def check(outcome: Outcome) -> None:
        nodes.check_opens(place)
        with nodes.opened(place) as node:
            assert node.outside is not None
            is_begun = node.outside.file.is_changing(service)
        assert not (outcome.succeeded and is_begun)
        if not outcome.succeeded:
            run(place, *words)
        nodes.check_whole(place)
        [present] = known(place, service)
        assert present != OLD[service]
        assert json.loads(run(place, "strongroom", "cluster", "check", "--json"))["ok"]

    try:
        harness.torture(lab, few.choose(lab.points(KILL, FULL)), check)
    finally:
        services.empty(installation)


OLD = {"postgres": ROLE_PASSWORD, "zookeeper": PASSWORD}


def known(home: Path, service: str) -> list[str]:
    """The passwords that a service may take from a node."""
    with nodes.opened(home) as node:
        assert node.outside is not None
        return [one.reveal().decode() for one in node.outside.passwords(service).all]
