"""Two nodes of one installation: what they share, what each leaves to the other, and keys that are not changed under one."""

import json
import time
from contextlib import closing
from pathlib import Path

import pytest

from strongroom.cli.node import start_up
from strongroom.cli.terminal.session import Session, SessionOptions
from strongroom.coordination.base import Change
from strongroom.crypto import age
from strongroom.doors.http import upkeep
from strongroom.doors.http.gate import Gate
from strongroom.envelope.header import Placement
from strongroom.errors import NotFoundError, StateError
from strongroom.ids import new_id
from strongroom.jobs.model import JobKind, JobState
from strongroom.joining import node_keys, own_keys
from strongroom.joining.maintenance import Drained, Place
from strongroom.joining.registry import NodeState
from strongroom.node import agent, joining, kept_keys, key_changes, opening
from strongroom.node.opening import Node
from strongroom.repository.rows import SiteMode
from strongroom.services.nodes.draining import Draining, DrainingPorts
from strongroom.services.recovery.condition import Condition
from tests.contract.cluster.commands import Run, at_work, joined, nodes, opened
from tests.contract.joining.commands import told
from tests.support import web_client

CONTENT = web_client.HYPER + bytes(range(256)) * 300


def test_both_nodes_serve_one_installation(cluster_home: Path, run: Run, second_home: Path) -> None:
    """What one changes the other reads; each has its own extracts, and says so."""
    with web_client.serve(cluster_home) as one, web_client.serve(second_home) as two:
        one.site("Sales", SiteMode.ENFORCED)
        client, other = one.client("Sales"), two.client("Sales")
        made = other.publish("there", CONTENT)
        assert made.status == 201, made.body
        there = made.find("datasource").attrib["id"]
        here = client.publish("here", CONTENT).find("datasource").attrib["id"]
        assert other.download(there).body == CONTENT
        assert client.download(here).body == CONTENT
        refused = client.download(there)
        assert refused.status == 409, refused.body
        assert b"it lies on the disk of the node that took it, node2" in refused.body
        assert other.download(here).status == 409
        key = "gateway.https.port"
        one.node.configuration.set(key, "9443", actor="os:tests")
        one.node.configuration.apply(actor="os:tests")
        assert two.node.configuration.effective(key) == "9443"
        a_node_drains_by_its_own_word_alone(one.node, two.node)
        for node in (one.node, two.node):
            assert node.state_faults() == ()
            assert node.event_log_faults() == ()
    said = run("tsm", second_home, "configuration", "get", "-k", "gateway.https.port")
    assert (said.code, said.out) == (0, "9443\n")
    said = run("tsm", cluster_home, "configuration", "get", "-k", "gateway.https.port")
    assert (said.code, said.out) == (0, "9443\n")


def a_node_drains_by_its_own_word_alone(one: Node, two: Node) -> None:
    """b14, maintenance.md 1.3, 2.2: a dark node is named; each has the key of the MACs, and cannot speak for another."""

    def states() -> dict[str, str]:
        return {each.node_id: each.state.value for each in one.maintenance.standing(found)}

    with two.announced():
        found = one.maintenance.enter("os:tests", "new disks", within_s=1)
        assert states() == {"node1": "dark", "node2": "draining"}
        forged = Drained(found.epoch, two.boot_id, 0, "2026-11-30T12:00:00Z").signed(
            one.configuration.document().installation_id, "node2", own_keys.read(one.paths).signing
        )
        one.coordinator.put({Place().word("node2"): Change(forged, 0)})
        assert states()["node2"] == "draining"
        gate = Gate()
        node = Draining(
            DrainingPorts(
                two.out_of_service.seen,
                gate,
                two.sole_worker.is_there,
                two.out_of_service.say_drained,
            )
        )
        node.look()
        assert (states()["node2"], gate.is_closed) == ("drained", True)
        with pytest.raises(StateError, match="node2 is alive"):
            one.maintenance.enter("os:tests", "x", within_s=1, without=["node2"])
        found = one.maintenance.enter("os:tests", "x", within_s=1, without=["node1"])
        assert [each.is_through for each in one.maintenance.standing(found)] == [True, True]
        # a word on this maintenance is none on the next one
        two_anew = one.maintenance.standing(found._replace(epoch=found.epoch + 1))
        assert [each.state.value for each in two_anew] == ["dark", "draining"]
        two.maintenance.leave("os:tests")
        node.look()
        assert not gate.is_closed


