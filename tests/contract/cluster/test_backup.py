"""A backup of a cluster holds what every node has, and opens on a machine that knows nothing (issue 12 D, b14; A-24, A-25)."""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from strongroom.cli.node import start_up
from strongroom.cli.terminal.session import Session, SessionOptions
from strongroom.crypto import age
from strongroom.errors import StateError
from strongroom.node import agent, certificates, joining, key_changes, replacing
from strongroom.repository.rows import SiteMode
from strongroom.services.backups.restore import RestoreService
from tests.contract.cluster.commands import Run, joined, nodes, opened
from tests.contract.cluster.password_lab import root_of
from tests.contract.joining.commands import Said
from tests.support import object_stores, web_client
from tests.support.cluster_services import ClusterServices
from tests.support.control_service import controlled
from tests.support.emulators import Aws
from tests.support.web_client import ADMIN, HYPER, PASSWORD, Served

OTHER = HYPER[:5000]
NAMES_NODE2 = re.compile(
    r"node2 is served: .*tsm maintenance enter --reason restore; then tsm stop on node2;", re.DOTALL
)


@pytest.fixture
def address(server: Aws, tmp_path: Path) -> str:
    return object_stores.bucket(server.url, tmp_path.name.replace("_", "-")).address.text


@pytest.fixture
def identity(tmp_path: Path) -> age.Identity:
    """An identity that is kept elsewhere than any node."""
    made = age.new_identity()
    path = tmp_path / "identity"
    path.write_bytes(made.text.reveal() + b"\n")
    path.chmod(0o600)
    return made


@contextmanager
def two(first: Path, run: Run, second: Path) -> Iterator[tuple[Served, Served]]:
    """Two nodes that serve, each with an extract that it took, in a site that encrypts."""
    with web_client.serve(first) as one:
        joined(one, run, second)
        client = one.site("Sealed", SiteMode.ENFORCED)
        assert client.publish("here").status == 201
        with web_client.serve(second) as other, other.node.coordinator.alive():
            assert other.client("Sealed", ADMIN, PASSWORD).publish("there", OTHER).status == 201
            yield one, other


@contextmanager
def reachable(*homes: Path) -> Iterator[None]:
    """The nodes' control services answer."""
    with ExitStack() as stack:
        for home in homes:
            one = stack.enter_context(controlled(home))
            certificates.service(one.node).follow("os:tests", one.endpoint.text)
        yield


def backed_up(run: Run, home: Path, name: str, *options: str) -> tuple[Said, dict[str, Any]]:
    said = run("tsm", home, "maintenance", "backup", "-f", name, "--json", *options)
    return said, json.loads(said.out) if said.out else {}


def unpacked(path: str, into: Path) -> Path:
    """The entries of a backup, by a foreign tar."""
    into.mkdir()
    subprocess.run(["tar", "-xf", path, "-C", str(into)], check=True)
    return into


def test_a_backup_of_any_node_is_restored_where_nothing_is_left(
    cluster_home: Path,
    run: Run,
    tmp_path: Path,
    address: str,
    identity: age.Identity,
    services: ClusterServices,
) -> None:
    """b14: both logs, all extracts, the configuration; a fresh machine becomes an installation of one, then a cluster."""
    assert run("strongroom", cluster_home, "extracts", "move", "--to", address).code == 0
    second = tmp_path / "two"
    with two(cluster_home, run, second) as (one, other), reachable(cluster_home, second):
        key = "gateway.https.port"
        one.node.configuration.set(key, "9443", actor="os:tests")
        one.node.configuration.apply(actor="os:tests")
        options = ("--recipient", identity.recipient, "--include-settings")
        said, made = backed_up(run, second, "all", *options)
        assert (said.code, made["missing"], made["lost"]) == (0, [], []), said.err
        assert made["extracts"] == 2
        events = [list(each.events.read()) for each in (one.node, other.node)]
    backup = str(tmp_path / "kept.tsbak")
    shutil.move(made["file"], backup)
    found = unpacked(backup, tmp_path / "unpacked")
    logs_are_whole(run, found, events)
    lose_everything(services, cluster_home, second)
    fresh = restored(run, tmp_path / "fresh", backup, identity)
    settings = tmp_path / "settings.age"
    shutil.move(found / "settings.age", settings)
    words = ("settings", "import", "-f", str(settings), "--config-only")
    said = run("tsm", fresh, *words, "--identity", str(tmp_path / "identity"))
    assert said.code == 0, said.out
    assert run("tsm", fresh, "pending-changes", "apply", "--ignore-prompt").code == 0
    assert run("tsm", fresh, "configuration", "get", "-k", key).out == "9443\n"
    said = run("strongroom", fresh, "cluster", "enable", *services.options)
    assert said.code == 0, said.err
    try:
        with web_client.serve(fresh) as served:
            joined(served, run, tmp_path / "another")
            whole(served)
    finally:
        services.empty(installation_of(fresh))


