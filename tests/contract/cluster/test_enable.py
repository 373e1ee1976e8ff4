"""`strongroom cluster enable`: nothing is lost on the way, nothing is in force before everything is (issue 11 B)."""

import shutil
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from strongroom.cli import dispatch
from strongroom.cluster import enabling, services_file
from strongroom.coordination.base import Change
from strongroom.coordination.zookeeper.coordinator import ZookeeperCoordinator
from strongroom.errors import CoordinationError, StorageError
from strongroom.eventlog.events import node_events
from strongroom.node import cluster, opening
from strongroom.node.opening import Node
from strongroom.repository.unit_of_work import Repository
from tests.support import backups
from tests.support.cluster_services import ROLE_PASSWORD, ClusterServices
from tests.support.components.zookeeper_ensemble import PASSWORD

Said = pytest.CaptureFixture[str]
CONTENT = bytes(range(256)) * 300
_ANCHORS = ("anchor", "anchor.logs")


def command(home: Path, *words: str) -> int:
    return dispatch.main("strongroom", [*words, "--data-dir", str(home)])


def enable(home: Path, services: ClusterServices, *more: str) -> int:
    return command(home, "cluster", "enable", *services.options, *more)


@contextmanager
def opened(home: Path) -> Iterator[Node]:
    with closing(opening.open_node(str(home))) as node:
        yield node


def all_rows(node: Node) -> dict[str, Any]:
    """Every row but the marks that each transaction, or each put, writes anew."""
    with node.repository.reading() as tx:
        found = {name: list(tx.whole.rows(name)) for name in tx.whole.names()}
    found["marks"] = [row for row in found["marks"] if row["name"] not in _ANCHORS]
    return found


def embedded(home: Path) -> bool:
    """Whether the node is a whole single one, and works."""
    with opened(home) as node:
        with node.repository.transaction() as tx:
            tx.marks.set("a test's", "mark")
        assert node.kms_store.prove().problems == ()
        return node.outside is None


def write_under(node: Node, epoch: int) -> None:
    """Write as the controller of an epoch does."""
    with node.repository.fenced("controller", epoch), node.repository.transaction():
        pass


def test_everything_arrives_as_it_was(
    node: Node, node_dir: Path, services: ClusterServices, capsys: Said
) -> None:
    """Entries byte by byte at their versions, rows with all columns; secrets and extracts open as before."""
    backups.publish(node, "one", CONTENT)
    for number in range(5):
        node.configuration.set("gateway.https.port", str(8000 + number), actor="os:tests")
        node.configuration.apply(actor="os:tests")
    entries, rows = dict(node.entry_store.list("")), all_rows(node)
    assert entries["config"].version > 5
    # a node that was started five hundred times: ZooKeeper counts the holders of that lock from one
    write_under(node, 500)
    secret = node.configuration.open_secret("redis.password").reveal()
    installation = node.claimed_installation()
    node.close()
    assert enable(node_dir, services) == 0
    assert f"Entries for ZooKeeper: {len(entries)}" in capsys.readouterr().out

    with opened(node_dir) as moved:
        assert moved.outside is not None
        arrived = dict(moved.entry_store.list(""))
        # the node is registered, and names the key of its log, by puts of its own, once all has arrived
        assert arrived.pop("topology/nodes/node1").version == 2
        assert arrived.pop("anchor").version == entries.pop("anchor").version + 2
        assert arrived == entries
        assert all_rows(moved) == rows
        assert moved.configuration.open_secret("redis.password").reveal() == secret
        assert moved.kms_store.prove().problems == ()
        assert backups.contents(moved) == {"one": CONTENT}
        write_under(moved, 1)
        [told] = list(moved.events.history(node_events.CLUSTER_ENABLED))
        assert told["details"]["zookeeper"] == services.hosts  # type: ignore[index]
        assert moved.events.verify().is_whole
        assert moved.event_log_faults() == ()
    with services.ensemble.judge() as client:
        assert client.exists(f"/strongroom/{installation}/arriving") is None
        [acl] = client.get_acls(f"/strongroom/{installation}/kv/config")[0]
        assert acl.id.id.startswith("tsm:")
    assert services.query("SELECT count(*) FROM marks WHERE name = 'arriving'") == [(0,)]
    names = {path.name for path in node_dir.rglob("*.before-cluster*")}
    assert names == {"coordination.db.before-cluster", "repository.db.before-cluster"}
    assert not (node_dir / "tabsvc" / "enabling.json").exists()
    stored = (node_dir / "tabsvc" / "addresses.json").read_text()
    assert PASSWORD not in stored
    assert ROLE_PASSWORD not in stored
    assert enable(node_dir, services) == 7
    assert "one of a cluster already" in capsys.readouterr().err