def test_a_node_leaves_the_work_of_others_alone(cluster_home: Path, second_home: Path) -> None:
    """a2-1, a2-2: a start cleans up after its own node only."""
    with web_client.serve(cluster_home) as one:
        one.site("Sales", SiteMode.ENFORCED)
        site = one.node.sites.find("Sales").id
        writer = one.node.stored_files.create(Placement(site, new_id()), encrypted=True)
        writer.write(CONTENT)
        job = one.node.jobs.enqueue(JobKind.REWRAP, site, actor="os:tests")
        with one.node.repository.transaction() as tx:
            assert tx.jobs.claim(job.id, "2026-11-30T00:00:00Z")
        with closing(opening.open_node(str(second_home))) as two:
            before = len(list(one.node.paths.extracts.rglob("*")))
            assert two.stored_files.recover() == 0
            upkeep.at_start(two)
            with two.repository.reading() as tx:
                assert len(tx.intents.list()) == 1
                assert tx.intents.list_own() == []
                assert JobState(tx.jobs.get(job.id).state) is JobState.RUNNING
            assert len(list(one.node.paths.extracts.rglob("*"))) == before
        writer.abort()


def test_keys_are_not_changed_under_another_node(
    cluster_home: Path, run: Run, second_home: Path
) -> None:
    """One that is not alive would be shut out; and without shared extracts no MEK is retired."""
    regenerate = ("security", "regenerate-internal-tokens", "--only", "keys")
    said_ = run("tsm", cluster_home, *regenerate)
    assert said_.code == 1
    assert "node2 cannot be asked whether the new keys open there: not alive" in said_.err
    assert "--without-node node2" in said_.err
    add = ("security", "kms", "roots", "add", "age", "--recipient")
    recipient = age.new_identity().recipient
    said_ = run("tsm", cluster_home, *add, recipient)
    assert said_.code == 1
    assert "node2 cannot be asked" in said_.err
    with closing(opening.open_node(str(cluster_home))) as node:
        mek = node.kms_cache.opened().ring.active.id
        with at_work(second_home) as two:
            node.meks.rotate("os:tests")
            # what is changed for a recipient reaches the other node as well
            said_ = run("tsm", cluster_home, *add, recipient)
            assert said_.code == 0, said_.err
            assert two.present_keys().proved == node.present_keys().proved
            [wrap] = [one.id for one in node.kms_store.current()[0].wraps if one.kind == "age"]
            remove = ("security", "kms", "roots", "remove", wrap, "--yes")
            assert run("tsm", cluster_home, *remove).code == 0
            assert two.present_keys().drift(()) == ()
            assert node.coordinator.list("keystore/") == {}
        with pytest.raises(StateError, match="the extracts of node2 lie on their own disks"):
            node.meks.retire(mek, "os:tests")
    with closing(opening.open_node(str(second_home))) as two:
        assert two.kms_store.prove().problems == ()
        assert mek in {one.id for one in two.kms_cache.opened().ring}
        assert two.state_faults() == ()


def test_a_backup_is_not_restored_under_another_node(
    cluster_home: Path, run: Run, second_home: Path
) -> None:
    """Its rows are everybody's, and its files are not; what it lacks it names."""
    with web_client.serve(cluster_home) as one:
        one.site("Sales", SiteMode.ENFORCED)
        with web_client.serve(second_home) as two:
            assert two.client("Sales").publish("there", CONTENT).status == 201
        made = run("tsm", cluster_home, "maintenance", "backup", "-f", "b")
        assert made.code == 43
        assert "was lost before this backup" not in made.err
        assert "1 extract not on the disk of this node" in made.err
    said = run("tsm", cluster_home, "maintenance", "restore", "-f", "b", "--yes")
    assert said.code == 7, said.err
    assert "the extracts of node2 lie on their own disks" in said.err


