"""A standby of PostgreSQL is promoted under a served node (matrix 15; docs/howto/cluster.md "A standby").

Two real servers with streaming replication; the node's address names both.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from strongroom.coordination.base import Change
from strongroom.repository.rows import SiteMode
from tests.contract.cluster.test_enable import command, enable, opened
from tests.support import web_client
from tests.support.cluster_services import ClusterServices, make_cluster_services
from tests.support.components.postgres import Postgres, running_postgres
from tests.support.components.postgres_standby import (
    cut_off,
    promote,
    standby_of,
    wait_until_equal,
)
from tests.support.components.zookeeper_ensemble import Ensemble
from tests.support.waiting import in_the_end
from tests.support.web_client import HYPER

pytestmark = pytest.mark.cluster
ACTOR = "os:tests"


@dataclass(frozen=True)
class Pair:
    """A node of a cluster, and the two servers that its address names.

    Attributes:
        home: The data directory of the node.
        old: The services with the server that is the primary at first.
        standby: The other server.
    """

    home: Path
    old: ClusterServices
    standby: Postgres

    @property
    def new(self) -> ClusterServices:
        """The services with the other server."""
        return replace(self.old, postgres=self.standby)

    def status(self, capsys: pytest.CaptureFixture[str]) -> tuple[int, dict[str, Any]]:
        """The state of the services by the command."""
        capsys.readouterr()
        code = command(self.home, "cluster", "status", "--json")
        return code, json.loads(capsys.readouterr().out)


@pytest.fixture
def pair(ensemble: Ensemble, node_dir: Path, installation: str, tmp_path: Path) -> Iterator[Pair]:
    with running_postgres() as primary, standby_of(primary) as standby:
        services = make_cluster_services(ensemble, primary, tmp_path / "services")
        both = services.dsn.replace("127.0.0.1", "127.0.0.1,127.0.0.1").replace(
            str(primary.port), f"{primary.port},{standby.port}"
        )
        assert enable(node_dir, services.with_changes(postgres=both)) == 0
        yield Pair(node_dir, services, standby)
        services.empty_tree(installation)


def fence(server: Postgres) -> None:
    """Have it take no changes any more, without an end of any connection."""
    server.run("ALTER SYSTEM SET default_transaction_read_only = on", "SELECT pg_reload_conf()")
    in_the_end(lambda: server.run("SHOW default_transaction_read_only") == "on")


def names(services: ClusterServices) -> set[str]:
    return {name for (name,) in services.query("SELECT name FROM contents")}


def test_nothing_is_written_to_an_old_primary_that_still_runs(
    pair: Pair, capsys: pytest.CaptureFixture[str]
) -> None:
    """The old one is up, reachable, first in the address, and has the node's open connections: it only takes no writes.

    Found here: connections that were open stayed with the old one, and every change was refused until a restart.
    """
    with web_client.serve(pair.home) as served:
        client = served.site("Sealed", SiteMode.ENFORCED)
        item = client.publish("before").find("datasource").get("id", "")
        wait_until_equal(pair.old.postgres, pair.standby)
        fence(pair.old.postgres)
        promote(pair.standby)
        in_the_end(lambda: client.publish("after").status == 201)
        for number in range(5):
            assert client.publish(f"more {number}").status == 201
        assert names(pair.old) == {"before"}
        assert names(pair.new) == {"before", "after", *(f"more {number}" for number in range(5))}
        assert client.download(item).body == HYPER
        assert served.node.state_faults() == ()
    code, found = pair.status(capsys)
    assert (code, found["problems"]) == (0, [])


def test_whoever_only_reads_reads_from_the_new_primary(pair: Pair) -> None:
    """Found here: rows in memory were believed for ever, since the old server, which still answered, saw no commit any more.

    So a token that was taken back at another node would have gone on opening doors at this one.
    """
    with opened(pair.home) as node:
        with node.repository.reading() as tx:
            site = tx.sites.page().rows[0]
        state = node.repository.state()
        wait_until_equal(pair.old.postgres, pair.standby)
        fence(pair.old.postgres)
        promote(pair.standby)
        pair.new.query(f"UPDATE sites SET name = 'Renamed' WHERE id = '{site.id}'")
        assert node.repository.state() != state
        with node.repository.reading() as tx:
            assert tx.sites.get(site.id).name == "Renamed"


def test_what_an_asynchronous_standby_did_not_have_is_told(
    pair: Pair, capsys: pytest.CaptureFixture[str]
) -> None:
    """A publication, a setting and new keys were acknowledged, and only the dead primary knew of them.

    The row is lost, as the page says; keys and settings lie in ZooKeeper and never go back; and the anchor tells of it.
    """
    with web_client.serve(pair.home) as served:
        client = served.site("Sealed", SiteMode.ENFORCED)
        kept = client.publish("kept").find("datasource").get("id", "")
        wait_until_equal(pair.old.postgres, pair.standby)
        cut_off(pair.standby)
        lost = client.publish("lost")
        assert lost.status == 201
        served.node.meks.rotate(ACTOR)
        served.node.coordinator.put({"journal/rotation/one": Change(b"{}", 0)})
        epoch = served.node.kms_store.current()[0].epoch
        pair.old.postgres.component.kill()
        promote(pair.standby)
        in_the_end(lambda: client.publish("after").status == 201)
        assert names(pair.new) == {"kept", "after"}
        item = lost.find("datasource").get("id", "")
        assert client.download(item).status == 404
        assert client.download(kept).body == HYPER
        assert served.node.kms_store.current()[0].epoch == epoch
        [told] = served.node.state_faults()
        assert "repository" in told
    code, found = pair.status(capsys)
    assert code == 1
    assert [one["where"] for one in found["problems"]] == ["node"]
    # looked at and accepted, and the file without a row is removed like any other one
    assert command(pair.home, "anchor", "accept", "--reason", "failover of PostgreSQL") == 0
    with opened(pair.home) as node:
        assert node.state_faults() == ()
    with web_client.serve(pair.home) as served:
        assert served.nothing_is_left()


def test_what_a_synchronous_standby_has_not_got_is_not_acknowledged(pair: Pair) -> None:
    """`synchronous_commit` with a standby that is named: whoever was told 201 finds it after the failover."""
    pair.old.postgres.run(
        "ALTER SYSTEM SET synchronous_standby_names = '*'", "SELECT pg_reload_conf()"
    )
    with web_client.serve(pair.home) as served:
        client = served.site("Sealed", SiteMode.ENFORCED)
        published = [client.publish(f"n{number}") for number in range(5)]
        assert {one.status for one in published} == {201}
        pair.old.postgres.component.kill()
        promote(pair.standby)
        in_the_end(lambda: client.publish("after").status == 201)
        assert names(pair.new) == {"after", *(f"n{number}" for number in range(5))}
        assert served.node.state_faults() == ()