def test_a_large_document_and_many_versions_arrive(node: Node, services: ClusterServices) -> None:
    """An entry beyond 16 KiB goes in chunks, and thousands of versions in a few requests."""
    with node.repository.reading() as tx:
        assert tx.sites.page().rows
    large = bytes(range(256)) * 2500
    node.coordinator.put({"journal/rotation/large": Change(large, 0)})
    for version in range(3):
        node.coordinator.put({"journal/rotation/often": Change(b"%d" % version, version)})
    found = dict(node.entry_store.list(""))
    often = found["journal/rotation/often"]
    many = found | {"journal/rotation/often": often._replace(version=5000)}
    run = "6f9e0c52-6d0a-4f0c-9d83-3f8f7a3a2a11"
    given = services.given.services(node.claimed_installation(), run)
    settings = services.given.zookeeper_settings(given, node.paths, "a test")
    with closing(ZookeeperCoordinator(settings)) as target:
        for _ in range(2):  # the same attempt may begin anew
            target.bring(run, many)
            assert dict(target.list("")) == many
        target.end_arrival(run)


def test_a_dry_run_says_how_much_there_is_and_changes_nothing(
    node: Node, node_dir: Path, services: ClusterServices, capsys: Said
) -> None:
    installation = node.claimed_installation()
    assert enable(node_dir, services, "--dry-run") == 0
    said = capsys.readouterr()
    assert "Entries for ZooKeeper: " in said.out
    assert "Rows for PostgreSQL: " in said.out
    assert "nothing was changed" in said.err
    assert embedded(node_dir)
    with services.ensemble.judge() as client:
        assert client.exists(f"/strongroom/{installation}") is None
    assert services.query("SELECT * FROM pg_tables WHERE schemaname = 'public'") == []


def test_a_served_node_is_refused(
    node: Node, node_dir: Path, services: ClusterServices, capsys: Said
) -> None:
    with node.sole_worker.hold():
        assert enable(node_dir, services) == 7
    assert "stop 'strongroom serve'" in capsys.readouterr().err
    assert embedded(node_dir)


def test_a_command_at_work_is_waited_for_and_refused(
    node: Node, node_dir: Path, services: ClusterServices
) -> None:
    with node.coordinator.lock("kms", wait_s=0):
        assert enable(node_dir, services) == 6
    assert embedded(node_dir)


@pytest.mark.parametrize("service", ["zookeeper", "postgres"])
def test_services_that_are_in_use_are_refused(
    service: str, node_dir: Path, services: ClusterServices, capsys: Said, tmp_path: Path
) -> None:
    """A copy of a node that is in a cluster would be the same node twice."""
    copy = Path(shutil.copytree(node_dir, tmp_path / "copy"))
    assert enable(node_dir, services) == 0
    if service == "postgres":
        with opened(copy) as node:
            installation = node.claimed_installation()
        with services.ensemble.judge() as client:
            client.delete(f"/strongroom/{installation}", recursive=True)
    assert enable(copy, services) == 6
    assert "installation in" in capsys.readouterr().err
    assert embedded(copy)


