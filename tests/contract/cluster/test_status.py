"""`strongroom cluster status`: each service as it is now, and nothing that is only remembered (issue 11 F, matrix 2, 16, 42)."""

import json
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from strongroom.coordination.base import Change
from strongroom.coordination.zookeeper import probing
from strongroom.coordination.zookeeper.coordinator import ZookeeperCoordinator
from strongroom.node import cluster_status
from strongroom.repository import looking
from strongroom.repository.revision import REVISION
from strongroom.services.nodes.standing import SKEW_S
from strongroom.system.hosts import Endpoint
from tests.contract.cluster.test_enable import command, opened
from tests.support.cluster_services import ClusterServices
from tests.support.links import Mode

Said = pytest.CaptureFixture[str]
MOST_S = 2 * cluster_status.LIMIT_S + 5
"""What the page promises, and the start of the command."""


def status(home: Path, capsys: Said) -> tuple[int, dict[str, Any]]:
    begun = time.monotonic()
    code = command(home, "cluster", "status", "--json")
    assert time.monotonic() - begun < MOST_S
    found = json.loads(capsys.readouterr().out)
    assert found.keys() == {
        *("ok", "zookeeper", "postgres", "object_stores", "node", "nodes", "problems")
    }
    assert found["ok"] == (code == 0) == (not found["problems"])
    return code, found


@pytest.fixture
def mended(services: ClusterServices) -> Iterator[ClusterServices]:
    yield services
    services.ensemble.mend()
    services.postgres.component.ensure_running()


def test_all_is_well(home: Path, services: ClusterServices, capsys: Said) -> None:
    with opened(home) as node:
        node.coordinator.put({"journal/rotation/one": Change(b"{}", 0)})
    code, found = status(home, capsys)
    assert (code, found["problems"]) == (0, [])
    zookeeper = found["zookeeper"]
    assert zookeeper.keys() == {"connected", "quorum", "session", "servers"}
    assert zookeeper["connected"]
    assert zookeeper["quorum"]
    assert int(zookeeper["session"], 16)
    assert sorted(one["role"] for one in zookeeper["servers"]) == ["follower", "follower", "leader"]
    for one, name in zip(zookeeper["servers"], services.hosts.split(","), strict=True):
        assert one["server"] == name
        assert one["reachable"]
        assert one["tls"]
        assert one["version"].startswith("3.")
        assert one["problem"] is None
    database = found["postgres"]
    assert database.keys() == {
        *("reachable", "version", "writable", "schema", "connections", "clock_skew_s")
    }
    assert database["reachable"]
    assert database["writable"]
    assert database["schema"] == REVISION
    assert 0 < database["connections"]["used"] < database["connections"]["limit"]
    assert abs(database["clock_skew_s"]) < 5
    with opened(home) as node:
        version = node.configuration.document().version
    assert found["node"]["id"] == "node1"
    assert found["node"]["configuration"] == version
    assert found["node"]["anchor"] > 0
    assert found["node"]["incarnation"] is None
    assert found["nodes"] == [{"id": "node1", "serving": False}]
    assert found["object_stores"] == []


def test_for_people(home: Path, capsys: Said) -> None:
    assert command(home, "cluster", "status") == 0
    said = capsys.readouterr()
    assert "a quorum, 3 of 3 servers serve" in said.out
    assert ": leader, 3." in said.out
    assert f"writable, schema {REVISION}" in said.out
    assert "Extracts: on the disk of each node" in said.out
    assert "Nodes: node1 is not served" in said.out
    assert said.err == ""


def test_nodes_are_those_of_the_registry_and_those_that_live(home: Path, capsys: Said) -> None:
    with opened(home) as node:
        for name in ("node2", "node3"):
            node.coordinator.put({f"topology/nodes/{name}": Change(b"{}", 0)})
        assert node.outside is not None
        settings = replace(node.outside.zookeeper_settings(), node_id="node3")
        with closing(ZookeeperCoordinator(settings)) as other, other.alive():
            _, found = status(home, capsys)
    assert found["nodes"] == [
        {"id": "node1", "serving": False},
        {"id": "node2", "serving": None},
        {"id": "node3", "serving": True},
    ]


def test_a_single_node_is_told_what_to_do(node_dir: Path, capsys: Said) -> None:
    assert command(node_dir, "cluster", "status") == 7
    said = capsys.readouterr()
    assert said.out == ""
    assert "its services are embedded" in said.err
    assert "cluster enable" in said.err


def test_one_server_of_three_is_down(home: Path, mended: ClusterServices, capsys: Said) -> None:
    """The services serve, so nothing is refused; and the exit code says that something is not as it should be."""
    gone = mended.ensemble.servers[1]
    gone.component.kill()
    until = time.monotonic() + 60
    code, found = status(home, capsys)
    while (
        len(found["problems"]) > 1 and time.monotonic() < until
    ):  # the others elect, if it was the leader
        time.sleep(0.5)
        code, found = status(home, capsys)
    assert code == 1
    name = f"localhost:{gone.link.port}"
    [problem] = found["problems"]
    assert problem["where"] == f"zookeeper {name}"
    assert found["zookeeper"]["quorum"]
    assert [one["reachable"] for one in found["zookeeper"]["servers"]] == [True, False, True]
    assert found["node"]["configuration"] > 0
    assert command(home, "cluster", "status") == 1
    said = capsys.readouterr()
    assert f"zookeeper {name}: no connection" in said.err
    assert f"{name}: -, -, -" in said.out


