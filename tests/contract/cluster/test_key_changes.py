"""Changes of the KMS store that every node proves before they are in force (docs/format/key-changes.md; matrix 26, 27, 29)."""

import hashlib
import shutil
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from strongroom import ids
from strongroom.config import versions
from strongroom.coordination.base import Change
from strongroom.errors import IntegrityError, NodesError, StateError, StrongroomError
from strongroom.joining import acknowledgements, node_keys, own_keys
from strongroom.joining.acknowledgements import Acknowledgement
from strongroom.joining.registry import NodeState
from strongroom.kms import staged
from strongroom.kms import store as kms_store
from strongroom.kms.staged import StagedState
from strongroom.node import agent
from strongroom.node.opening import Node
from strongroom.secrets import committed, enc
from strongroom.services.keys import words
from strongroom.services.keys.stored import STORE
from strongroom.services.keys.trial_of_change import TrialOfChange
from tests.contract.cluster.commands import Run, at_work, joined, nodes, opened
from tests.contract.joining.commands import told
from tests.contract.roots import provider_pkcs11
from tests.contract.roots.provider_pkcs11 import Pkcs11Lab
from tests.support import web_client
from tests.support.cluster_services import ClusterServices
from tests.support.servers import TestNode, serving

ACTOR = "os:tests"


@pytest.fixture
def second(second_home: Path) -> Path:
    """The data directory of a second node that is active and not served."""
    return second_home


def until_staged(node: Node) -> staged.StagedStore:
    end = time.monotonic() + 60
    while time.monotonic() < end:
        entry = node.coordinator.get(staged.ENTRY)
        if entry is not None and staged.parse(entry.value).state is StagedState.STAGED:
            return staged.parse(entry.value)
        time.sleep(0.02)
    raise AssertionError("nothing was staged")