def test_a_node_is_left_out_by_name(
    cluster_home: Path, second_home: Path, run: Run, tmp_path: Path
) -> None:
    with web_client.serve(cluster_home) as served:
        client = served.site("Sales", SiteMode.ENFORCED)
        assert client.publish("one", CONTENT).status == 201
        regenerate = ("security", "regenerate-internal-tokens", "--only", "keys")
        said_ = run("tsm", cluster_home, *regenerate, "--without-node", "node9")
        assert said_.code == 5
        assert "there is no other node 'node9'" in said_.err
        assert served.node.peers.leave_out("os:tests", ["node2"]) == ("node2",)
        said_ = run("tsm", cluster_home, *regenerate)
        assert said_.code == 0, said_.err
        assert [one["node_id"] for one in told(served.node, "NODE_LEFT_OUT")] == ["node2"]
        assert nodes(run, cluster_home)["node2"]["state"] == "left out"
        assert served.node.peers.leave_out("os:tests", ["node2"]) == ()
        said_ = run("strongroom", second_home, "serve", "--port", "0")
        assert said_.code != 0
        third = tmp_path / "three"
        joined(served, run, third)
        assert nodes(run, third)["node3"]["state"] == "active"
        assert served.node.state_faults() == ()


def test_a_node_that_was_left_out_before_the_keys_changed_is_not_served(
    cluster_home: Path, run: Run, second_home: Path
) -> None:
    with web_client.serve(cluster_home) as served:
        served.node.peers.leave_out("os:tests", ["node2"])
        with pytest.raises(NotFoundError):
            served.node.peers.leave_out("os:tests", ["node1"])
    said_ = run("strongroom", second_home, "serve", "--port", "0")
    assert said_.code == 7
    assert "node2 was left out at" in said_.err


def test_a_node_of_before_the_registry_is_registered_at_its_start(
    cluster_home: Path, run: Run
) -> None:
    with closing(opening.open_node(str(cluster_home))) as node:
        name = "topology/nodes/node1"
        node.coordinator.put({name: Change(None, node.coordinator.version(name))})
        node.paths.node_keys.unlink()
        assert node.peers.all() == {}
    assert (
        json.loads(run("tsm", cluster_home, "topology", "list-nodes", "--json").out)[0]["node"]
        == "node1"
    )
    with closing(opening.open_node(str(cluster_home))) as node:
        assert joining.ensure_registered(node, "os:tests")
        assert not joining.ensure_registered(node, "os:tests")
        assert node.peers.all()["node1"].state is NodeState.ACTIVE
        # a copy of the directory with other keys is not taken for it
        own_keys.write(node.paths, node_keys.make(node.claimed_installation(), "node1"))
        with pytest.raises(StateError, match="registered with other keys"):
            joining.ensure_registered(node, "os:tests")