def logs_are_whole(run: Run, found: Path, events: list[list[Mapping[str, object]]]) -> None:
    """Each node's log is there, and verifies where there is no node."""
    nodes = json.loads((found / "nodes.json").read_bytes())["nodes"]
    assert [one["node"] for one in nodes] == ["node1", "node2"]
    for share, known in zip(nodes, events, strict=True):
        log = found / "events" / share["node"] / f"{share['node']}.jsonl"
        lines = [json.loads(line) for line in log.read_bytes().splitlines()]
        assert lines == known[: len(lines)]
        assert len(lines) == share["events"] > 0
        words = ("events", "verify", "--log", str(log), "--key", share["log_key"])
        assert run("strongroom", found / "no node", *words).code == 0


def lose_everything(services: ClusterServices, *homes: Path) -> None:
    """Nothing is left of the cluster: neither its services' data nor a disk."""
    services.empty(installation_of(homes[0]))
    for home in homes:
        shutil.rmtree(home)


def installation_of(home: Path) -> str:
    return root_of(home).rpartition("/")[2]


def restored(run: Run, fresh: Path, backup: str, identity: age.Identity) -> Path:
    """A node that was made on a fresh machine, and has what was in the backup."""
    password = fresh.with_name("password")
    password.write_text(PASSWORD + "\n")
    password.chmod(0o600)
    said = run(
        "strongroom", fresh, "init", "--admin", ADMIN, "--admin-password-file", str(password)
    )
    assert said.code == 0, said.err
    words = ("maintenance", "restore", "-f", backup, "--ignore-prompt")
    said = run("tsm", fresh, *words, "--identity", str(fresh.with_name("identity")))
    assert said.code == 0, said.err
    with web_client.serve(fresh) as served:
        whole(served)
    return fresh


def whole(served: Served) -> None:
    """Every extract has the bytes that were published."""
    client = served.client("Sealed", ADMIN, PASSWORD)
    for name, content in (("here", HYPER), ("there", OTHER)):
        [item] = [
            one.attrib["id"]
            for one in client.on_site("GET", "/datasources").all("datasource")
            if one.attrib["name"] == name
        ]
        assert client.download(item).body == content


def test_what_a_node_does_not_give_is_named(
    cluster_home: Path, run: Run, tmp_path: Path, identity: age.Identity
) -> None:
    """The backup is made, says which node's log it lacks, and ends with a code of its own; so does its check."""
    second = tmp_path / "two"
    with two(cluster_home, run, second):
        said, made = backed_up(run, cluster_home, "part", "--recipient", identity.recipient)
        assert said.code == 43, said.err
        assert "node2: its event log is not in the backup: node2 has no control service" in said.err
        assert "1 extract not on the disk of this node" in said.err
        assert "lost before" not in said.err
        assert len(made["missing"]) == 2
        with reachable(cluster_home, second):
            log = second / "tabsvc" / "events" / "node2.jsonl"
            before = log.read_bytes()
            log.write_bytes(before.replace(b"node2", b"node3", 1))
            said, _ = backed_up(run, cluster_home, "changed")
            log.write_bytes(before)
        assert said.code == 43
        assert "node2: its event log is in the backup, and was changed" in said.err
    said = run("strongroom", cluster_home, "backup", "verify", "part", "--drill")
    assert said.code == 43, said.err
    assert "Node node2: no event log; its event log is not in the backup" in said.out
    assert "Not in the backup: lost, or on the disk of another node: " in said.out


@contextmanager
def cut_off(home: Path) -> Iterator[None]:
    """A node that runs, and has no session until all is over; then it ends, to begin anew (ADR 69)."""
    ended = list[str]()
    with opened(home) as node:
        assert not replacing.was_replaced(node)
        yield
        agent._look_at_membership(
            node, lambda: ended.append("for good"), lambda: ended.append("to begin anew")
        )
    assert ended == ["to begin anew"]