def test_a_rotation_waits_for_the_word_of_every_node(
    cluster_home: Path, second: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A-05, E6: the other node has opened the store before it is in force, and said so by its own key."""
    words = list[tuple[str, bytes]]()
    with opened(cluster_home) as one, at_work(second) as two:
        before = one.kms_store.current()[0].epoch
        take = one.coordinator.put

        def put(changes: dict[str, Change], **more: object) -> None:
            for name in changes:
                if name.startswith(acknowledgements.PREFIX) and versions.CURRENT in changes:
                    entry = one.coordinator.get(name)
                    assert entry is not None
                    words.append((name, entry.value))
            take(changes, **more)  # type: ignore[arg-type]

        monkeypatch.setattr(one.coordinator, "put", put)
        made = one.meks.rotate(ACTOR)
        assert made.store.epoch == before + 1
        [(name, word)] = words
        public = one.peers.all()["node2"].keys.signing
        found = acknowledgements.parse(word, made.store.installation_id, "node2", public)
        assert name == acknowledgements.entry(found.change_id, "node2")
        assert (found.cause, found.present.number, found.boot) == ("", before, two.boot_id)
        assert found.wrap == made.store.wraps[0].id
        # nothing is left, and the other node is on the new keys
        assert one.coordinator.get(staged.ENTRY) is None
        assert one.coordinator.list(acknowledgements.PREFIX) == {}
        assert two.kms_cache.opened().ring.active.id == made.ring.active.id
        two.kms_store.check_epoch()
        [staged_] = told(one, "KMS_CHANGE_STAGED")
        assert staged_["nodes"] == "node2"
        assert [one_["cause"] for one_ in told(two, "KMS_CHANGE_TRIED")] == [""]
        for node in (one, two):
            assert node.state_faults() == ()
            assert node.event_log_faults() == ()


def test_a_node_that_says_nothing_holds_a_change_up_and_is_named(
    cluster_home: Path, second: Path, run: Run
) -> None:
    """S4: nothing is changed, the epoch is used up; a node that is not alive is left behind by name, and proves itself."""
    with opened(cluster_home) as one, opened(second) as two:
        before = one.kms_store.current()[1]
        with pytest.raises(NodesError, match="node2 cannot be asked") as caught:
            one.meks.rotate(ACTOR)
        assert "--without-node node2" in caught.value.hint
        assert one.coordinator.get(staged.ENTRY) is None
        with two.announced():
            with (
                pytest.raises(NodesError, match="node2: it did not answer within 1 s"),
                words.waiting(1),
            ):
                one.meks.rotate(ACTOR)
            assert one.kms_store.current()[1] == before
            [withdrawn] = told(one, "KMS_CHANGE_WITHDRAWN")
            assert "node2: it did not answer" in withdrawn["cause"]
            with pytest.raises(StateError, match="node2 is alive"):
                one.peers.set_stale(ACTOR, ["node2"])
    said = run("tsm", cluster_home, "security", "kms", "rotate", "--without-node", "node2")
    assert said.code == 0, said.err
    with opened(cluster_home) as one:
        # epochs are not used twice: the withdrawn one was the next
        assert one.kms_store.current()[0].epoch == kms_store.parse(before).epoch + 2
        assert [event["node_id"] for event in told(one, "NODE_STALE")] == ["node2"]
        assert one.coordinator.get(staged.ENTRY) is None
    assert nodes(run, cluster_home)["node2"]["state"] == "stale"
    with at_work(second) as two:
        end = time.monotonic() + 60
        while two.peers.all()["node2"].state is not NodeState.ACTIVE and time.monotonic() < end:
            time.sleep(0.05)
        assert two.peers.all()["node2"].state is NodeState.ACTIVE
        assert two.state_faults() == ()


def test_a_word_that_is_not_the_nodes_own_on_this_change_is_not_counted(
    cluster_home: Path, second: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """(f) 6: every node has the key of the MACs, so a word counts by its signature, and on just this change."""

    how = ""

    def lie(_: TrialOfChange) -> None:
        entry = two.coordinator.get(staged.ENTRY)
        if entry is None or staged.parse(entry.value).state is not StagedState.STAGED:
            return
        change, keys = staged.parse(entry.value), own_keys.read(two.paths)
        word = Acknowledgement(
            change_id=two.boot_id if how == "another change" else change.change_id,
            staged=hashlib.sha256(entry.value if how != "other bytes" else b"").hexdigest(),
            present=change.present,
            boot=one.boot_id if how == "another process" else two.boot_id,
            wrap=two.boot_id,
            cause="",
            at="2026-11-30T00:00:00Z",
        )
        if how == "another key":
            keys = node_keys.make(keys.installation_id, "node2")
        elif how == "another node":
            keys = own_keys.read(one.paths)
        name = acknowledgements.entry(change.change_id, "node2")
        if not two.coordinator.version(name):
            two.coordinator.put({name: Change(word.signed(keys), 0)})

    monkeypatch.setattr(TrialOfChange, "look", lie)
    with opened(cluster_home) as one, at_work(second) as two:
        before = one.kms_store.current()[1]
        for how in ("another key", "another node", "another change", "other bytes"):  # noqa: B007 `lie` reads it
            with pytest.raises(NodesError, match="node2: its answer is not believed"):
                one.meks.rotate(ACTOR)
            assert one.kms_store.current()[1] == before
        # a process that is not alive any more, though its word is the node's own (b10.3)
        how = "another process"
        with pytest.raises(NodesError, match="node2 is no longer the process that opened"):
            one.meks.rotate(ACTOR)
        assert one.kms_store.current()[1] == before


def test_a_change_that_was_killed_is_withdrawn_by_whoever_comes_next(
    cluster_home: Path, second: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Matrix 29, S7: by the next change, or by the agent of any node, once nobody holds the lock of keys."""
    code = "import sys; from strongroom.cli import dispatch; sys.exit(dispatch.main('tsm', sys.argv[1:]))"
    words = ["security", "kms", "rotate", "--wait", "300", "--data-dir", str(cluster_home)]
    with opened(cluster_home) as one, opened(second) as two, two.announced():
        before = one.kms_store.current()[0].epoch
        with subprocess.Popen([sys.executable, "-c", code, *words]) as process:
            until_staged(one)
            process.kill()
        with agent.at_work(two):
            made = one.meks.rotate(ACTOR)
            assert made.store.epoch == before + 2
        causes = [
            event["cause"] for node in (one, two) for event in told(node, "KMS_CHANGE_WITHDRAWN")
        ]
        assert causes == ["the command that made it was killed"]
        # and without a further change, by an agent
        with subprocess.Popen([sys.executable, "-c", code, *words]) as process:
            until_staged(one)
            process.kill()
        with agent.at_work(two):
            end = time.monotonic() + 60
            left = until_staged(one)
            while time.monotonic() < end:
                entry = two.coordinator.get(staged.ENTRY)
                assert entry is not None
                left = staged.parse(entry.value)
                if left.state is StagedState.WITHDRAWN:
                    break
                time.sleep(0.05)
            assert (left.state, left.sealed) == (StagedState.WITHDRAWN, b"")
        assert one.state_faults() == ()


def test_what_is_staged_is_not_put_in_the_place_of_the_present_store(
    cluster_home: Path, second: Path, services: ClusterServices
) -> None:
    """(f) 7: neither while it is staged nor after it was withdrawn, by whoever may write in ZooKeeper."""
    with opened(cluster_home) as one, opened(second) as two, two.announced():
        installation = one.configuration.document().installation_id
        before = one.kms_store.current()[1]
        root = f"/strongroom/{installation}/kv"

        def rotate() -> None:
            with words.waiting(5), pytest.raises(NodesError):
                one.meks.rotate(ACTOR)

        with ThreadPoolExecutor(1) as pool, services.ensemble.judge() as judge:
            rotating = pool.submit(rotate)
            change = until_staged(two)
            judge.sync(root)
            path = next(f"{root}/{name}" for name in judge.get_children(root) if "next" in name)
            taken = judge.get(path)[0]
            rotating.result()
            key = one.configuration.open_key(change.key_id)
            content = change.opened(installation, key)
            assert kms_store.parse(content.store).epoch == change.epoch
            # as another change, and as a value of the configuration, it does not open: its place is its own
            with pytest.raises(IntegrityError):
                change._replace(change_id=one.boot_id).opened(installation, key)
            value = enc.text_of(b"\x02" + ids.id_bytes(change.key_id) + change.sealed)
            with pytest.raises(IntegrityError):
                committed.open_text(installation, one.configuration.open_key, STORE, value)
            document = judge.get(f"{root}/config")[0]
            for name, harm in ((f"{root}/config", taken), (path, taken)):
                there = judge.get(name)[0]
                judge.set(name, harm)
                with opened(cluster_home) as reader, pytest.raises(StrongroomError):
                    reader.coordinator.list("")
                judge.set(name, there)
            assert judge.get(f"{root}/config")[0] == document
        assert kms_store.parse(before).epoch == change.epoch - 1


@pytest.fixture
def token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Pkcs11Lab]:
    folder = tmp_path / "token"
    folder.mkdir()
    with provider_pkcs11.start(folder) as lab:
        lab.quicken(monkeypatch)
        yield lab