def test_a_recovery_on_one_node_reaches_all_that_know_it(
    cluster_home: Path, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """M1, R13: the identity is given once; a node that was off takes the new keys, unless who gives them is a stranger."""
    second, identity = tmp_path / "two", age.new_identity()
    add = ("security", "kms", "roots", "add", "age", "--recipient", identity.recipient)
    said = run("tsm", cluster_home, *add)
    assert said.code == 0, said.err
    with web_client.serve(cluster_home) as served:
        joined(served, run, second)
    Path("identity").write_bytes(identity.text.reveal() + b"\n")
    # as if the root were lost: in local mode, it lies in the keystore, which a node of a cluster needs to begin
    monkeypatch.setattr(Condition, "is_whole", lambda *_: False)
    recover = ("recover", "--identity", "identity")
    with opened(second) as two, two.announced():
        kept_keys.remember(two)
        said = run("strongroom", cluster_home, *recover)
        assert (said.code, "node2 is served: a recovery" in said.err) == (7, True), said.err
        before = two.kms_cache.opened().ring
    said = run("strongroom", cluster_home, *recover)
    assert said.code == 0, said.err
    assert "node2 takes the new keys at its next start" in said.err
    assert nodes(run, cluster_home)["node2"]["state"] == "stale"
    with opened(second) as two:
        assert kept_keys.take(two)
        assert key_changes.prove_if_stale(two) == ""
    with opened(cluster_home) as one, opened(second) as two:
        assert two.peers.all()["node2"].state is NodeState.ACTIVE
        assert two.present_keys().proved.digest == one.present_keys().proved.digest
        ring = two.kms_cache.opened().ring
        assert ring.active.id == one.kms_cache.opened().ring.active.id != before.active.id
        for node in (one, two):
            assert node.events.verify().is_whole
            assert node.kms_store.prove().problems == ()
            assert (*node.state_faults(), *node.event_log_faults()) == ()
    # a node that has lost the keys of its own is a stranger to the others
    (cluster_home / "tabsvc" / "node.json").unlink()
    said = run("strongroom", cluster_home, *recover)
    assert said.code == 0, said.err
    assert "node2 is left out: it does not have the new keys; bring it in anew" in said.err
    with opened(cluster_home) as node:
        assert [one["node_id"] for one in told(node, "NODE_LEFT_OUT")] == ["node2"]
        assert node.peers.all()["node2"].state is NodeState.LEFT_OUT


def test_extracts_of_a_node_that_was_left_out_keep_their_keys(
    cluster_home: Path, second_home: Path
) -> None:
    """Until somebody deletes them: a scan of one disk says nothing of another."""
    with web_client.serve(cluster_home) as one:
        one.site("Sales", SiteMode.ENFORCED)
        with web_client.serve(second_home) as two:
            item = two.client("Sales").publish("there", CONTENT).find("datasource").attrib["id"]
        mek = one.node.kms_cache.opened().ring.active.id
        with at_work(second_home):
            one.node.meks.rotate("os:tests")
        one.node.peers.leave_out("os:tests", ["node2"])
        with pytest.raises(StateError, match="the extracts of node2 lie on their own disks"):
            one.node.meks.retire(mek, "os:tests")
        assert one.client("Sales").on_site("DELETE", f"/datasources/{item}").status == 204
        one.node.meks.retire(mek, "os:tests")


def test_a_start_registers_a_node_of_before_the_registry(cluster_home: Path) -> None:
    with closing(opening.open_node(str(cluster_home))) as node:
        name = "topology/nodes/node1"
        node.coordinator.put({name: Change(None, node.coordinator.version(name))})
        node.paths.node_keys.unlink()
    session = Session(SessionOptions(str(cluster_home)))
    start_up.bring_in_order(session)
    assert session.whole_node.peers.all()["node1"].state is NodeState.ACTIVE
    session.whole_node.close()


def test_the_files_of_a_service_follow_what_another_node_applies(
    cluster_home: Path, second_home: Path
) -> None:
    """C-20, matrix: a node that serves has its YAML files written anew within seconds, without a command of its own."""
    with (
        web_client.serve(cluster_home) as one,
        closing(opening.open_node(str(second_home))) as two,
        agent.at_work(two),
    ):
        files = [*two.paths.tabsvc.rglob("*.yml")]
        assert files
        key = "gateway.https.port"
        one.node.configuration.set(key, "9443", actor="os:tests")
        one.node.configuration.apply(actor="os:tests")
        end = time.monotonic() + 60
        while not any("9443" in file.read_text() for file in files) and time.monotonic() < end:
            time.sleep(0.1)
        assert any("9443" in file.read_text() for file in files)
