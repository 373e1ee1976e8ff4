"""A node on ZooKeeper and PostgreSQL does what a single one does (issue 11 B)."""

import shutil
import time
from itertools import count
from pathlib import Path

import pytest

from strongroom.backgrounder import worker
from strongroom.cli import dispatch
from strongroom.cluster import services_file
from strongroom.coordination.zookeeper.session import Request, Session
from strongroom.coordination.zookeeper.settings import Deadline
from strongroom.errors import ConflictError, CoordinationError, StateError, StorageError
from strongroom.eventlog.events import secret_events
from strongroom.jobs.model import JobKind, JobState
from strongroom.repository.rows import SiteMode
from strongroom.services.keys import stored
from tests.contract.cluster.test_enable import CONTENT, command, opened
from tests.support import backups, forked, servers, web_client
from tests.support.cluster_services import ClusterServices
from tests.support.links import Mode

Said = pytest.CaptureFixture[str]


def test_it_publishes_and_serves_extracts(home: Path) -> None:
    with web_client.serve(home) as served:
        client = served.site("Sales", SiteMode.ENFORCED)
        content = web_client.HYPER + CONTENT
        made = client.publish("one", content)
        assert made.status == 201
        item = made.find("datasource").attrib["id"]
        assert client.download(item).body == content
        [stored] = served.stored
        assert CONTENT not in stored.read_bytes()


def test_it_rotates_its_keys_and_runs_jobs(home: Path, services: ClusterServices) -> None:
    """The job engine keeps its own tables, in a schema of its own."""
    with opened(home) as node:
        row = backups.publish(node, "one", CONTENT)
        before = row.mek_id
        node.meks.rotate("os:tests")
        job = node.jobs.enqueue(JobKind.REWRAP, row.site_id, actor="os:tests")
        assert worker.run_until_done(node, job.id, give_up=lambda _: False)
        done = node.jobs.show(job.id)
        assert JobState(done.state) is JobState.SUCCEEDED
        with node.repository.reading() as tx:
            after = tx.contents.get(row.id)
        assert after.mek_id != before
        assert backups.contents(node) == {"one": CONTENT}
        assert node.kms_store.prove().problems == ()
    found = services.query(
        "SELECT DISTINCT schemaname FROM pg_tables WHERE tablename LIKE 'workflow%'"
    )
    assert found == [("strongroom_jobs",)]
    assert not (home / "tabsvc" / "repository" / "workflows.db").exists()


def test_its_passwords_follow_the_configuration_key(home: Path, services: ClusterServices) -> None:
    """a2-19: the node opens its coordination service by a key whose successor the configuration names."""
    with opened(home) as node:
        assert node.outside is not None
        [before] = node.outside.key_ids()
        node.regenerate.run("os:tests", lambda _: None, ["keys"])
        sealed = [
            record["details"]
            for record in node.events.history(secret_events.SECRET_ENCRYPTED)
            if str(record["details"]["parameter"]).startswith("services.")  # type: ignore[index]
        ]
    with opened(home) as node:
        assert node.outside is not None
        [after] = node.outside.key_ids()
        assert after != before
        assert after == node.configuration.document().configuration_key_id
        assert before not in node.present_keys().present.ids
        assert node.kms_store.prove().problems == ()
    assert {one["parameter"] for one in sealed} == {"services.postgres", "services.zookeeper"}  # type: ignore[index]
    assert command(home, "cluster", "check") == 0
    assert services.query("SELECT 1") == [(1,)]


