"""Each node of a cluster signs its event log by a key that it alone has (crypto review X7; events.md 5.2, nodes.md 1, 2)."""

import base64
import json
import shutil
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from strongroom.cli.node import start_up
from strongroom.cli.terminal.session import Session, SessionOptions
from strongroom.clock import SystemClock
from strongroom.coordination.base import Change
from strongroom.crypto import age, said
from strongroom.crypto.secret import SecretBytes
from strongroom.crypto.signing import SigningKey
from strongroom.crypto.statements import Origin, Purpose, Statement
from strongroom.errors import StateError
from strongroom.eventlog import chain, checkpoints, notes
from strongroom.eventlog.checkpoints import CheckpointFile, Signing
from strongroom.eventlog.events import key_events, log_events, node_events
from strongroom.eventlog.jsonl import JsonlEventLog
from strongroom.eventlog.merkle import Frontier
from strongroom.eventlog.notes import LogSigner
from strongroom.joining import own_keys, registry
from strongroom.joining.node_keys import FormerKind
from strongroom.joining.registry import NodeState
from strongroom.node import opening
from strongroom.node.opening import Node
from strongroom.services.keys import log_signing
from strongroom.services.nodes.join import JoinPorts, JoinService
from tests.contract.cluster.commands import Run, nodes
from tests.contract.cluster.test_enable import enable
from tests.contract.joining.commands import told
from tests.support import web_client
from tests.support.cluster_services import ClusterServices
from tests.vectors import reader_events

ACTOR = "os:tests"
ENTRY = registry.PREFIX + "node1"


class KilledError(BaseException):
    """Ends the command as a kill does: nothing of it runs any more."""


def killed(*_: object, **__: object) -> None:
    raise KilledError


def shared(node: Node) -> bytes:
    """The seed in the configuration, which every node opens."""
    return node.configuration.open_secret(log_signing.PARAMETER).reveal()[:32]


def forge(of: Path, node_id: str, seed: bytes) -> str:
    """A line that a stranger adds to a node's log, and signs as the node by a key of his, whose public half is returned.

    The log as it was is kept beside the directory.
    """
    with closing(opening.open_node(str(of))) as node:
        path, installation = node.paths.events, node.claimed_installation()
    assert path.name == f"{node_id}.jsonl"
    shutil.copytree(path.parent, of.with_name(f"{of.name}.events"), dirs_exist_ok=True)
    signer = LogSigner(log_signing.origin(installation, node_id), SigningKey(SecretBytes(seed)))
    JsonlEventLog(path, node_id, SystemClock()).append([key_events.mek_retired("os:eve", "m1")])
    lines = path.read_bytes().splitlines()
    # signed as a whole, so that no line says that anything was signed late
    note = checkpoints.signed(Signing(signer, Frontier(), ()), lines, chain.head_of(lines[-1]))
    path.with_suffix(".checkpoint").write_bytes(note)
    return signer.verifier.text


def put_back(of: Path) -> None:
    """The log as it was before it was forged."""
    shutil.copytree(of.with_name(f"{of.name}.events"), of / "tabsvc/events", dirs_exist_ok=True)


def rekeyed(node: Node) -> list[dict[str, Any]]:
    return told(node, log_events.EVENT_LOG_REKEYED)


def check_own(home: Path, run: Run, *, rekeys: int) -> None:
    """The node signs by its own key alone, the registry names it, and all of the log is proved."""
    with closing(opening.open_node(str(home))) as node:
        keys = own_keys.read(node.paths)
        assert keys.log is not None
        assert keys.log.former is None
        newest = node.events.newest_checkpoint()
        assert newest is not None
        assert newest.signer.verifier.public == keys.log_public
        assert newest.signer.former is None
        entry = node.peers.all()[node.paths.node_id]
        assert (entry.log_key, entry.keys) == (keys.log_public, keys.public)
        assert entry.state is NodeState.ACTIVE
        assert len(rekeyed(node)) == rekeys
        assert node.state_faults() == ()
        assert node.event_log_faults() == ()
    found = run("strongroom", home, "events", "verify")
    assert found.code == 0, found.err


# ---- the attack ----------------------------------------------------------------------------------