def test_a_restore_in_place_waits_for_nobody_and_all_nodes_follow(
    cluster_home: Path,
    run: Run,
    tmp_path: Path,
    address: str,
    identity: age.Identity,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A-26 in a cluster: every node is off, a node that starts meanwhile is not served, and each opens what is there."""
    assert run("strongroom", cluster_home, "extracts", "move", "--to", address).code == 0
    second = tmp_path / "two"
    restore = ("maintenance", "restore", "-f", "before", "--ignore-prompt")
    with two(cluster_home, run, second) as (one, _):
        # node2 has no control service, so its log is missing
        assert backed_up(run, cluster_home, "before")[0].code == 43
        client = one.client("Sealed", ADMIN, PASSWORD)
        assert client.publish("later").status == 201
        assert client.publish("here", OTHER, query={"overwrite": "true"}).status == 201
        said = run("tsm", cluster_home, *restore)
        assert (said.code, NAMES_NODE2.search(said.err) is not None) == (7, True), said.err
    tried = list[str]()
    stage = RestoreService._stage

    def staged(self: RestoreService, *given: Any) -> None:
        """In the middle of the restore, somebody starts the other node, and a second restore."""
        with pytest.raises(StateError) as caught, Session(SessionOptions(str(second))) as other:
            start_up.check_nobody_replaces(other)
        tried.append(caught.value.message)
        with opened(second) as two, pytest.raises(StateError, match="node1 restores a backup"):
            # it had looked before there was a restore: it is not active by what that throws away
            joining.service(two).tell("os:tests", "")
        tried.append(run("tsm", second, *restore[:2], "-f", made, "--ignore-prompt").err)
        stage(self, *given)

    made = str(cluster_home / "tabsvc" / "files" / "backups" / "before.tsbak")
    with cut_off(second), monkeypatch.context() as patch:
        patch.setattr(RestoreService, "_stage", staged)
        said = run("tsm", cluster_home, *restore)
    assert said.code == 0, said.err
    assert tried[0].startswith("node1 restores a backup")
    assert "restore is locked by" in tried[1]
    assert nodes(run, cluster_home)["node2"]["state"] == "stale"
    with opened(second) as other:
        assert key_changes.prove_if_stale(other) == ""
    with web_client.serve(second) as served:
        whole(served)
        names = served.client("Sealed", ADMIN, PASSWORD).on_site("GET", "/datasources")
        assert b"later" not in names.body
        assert served.node.state_faults() == ()
    assert nodes(run, cluster_home)["node2"]["state"] == "active"
    with web_client.serve(cluster_home) as served:
        whole(served)


class Killed(BaseException):
    """The end of the process, at a step."""


STEPS = ("_stage", "_take_keys", "_look_for_lost", "_switch", "_remove")


def killed_at_each_step(run: Run, home: Path) -> None:
    """After each kill the rows are the old ones whole, until the switch, and the new ones whole after it."""
    for step in STEPS:

        def end(*_: object) -> None:
            raise Killed

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(RestoreService, step, end)
            with pytest.raises(Killed):
                run("tsm", home, "maintenance", "restore", "-f", "before", "--ignore-prompt")
        with opened(home) as node:
            assert node.state_faults() == ()
            assert node.kms_store.prove().problems == ()
            with node.repository.reading() as tx:
                keys = tx.contents.storage_keys()
            assert len(keys) == (1 if step == "_remove" else 2)
            assert node.stored_files.recover() >= 0
            assert set(node.files.list()) == keys
    said = run("tsm", home, "maintenance", "restore", "-f", "before", "--ignore-prompt")
    assert said.code == 0, said.err


def test_a_restore_that_lost_its_lock_changes_no_row(
    cluster_home: Path,
    run: Run,
    address: str,
    services: ClusterServices,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whoever was paused is late: another node may be served by then. A kill at any step leaves old rows or new ones."""
    assert run("strongroom", cluster_home, "extracts", "move", "--to", address).code == 0
    with web_client.serve(cluster_home) as one:
        client = one.site("Sealed", SiteMode.ENFORCED)
        assert client.publish("here").status == 201
        assert backed_up(run, cluster_home, "before")[0].code == 0
        assert client.publish("there", OTHER).status == 201
    look = RestoreService._look_for_lost

    def paused(self: RestoreService, *given: Any) -> None:
        """Another one takes the lock: its number rises."""
        with services.ensemble.judge() as client:
            client.set(f"{root_of(cluster_home)}/locks/restore/epoch", b"node2")
        look(self, *given)

    with monkeypatch.context() as patch:
        patch.setattr(RestoreService, "_look_for_lost", paused)
        said = run("tsm", cluster_home, "maintenance", "restore", "-f", "before", "--ignore-prompt")
    assert said.code == 6
    assert "the lock 'restore' is no longer held" in said.err
    with web_client.serve(cluster_home) as served:
        whole(served)
    killed_at_each_step(run, cluster_home)