def test_a_regeneration_that_was_killed_is_finished(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between any two of its steps the node opens its services: by the old key, or by the new one."""
    from strongroom.services.keys.regenerate import RegenerateService

    class KilledError(BaseException):
        pass

    def killed(*_: object) -> None:
        raise KilledError

    steps = ("_add_configuration_key", "_replace_values", "_project", "_retire_configuration_key")
    for step in (*steps, "_retire_master_keys"):
        with monkeypatch.context() as patched, opened(home) as node:
            patched.setattr(RegenerateService, step, killed)
            with pytest.raises(KilledError):
                node.regenerate.run("os:tests", lambda _: None, ["keys"])
        with opened(home) as node:
            assert node.configuration.open_secret("redis.password").reveal()
            with node.repository.reading() as tx:
                assert tx.sites.page().rows
    with opened(home) as node:
        node.regenerate.run("os:tests", lambda _: None, ["keys"])
    with opened(home) as node:
        assert node.kms_store.prove().problems == ()


def test_it_is_backed_up_and_restored(home: Path, tmp_path: Path) -> None:
    with opened(home) as node:
        backups.publish(node, "one", CONTENT)
        path = tmp_path / "made.tsbak"
        backups.make(node, path)
        backups.publish(node, "two", b"later")
        backups.restore(node, path)
        assert backups.contents(node) == {"one": CONTENT}


def test_a_backup_of_it_is_restored_on_a_single_node(
    home: Path, pristine_node: Path, tmp_path: Path
) -> None:
    import shutil

    single = Path(shutil.copytree(pristine_node, tmp_path / "single"))
    path = tmp_path / "made.tsbak"
    with opened(home) as node:
        backups.publish(node, "one", CONTENT)
        backups.make(node, path)
    with opened(single) as node:
        backups.restore(node, path)
        assert backups.contents(node) == {"one": CONTENT}


def test_every_command_works_on_it(home: Path, capsys: Said) -> None:
    for words in (
        ("sites", "list"),
        ("sites", "create", "Sales", "--mode", "enforced"),
        ("users", "list"),
        ("jobs", "list"),
        ("events", "verify"),
        ("extracts", "list", "--site", "Sales"),
    ):
        assert command(home, *words) == 0, words
    for tsm in (
        ("configuration", "get", "-k", "redis.password"),
        ("configuration", "set", "-k", "backgrounder.extracts.concurrency", "-v", "2"),
        ("pending-changes", "apply", "--ignore-prompt"),
        ("security", "kms", "status", "--local-only"),
        ("security", "kms", "rotate"),
        ("status", "--local-only"),
    ):
        assert dispatch.main("tsm", [*tsm, "--data-dir", str(home)]) == 0, tsm
    assert "Sales" in capsys.readouterr().out


def test_data_keys_cost_no_request(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """E14: each cost a round trip to ZooKeeper, and each transaction of the repository one more."""
    sent: list[object] = []
    with opened(home) as node:
        backups.publish(node, "zero", CONTENT)
        send = Session.send

        def counted(session: Session, request: Request, deadline: Deadline) -> object:
            sent.append(request)
            return send(session, request, deadline)

        monkeypatch.setattr(Session, "send", counted)
        # the anchor of the event log is renewed once a second, by the settings as they are then
        node.log_anchor._renewed_at = time.monotonic() + 60
        for number in range(20):
            backups.publish(node, f"one{number}", CONTENT)
        assert len(backups.contents(node)) == 21
    assert len(sent) <= 2, "the watch itself may have looked"


def test_a_key_that_another_node_made_opens_at_once(home: Path) -> None:
    with opened(home) as node, opened(home) as other:
        backups.publish(node, "one", CONTENT)
        backups.publish(other, "two", CONTENT)
        for number in range(5):
            other.meks.rotate("os:tests")
            backups.publish(other, f"newer {number}", CONTENT)
            assert backups.contents(node)[f"newer {number}"] == CONTENT
        newest = other.kms_cache.ring().active.id
        deadline = time.monotonic() + 30
        while node.kms_cache.ring().active.id != newest:
            assert time.monotonic() < deadline
            time.sleep(0.01)


def test_an_outage_of_the_coordination_ends_no_reading(
    home: Path, services: ClusterServices, monkeypatch: pytest.MonkeyPatch
) -> None:
    """b5: it ended with ZooKeeper. Nothing is sealed meanwhile: the key could be retired on another node."""
    monkeypatch.setattr(stored, "STALE_S", 2.0)
    with web_client.serve(home, upkeep_s=1000) as served:
        client = served.site("Sales", SiteMode.ENFORCED)
        item = client.publish("one").find("datasource").attrib["id"]
        for server in services.ensemble.servers:
            server.link.become(Mode.LOSE_ALL)
        deadline, names = time.monotonic() + 60, (f"more {number}" for number in count())
        while (refused := client.publish(next(names))).status == 201:
            assert time.monotonic() < deadline, "it seals without knowing by what"
        assert refused.status == 423
        began = time.monotonic()
        for _ in range(20):
            assert client.download(item).body == web_client.HYPER
        assert time.monotonic() - began < 20, "only the first waits for an answer"
        services.ensemble.mend()
        while (made := client.publish(next(names))).status != 201:
            assert time.monotonic() < deadline + 60, made.body
            time.sleep(0.1)


def test_without_its_services_it_says_which_is_missing(
    home: Path, services: ClusterServices
) -> None:
    """b10: nothing remembered is shown as if it were now."""
    for server in services.ensemble.servers:
        server.link.become(Mode.REFUSE)
    with opened(home) as node:
        with pytest.raises(CoordinationError, match="does not answer"):
            node.configuration.document()
        services.postgres.run(f"ALTER ROLE {services.database} NOLOGIN")
        with (
            pytest.raises(StorageError, match="not permitted to log in"),
            node.repository.reading() as tx,
        ):
            tx.sites.page()
        services.postgres.run(f"ALTER ROLE {services.database} LOGIN")


def test_an_address_that_somebody_changed_gets_no_password(home: Path) -> None:
    """Whoever can write the file could else have the password sent to a server of his own."""
    path = home / "tabsvc" / "addresses.json"
    file = services_file.parse(path.read_bytes())
    elsewhere = file.services._replace(
        zookeeper=file.services.zookeeper._replace(hosts="elsewhere.example:2281")
    )
    path.write_bytes(file._replace(services=elsewhere).serialize())
    with opened(home) as node, pytest.raises(StateError, match="for other addresses"):
        node.configuration.document()


def test_a_file_that_others_may_write_is_refused(home: Path) -> None:
    (home / "tabsvc" / "addresses.json").chmod(0o666)
    with opened(home) as node, pytest.raises(StateError, match="others on this machine"):
        node.configuration.document()


def test_a_served_node_is_seen_and_a_copy_of_its_disk_is_not_served(
    home: Path, tmp_path: Path
) -> None:
    """Matrix 41: two machines with one id."""
    node, copy = servers.TestNode(home.parent / home.name), tmp_path / "copy"
    shutil.copytree(home, copy, symlinks=True)
    command = [str(servers.BIN / "strongroom"), "serve", "--port", "0", "--data-dir"]
    with servers.ready(
        [*command, str(home)], tmp_path / "err", tmp_path, node.variables(), forks=True
    ):
        with opened(home) as other:
            assert other.coordinator.members() == ["node1"]
        refused = forked.run([*command, str(copy)], folder=tmp_path, environment=node.variables())
    assert refused.returncode == ConflictError.exit_code, refused.stderr
    assert b"another process is alive as node1" in refused.stderr
    assert b"whether a disk was copied" in refused.stderr
    with opened(home) as other:
        assert other.coordinator.members() == []