def test_no_node_signs_the_log_of_another(
    cluster_home: Path, second_home: Path, run: Run, tmp_path: Path
) -> None:
    """X7: with the one key in the configuration node1 wrote events in node2's name, and everybody believed them."""
    copy = tmp_path / "node2.jsonl"
    with web_client.serve(cluster_home) as served:
        keys = own_keys.read(served.node.paths)
        assert keys.log is not None
        seeds = {
            "the key of all": shared(served.node),
            "the key of node1's log": keys.log.seed.reveal(),
            "the key of node1": json.loads(keys.serialize().reveal())["signing_seed"],
        }

    def copied() -> tuple[int, str]:
        for ending in (".jsonl", ".checkpoint"):
            shutil.copy(second_home / f"tabsvc/events/node2{ending}", copy.with_suffix(ending))
        words = ("events", "verify", "--log", str(copy))
        found = run("strongroom", cluster_home, *words, "--node", "node2")
        other = run("strongroom", cluster_home, *words, "--node", "node1")
        assert (other.code, "not signed by" in other.err) == (20, True)
        return found.code, found.err

    assert copied()[0] == 0
    for words, seed in seeds.items():
        raw = base64.b64decode(seed) if isinstance(seed, str) else seed
        key = forge(second_home, "node2", raw)
        code, err = copied()
        assert (code, "is not signed by" in err) == (20, True), words
        found = run("strongroom", second_home, "events", "verify")
        assert (found.code, "is not signed by" in found.err) == (20, True), words
        # nothing else is wrong with it: who trusts that key believes every line
        found = run(
            "strongroom", cluster_home, "events", "verify", "--log", str(copy), "--key", key
        )
        assert (found.code, "os:eve" in copy.read_text()) == (0, True), words
        put_back(second_home)
    assert copied()[0] == 0
    check_own(second_home, run, rekeys=0)
    check_own(cluster_home, run, rekeys=1)
    assert nodes(run, cluster_home).keys() == {"node1", "node2"}


def test_a_node_without_its_own_key_does_not_take_the_one_of_all(
    cluster_home: Path, run: Run
) -> None:
    """X7: who could remove the node's file would be back at the key that every node has."""
    with closing(opening.open_node(str(cluster_home))) as node:
        seed, path = shared(node), node.paths.node_keys
    data = path.read_bytes()
    path.unlink()
    forge(cluster_home, "node1", seed)
    found = run("strongroom", cluster_home, "events", "verify")
    assert found.code == 20
    assert "signs its event log by a key of its own" in found.err
    # an older copy of the file, of a time before there was a key in it, does not lead there either
    path.write_bytes(data)
    with closing(opening.open_node(str(cluster_home))) as node:
        own_keys.write(node.paths, own_keys.read(node.paths).with_log(None))
    assert run("strongroom", cluster_home, "events", "verify").code == 20
    path.write_bytes(data)
    put_back(cluster_home)
    check_own(cluster_home, run, rekeys=1)


# ---- the change ----------------------------------------------------------------------------------


def test_what_the_former_key_proved_stays_proved(
    node_dir: Path, services: ClusterServices, run: Run, tmp_path: Path
) -> None:
    """A note that was kept, an archived log and the anchors: all across the change of `cluster enable`."""
    first, kept = tmp_path / "first", tmp_path / "kept"
    first.write_text(run("strongroom", node_dir, "events", "checkpoint").out)
    assert run("strongroom", node_dir, "events", "archive", "--reason", "long").code == 0
    kept.write_text(run("strongroom", node_dir, "events", "checkpoint").out)
    former = kept.read_text().splitlines()[0]
    assert enable(node_dir, services) == 0
    check_own(node_dir, run, rekeys=1)
    found = run("strongroom", node_dir, "events", "verify", "--checkpoint", str(kept))
    assert found.code == 0, found.err
    assert "1 archived log" in found.out
    with closing(opening.open_node(str(node_dir))) as node:
        [details] = rekeyed(node)
        assert details["former"] == former
        [registered] = told(node, log_events.EVENT_LOG_KEY_REGISTERED)
        assert (registered["node_id"], registered["key"]) == ("node1", details["key"])
        [archived] = node.paths.events.parent.glob("node1.jsonl.*Z")
    words = ("events", "verify", "--log", str(archived), "--key", former)
    assert run("strongroom", node_dir, *words).code == 0


