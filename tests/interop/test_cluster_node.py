"""A served node on ZooKeeper and PostgreSQL, used by the real tabcmd (issue 11 B)."""

from collections.abc import Iterator

import pytest

from strongroom.cluster.services_file import POSTGRES, ZOOKEEPER
from tests.contract.cluster.password_lab import passwords, root_of
from tests.support.cluster_services import ClusterServices, make_cluster_services
from tests.support.components.postgres import Postgres
from tests.support.components.zookeeper_ensemble import Ensemble
from tests.support.servers import TestNode, create_node, serving

pytestmark = pytest.mark.interop
MARK = b"PLAINTEXT-OF-AN-EXTRACT"
HYPER = b"Hyper\x08\x00\x00\x01\x00\x02\x00" + MARK * 5_000


@pytest.fixture(scope="module")
def services(
    ensemble: Ensemble, postgres: Postgres, tmp_path_factory: pytest.TempPathFactory
) -> ClusterServices:
    return make_cluster_services(ensemble, postgres, tmp_path_factory.mktemp("services"))


@pytest.fixture(scope="module")
def node(services: ClusterServices, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestNode]:
    """A node that had content when it was brought to its cluster, and is served since."""
    made = create_node(tmp_path_factory.mktemp("cluster"))
    made.run("strongroom", "sites", "set-mode", "Default", "enforced")
    (made.folder / "before.hyper").write_bytes(HYPER)
    with serving(made):
        made.login()
        made.tabcmd("publish", "before.hyper", "-n", "Before")
    made.run("strongroom", "cluster", "enable", *services.options)
    installation = root_of(made.home).rpartition("/")[2]
    with serving(made):
        yield made
    services.empty(installation)


def test_what_was_published_before_is_read(node: TestNode) -> None:
    node.login()
    node.tabcmd("get", "/datasources/Before.tdsx", "-f", node.folder / "back.tdsx")
    assert (node.folder / "back.hyper").read_bytes() == HYPER


def test_keys_rotate_jobs_run_and_a_backup_is_made(
    node: TestNode, services: ClusterServices
) -> None:
    """Each by its command, beside the server: the commands and two processes share the services."""
    node.login()
    (node.folder / "after.hyper").write_bytes(HYPER)
    node.tabcmd("publish", "after.hyper", "-n", "After")
    node.run("tsm", "security", "kms", "rotate")
    node.run("tsm", "security", "regenerate-internal-tokens")
    job = node.run(
        "strongroom", "extracts", "reencrypt", "--site", "Default", "--wait", "--json"
    ).json
    assert job["state"] == "succeeded"
    assert services.query("SELECT count(*) FROM jobs WHERE state = 'succeeded'")[0][0] >= 1
    node.run("strongroom", "backup", "make", "-f", "made")
    node.run("strongroom", "backup", "verify", "made.tsbak", "--drill")
    node.login()
    node.tabcmd("get", "/datasources/After.tdsx", "-f", node.folder / "after-back.tdsx")
    assert (node.folder / "after-back.hyper").read_bytes() == HYPER
    assert node.run("tsm", "security", "kms", "status").out.startswith("Status: OK")
    assert node.run("strongroom", "cluster", "check", "--json").json["ok"]
    assert node.run("strongroom", "events", "verify").code == 0


def test_the_passwords_of_the_services_change_beside_the_server(
    node: TestNode, services: ClusterServices
) -> None:
    """The web service, the backgrounder and its job engine go on, with the connections that they have and with new ones."""
    for _ in range(2):
        for name in ("postgres", "zookeeper"):
            node.run("strongroom", "cluster", "rotate-password", name)
    services.query(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        f" WHERE usename = '{services.database}'"
    )
    node.login()
    (node.folder / "changed.hyper").write_bytes(HYPER)
    node.tabcmd("publish", "changed.hyper", "-n", "Changed")
    reencrypt = ("strongroom", "extracts", "reencrypt", "--site", "Default", "--wait", "--json")
    assert node.run(*reencrypt).json["state"] == "succeeded"
    found = node.run("strongroom", "cluster", "status", "--json").json
    assert found["ok"]
    assert found["nodes"] == [{"id": "node1", "serving": True}]


def test_no_password_is_in_a_file_of_the_node(node: TestNode, services: ClusterServices) -> None:
    """E1, for the passwords of the services: files of the node, and what its processes were started with."""
    names = (ZOOKEEPER, POSTGRES)
    secrets = [(services.folder / f"{name}-password").read_bytes().strip() for name in names]
    secrets += [passwords(node.home, name).present.reveal() for name in names]
    found = [
        path
        for path in node.home.rglob("*")
        if path.is_file() and any(secret in path.read_bytes() for secret in secrets)
    ]
    assert found == []