def test_without_a_quorum_nothing_remembered_is_shown(
    home: Path, mended: ClusterServices, capsys: Said
) -> None:
    """Matrix 2: exit code 40."""
    for one in mended.ensemble.servers[:2]:
        one.component.kill()
    time.sleep(2)  # the third notices that it is alone
    code, found = status(home, capsys)
    assert code == 40
    assert not found["zookeeper"]["connected"]
    assert not found["zookeeper"]["quorum"]
    assert found["zookeeper"]["session"] is None
    assert [one["role"] for one in found["zookeeper"]["servers"]] == [None] * 3
    assert found["zookeeper"]["servers"][2]["problem"] == "runs, and is in no quorum"
    assert found["node"]["configuration"] is None
    assert found["nodes"] is None
    assert found["object_stores"] is None
    assert found["postgres"]["writable"]
    assert command(home, "cluster", "status") == 40
    said = capsys.readouterr()
    assert "no session, no quorum, 0 of 3 servers serve" in said.out
    assert "configuration not known now" in said.out
    assert "Extracts: not known now" in said.out
    assert "Nodes: not known now" in said.out


@pytest.mark.parametrize("mode", [Mode.REFUSE, Mode.LOSE_ALL, Mode.LOSE_ANSWERS])
def test_a_node_that_is_cut_off_does_not_hang(
    mode: Mode, home: Path, mended: ClusterServices, capsys: Said
) -> None:
    for link in mended.ensemble.links():
        link.become(mode)
        link.cut()
    code, found = status(home, capsys)
    assert code == 40
    assert [one["reachable"] for one in found["zookeeper"]["servers"]] == [False] * 3
    assert found["nodes"] is None


def test_postgres_is_down(home: Path, mended: ClusterServices, capsys: Said) -> None:
    mended.postgres.component.kill()
    code, found = status(home, capsys)
    assert code == 41
    assert found["zookeeper"]["connected"]
    assert found["postgres"] == {
        "reachable": False,
        "version": None,
        "writable": None,
        "schema": None,
        "connections": {"used": None, "limit": None},
        "clock_skew_s": None,
    }
    assert found["node"]["anchor"] is None
    assert command(home, "cluster", "status") == 41
    assert "PostgreSQL: no connection" in capsys.readouterr().out


def test_postgres_that_only_reads(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: Said
) -> None:
    state = str(looking._STATE)
    monkeypatch.setattr(looking, "_STATE", text(state.replace("pg_is_in_recovery()", "true")))
    code, found = status(home, capsys)
    assert code == 41
    assert not found["postgres"]["writable"]
    assert found["problems"] == [{"where": "postgres", "problem": "this server only reads"}]


@pytest.mark.parametrize(
    ("statement", "words"),
    [
        ("UPDATE schema_version SET revision = '0009'", "the tables are of 0009"),
        ("DROP TABLE schema_version", "there are no tables of strongroom"),
    ],
)
def test_tables_of_another_version(
    statement: str, words: str, home: Path, services: ClusterServices, capsys: Said
) -> None:
    services.query(statement)
    code, found = status(home, capsys)
    assert code == 41
    assert words in found["problems"][0]["problem"]


def test_a_clock_that_differs(home: Path) -> None:
    with opened(home) as node:
        found = cluster_status.look(node, lambda: time.time() - 2 * SKEW_S)
    assert found.exit_code == 1
    [problem] = found.problems
    assert problem.where == "postgres"
    assert "clock differs from this machine's by" in problem.words


def test_what_was_put_back_is_told(home: Path, services: ClusterServices, capsys: Said) -> None:
    with opened(home) as node:
        node.coordinator.put({"journal/rotation/one": Change(b"{}", 0)})
    services.query("UPDATE marks SET value = 'no base64' WHERE name = 'anchor'")
    code, found = status(home, capsys)
    assert code == 1
    assert {one["where"] for one in found["problems"]} == {"node"}
    assert found["node"]["anchor"] is None


def test_a_password_that_no_service_takes_any_more(
    home: Path, services: ClusterServices, capsys: Said
) -> None:
    services.query(f"ALTER ROLE {services.database} PASSWORD NULL")
    code, found = status(home, capsys)
    assert code == 41
    assert "password" in found["problems"][0]["problem"]


def test_a_tree_that_is_not_there(home: Path, services: ClusterServices, capsys: Said) -> None:
    with opened(home) as node:
        installation = node.claimed_installation()
    services.empty(installation)
    code, found = status(home, capsys)
    assert code == 40
    assert found["zookeeper"]["quorum"]
    assert "there is no tree /strongroom/" in found["problems"][0]["problem"]


def test_a_server_that_does_not_tell_its_role(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: Said
) -> None:
    def silent(_server: Endpoint, _context: object) -> bytes:
        return b"srvr is not executed because it is not in the whitelist.\n"

    monkeypatch.setattr(probing, "asked", silent)
    code, found = status(home, capsys)
    assert code == 1
    assert {one["problem"] for one in found["problems"]} == {"does not tell its role"}


def test_a_certificate_that_is_gone(
    home: Path, services: ClusterServices, monkeypatch: pytest.MonkeyPatch, capsys: Said
) -> None:
    path = services.ensemble.folder / "client.pem"
    kept = path.read_bytes()
    path.unlink()
    try:
        code, found = status(home, capsys)
    finally:
        path.write_bytes(kept)
        path.chmod(0o600)
    assert code == 40
    assert "cannot be read" in found["zookeeper"]["servers"][0]["problem"]


def test_a_service_that_hangs_is_not_waited_for(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: Said
) -> None:
    monkeypatch.setattr(cluster_status, "LIMIT_S", 1.0)
    monkeypatch.setattr(looking, "look", lambda *_: time.sleep(60))
    code, found = status(home, capsys)
    assert code == 41
    assert {one["problem"] for one in found["problems"]} >= {"no answer within 1 s"}