def test_both_keys_sign_the_first_checkpoint(
    cluster_home: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """X7: whoever knows only the former key learns by it which one comes after."""
    of_before(cluster_home)
    with closing(opening.open_node(str(cluster_home))) as node:
        former = log_signing.find_signer(node.configuration, "node1")
        assert former is not None
        with monkeypatch.context() as patched:
            patched.setattr(JoinService, "tell_log_key", killed)
            with pytest.raises(KilledError):
                node.log_key.ensure(ACTOR)
        newest = node.events.newest_checkpoint()
        assert newest is not None
        for verifier in (former.verifier, newest.signer.verifier):
            assert notes.open_note(newest.note, verifier) == newest.checkpoint
        assert newest.signer.verifier != former.verifier
        # by other hands: each of the two seeds verifies the same log
        log = own_keys.read(node.paths).log
        assert log is not None
        data = node.paths.events.read_bytes(), node.events.checkpoints.path.read_bytes()
        for seed in (shared(node), log.seed.reveal()):
            assert reader_events.checkpoint(*data, seed, former.verifier.name) == len(
                data[0].splitlines()
            )


def of_before(home: Path) -> None:
    """A node of a cluster of a release before: its log is signed by the key in the configuration."""
    with closing(opening.open_node(str(home))) as node:
        entry = node.peers.all()["node1"]
        keys = own_keys.read(node.paths).with_log(None)
        assert entry.report is not None
        before = entry.reported(node.claimed_installation(), keys, entry.report)
        version = node.coordinator.version(ENTRY)
        node.coordinator.put({ENTRY: Change(before.serialize(), version)})
        node.paths.events.unlink()
        node.paths.events.with_suffix(".checkpoint").unlink()
        own_keys.write(node.paths, keys)
    with closing(opening.open_node(str(home))) as node:
        node.events.take_as_it_is()
        node.events.append([node_events.node_joined(ACTOR, "node1", fingerprint="f")])
        node.anchor_event_log_anew()
        newest = node.events.newest_checkpoint()
        assert newest is not None
        assert newest.signer.verifier.public == SigningKey(SecretBytes(shared(node))).public
        assert b'"log_key"' not in entry_of(node)


def entry_of(node: Node) -> bytes:
    found = node.coordinator.get(ENTRY)
    assert found is not None
    return found.value


def once(call: Callable[..., Any], number: int) -> Callable[..., Any]:
    """A call that is killed before it is made for the n-th time."""
    count = iter(range(1, 100))

    def counted(*args: object, **kwargs: object) -> object:
        if next(count) == number:
            raise KilledError
        return call(*args, **kwargs)

    return counted


POINTS = {
    "nothing is written": (own_keys, "write", 1),
    "the file names both keys": (JsonlEventLog, "newest_checkpoint", 1),
    "the new key has signed": (CheckpointFile, "sync", 2),
    "its checkpoint is synced": (own_keys, "write", 2),
    "the former key is dropped": (JoinService, "tell_log_key", 1),
}


@pytest.mark.parametrize("point", POINTS)
def test_a_change_that_was_interrupted_is_finished_at_the_next_start(
    cluster_home: Path, run: Run, monkeypatch: pytest.MonkeyPatch, point: str
) -> None:
    of_before(cluster_home)
    place, name, number = POINTS[point]
    with monkeypatch.context() as patched, closing(opening.open_node(str(cluster_home))) as node:
        patched.setattr(place, name, once(getattr(place, name), number))
        with pytest.raises(KilledError):
            node.log_key.ensure(ACTOR)
    # what is written in between is proved as well
    assert run("strongroom", cluster_home, "sites", "create", "Between").code == 0
    assert run("strongroom", cluster_home, "events", "verify").code == 0
    session = Session(SessionOptions(str(cluster_home)))
    start_up.bring_in_order(session)
    session.whole_node.close()
    check_own(cluster_home, run, rekeys=1)


def test_a_log_that_was_changed_gets_no_new_key(cluster_home: Path, run: Run) -> None:
    """A new signature would cover up that lines are missing; the start tells it, and the node is served."""
    of_before(cluster_home)
    with closing(opening.open_node(str(cluster_home))) as node:
        data = node.paths.events.read_bytes()
        node.paths.events.write_bytes(data.splitlines(keepends=True)[0])
    session = Session(SessionOptions(str(cluster_home)))
    start_up.bring_in_order(session)
    with closing(session.whole_node) as node:
        with pytest.raises(StateError, match="does not get another key"):
            node.log_key.ensure(ACTOR)
        assert own_keys.read(node.paths).log is None
    assert run("strongroom", cluster_home, "events", "verify").code == 20


def test_a_regeneration_renews_it(cluster_home: Path, run: Run) -> None:
    """X7: a key that leaked signs nothing more after `regenerate-internal-tokens`; C-24."""
    with closing(opening.open_node(str(cluster_home))) as node:
        before = own_keys.read(node.paths).log
        assert before is not None
    said_ = run("tsm", cluster_home, "security", "regenerate-internal-tokens", "--only", "keys")
    assert said_.code == 0, said_.err
    check_own(cluster_home, run, rekeys=2)
    forge(cluster_home, "node1", before.seed.reveal())
    assert run("strongroom", cluster_home, "events", "verify").code == 20


# ---- after a loss --------------------------------------------------------------------------------


def test_a_node_that_was_left_out_does_not_come_back_by_a_loss(cluster_home: Path) -> None:
    with closing(opening.open_node(str(cluster_home))) as node:
        out = node.peers.all()["node1"].left_out("2026-11-30T00:00:00Z")
        node.coordinator.put({ENTRY: Change(out.serialize(), node.coordinator.version(ENTRY))})
        keys = own_keys.read(node.paths)
        node.paths.node_keys.unlink()
        with pytest.raises(StateError, match="was left out"):
            node.log_key.regain("node1", node.claimed_installation(), lambda: b"")
        assert not node.paths.node_keys.exists()
        with pytest.raises(StateError, match="was left out"):
            JoinService(
                JoinPorts(node.coordinator, node.peers, node.events, node.clock), keys
            ).take_place(ACTOR)


@pytest.mark.parametrize("rekeys", [2, 1], ids=["its own key signed", "the key of all signed"])
def test_a_recovery_states_the_key_of_a_node_that_lost_its_own(
    cluster_home: Path, run: Run, monkeypatch: pytest.MonkeyPatch, rekeys: int
) -> None:
    """The lines up to then are proved by the registered key, and the identity says which one comes after."""
    if rekeys == 1:
        of_before(cluster_home)
    identity = age.new_identity()
    add = ("security", "kms", "roots", "add", "age", "--recipient", identity.recipient)
    assert run("tsm", cluster_home, *add).code == 0
    Path("identity").write_bytes(identity.text.reveal() + b"\n")
    with closing(opening.open_node(str(cluster_home))) as node:
        path, newest = node.paths.node_keys, node.events.newest_checkpoint()
        assert newest is not None
        lost, lines = newest.signer.verifier.public, newest.checkpoint.size
    path.unlink()
    recover = ("recover", "--identity", "identity")
    assert run("strongroom", cluster_home, "serve", "--port", "0").code == 7
    with monkeypatch.context() as patched:
        patched.setattr(JoinService, "take_place", killed)
        with pytest.raises(KilledError):
            run("strongroom", cluster_home, *recover)
    with closing(opening.open_node(str(cluster_home))) as node:
        log = own_keys.read(node.paths).log
        assert log is not None
        assert log.former is not None
        assert log.former.kind is FormerKind.LOST
        assert log.former.key.reveal() == lost
    assert run("strongroom", cluster_home, "serve", "--port", "0").code == 7
    found = run("strongroom", cluster_home, *recover)
    assert found.code == 0, found.err
    assert "the keys that this node alone had were lost" in found.err
    check_own(cluster_home, run, rekeys=rekeys)
    with closing(opening.open_node(str(cluster_home))) as node:
        stated = told(node, log_events.EVENT_LOG_KEY_RECOVERED)[-1]
        assert notes.parse_verifier(stated["former"]).public == lost
        public = notes.parse_verifier(stated["key"]).public
        assert public == own_keys.read(node.paths).log_public
        assert stated["lines"] == lines
        Statement(
            Purpose.LOG_KEY,
            Origin(node.claimed_installation()),
            said.of_log_key("node1", public, stated["lines"]),
        ).check(base64.b64decode(stated["signature"]), node.identity.key().identity.public)
    session = Session(SessionOptions(str(cluster_home)))
    start_up.bring_in_order(session)
    session.whole_node.close()