def test_a_node_without_access_to_the_root_is_named_and_nothing_is_changed(
    cluster_home: Path, run: Run, tmp_path: Path, token: Pkcs11Lab
) -> None:
    """A-05, matrix 26 and 27: each node has a way of its own to the root, here a copy of the token; both serve on."""
    with opened(cluster_home) as one:
        one.modes.set_mode(token.settings, ACTOR)
    second = tmp_path / "two" / "node"
    with web_client.serve(cluster_home) as served:
        joined(served, run, second)
        tokens, away = tmp_path / "tokens", tmp_path / "away"
        shutil.copytree(token.folder / "tokens", tokens)
        configuration = tmp_path / "softhsm2.conf"
        configuration.write_text(f"directories.tokendir = {tokens}\n")
        node = TestNode(second.parent, environment={"SOFTHSM2_CONF": str(configuration)})
        with serving(node):
            one = served.node
            before = one.kms_store.current()[1]
            tokens.rename(away)
            with pytest.raises(NodesError, match=r"node2: .*token") as caught:
                one.meks.rotate(ACTOR)
            assert "node1" not in caught.value.message
            assert one.kms_store.current()[1] == before
            assert one.kms_store.prove().problems == ()
            with urllib.request.urlopen(f"{node.url}/api/3.26/serverinfo") as answer:
                assert answer.status == 200
            away.rename(tokens)
            made = one.meks.rotate(ACTOR)
            assert made.store.epoch == kms_store.parse(before).epoch + 2