def test_another_attempt_that_has_not_ended_is_left_alone(
    node_dir: Path,
    services: ClusterServices,
    capsys: Said,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Only the attempt that brought something may remove it."""
    copy = Path(shutil.copytree(node_dir, tmp_path / "copy"))

    def refuse(*_: object) -> None:
        raise StorageError("the disk is broken")

    with monkeypatch.context() as patched:
        patched.setattr(services_file, "write", refuse)
        assert enable(node_dir, services) == 41
    assert embedded(node_dir)
    assert enable(copy, services) == 6
    assert "another attempt" in capsys.readouterr().err
    assert not (copy / "tabsvc" / "enabling.json").exists()
    assert enable(node_dir, services) == 0


@pytest.mark.parametrize("step", ["bring", "replace", "commit", "finish"])
def test_what_fails_on_the_way_is_in_force_not_at_all_or_wholly(
    step: str, node_dir: Path, services: ClusterServices, monkeypatch: pytest.MonkeyPatch
) -> None:
    with opened(node_dir) as node:
        backups.publish(node, "one", CONTENT)
        rows = all_rows(node)

    def fail(*_: object, **__: object) -> None:
        raise CoordinationError("the network is gone")

    with monkeypatch.context() as patched:
        if step == "bring":
            patched.setattr(ZookeeperCoordinator, "bring", fail)
        elif step == "replace":
            patched.setattr(Repository, "ensure_schema", _failing(Repository.ensure_schema))
        elif step == "commit":
            patched.setattr(services_file, "write", fail)
        else:
            patched.setattr(cluster, "finish", fail)
        assert enable(node_dir, services) == 40
    if step == "finish":
        assert not embedded(node_dir)
        with opened(node_dir) as node:
            assert node.outside is not None
            assert enabling.find(node.paths.enabling) is not None
    else:
        assert embedded(node_dir)
    assert enable(node_dir, services) == 0
    with opened(node_dir) as node:
        found = all_rows(node)
        assert found.pop("kms_proofs")
        found["marks"] = [row for row in found["marks"] if row["name"] != "a test's"]
        assert found == {name: rows[name] for name in found}
        assert backups.contents(node) == {"one": CONTENT}
        assert len(list(node.events.history(node_events.CLUSTER_ENABLED))) == 1
        node.coordinator.put({})
        assert (*node.state_faults(), *node.event_log_faults()) == ()
    assert not (node_dir / "tabsvc" / "enabling.json").exists()


def test_the_next_start_of_the_server_does_what_is_left(
    node_dir: Path, services: ClusterServices, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever does not run the command again has the event all the same."""

    def fail(*_: object) -> None:
        raise CoordinationError("the network is gone")

    with monkeypatch.context() as patched:
        patched.setattr(cluster, "finish", fail)
        assert enable(node_dir, services) == 40
    with opened(node_dir) as node:
        assert cluster.finish_at_start(node)
        assert len(list(node.events.history(node_events.CLUSTER_ENABLED))) == 1
        assert not cluster.finish_at_start(node)
    assert not (node_dir / "tabsvc" / "coordination" / "coordination.db").exists()


def test_a_start_leaves_a_move_alone_that_is_not_in_force(
    node_dir: Path, services: ClusterServices, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise StorageError("the disk is broken")

    with monkeypatch.context() as patched:
        patched.setattr(services_file, "write", refuse)
        assert enable(node_dir, services) == 41
    with opened(node_dir) as node:
        assert not cluster.finish_at_start(node)
    assert embedded(node_dir)


def _failing(original: Any) -> Any:
    def ensure_schema(repository: Repository) -> None:
        if "postgresql" in str(repository._url):
            raise CoordinationError("the network is gone")
        original(repository)

    return ensure_schema


def test_a_process_that_knew_the_single_node_cannot_write_there_any_more(
    node: Node, node_dir: Path, services: ClusterServices
) -> None:
    """What it wrote would be in no database that anybody reads."""
    with node.repository.reading() as tx:
        assert tx.sites.page().rows
    version = node.entry_store.version("config")
    assert enable(node_dir, services) == 0
    with (
        pytest.raises(StorageError, match="one of a cluster now"),
        node.repository.transaction() as tx,
    ):
        tx.marks.set("a late", "mark")
    with pytest.raises(CoordinationError, match="one of a cluster now"):
        node.entry_store.put({"late": Change(b"entry", 0)})
    assert node.entry_store.version("config") == version


def test_an_interrupted_regeneration_is_finished_first(
    node: Node, node_dir: Path, services: ClusterServices, capsys: Said
) -> None:
    node.coordinator.put({"journal/regenerate": Change(b"{}", 0)})
    assert enable(node_dir, services) == 7
    assert "tsm security regenerate-internal-tokens" in capsys.readouterr().err


def test_an_address_with_a_password_is_refused(
    node_dir: Path, services: ClusterServices, capsys: Said
) -> None:
    with_password = services.with_changes(postgres=f"{services.dsn} password=secret")
    assert enable(node_dir, with_password) == 2
    assert "secret" not in capsys.readouterr().err
    without_name = services.with_changes(postgres="host=db dbname=x")
    assert enable(node_dir, without_name) == 2
    assert "does not say its user" in capsys.readouterr().err
    assert command(node_dir, "cluster", "enable", "--zookeeper", "zk:2281") == 2
    assert "--postgres-password-file is needed" in capsys.readouterr().err
    assert command(node_dir, "cluster", "enable") == 2
    assert embedded(node_dir)
