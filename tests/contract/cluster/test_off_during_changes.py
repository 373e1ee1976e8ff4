"""A node that was off while keys were changed takes the newest at its start, proves them, and serves (matrix 30)."""

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from strongroom.configuration_keys.authority import BEFORE_NAME
from strongroom.configuration_keys.keys import ConfigurationKeys
from strongroom.coordination.base import Change
from strongroom.coordination.entries import HEAD_BYTES
from strongroom.errors import IntegrityError, StrongroomError
from strongroom.joining import key_bundles, node_keys, own_keys
from strongroom.joining.registry import NodeState
from strongroom.keystore.replicas import KeystoreDirectory
from strongroom.kms.cache import Asking
from strongroom.node import agent, kept_keys, key_changes, opening, replacing
from strongroom.node.opening import Node
from strongroom.services.keys.received_keys import ReceivedKeys
from tests.conftest import Torture
from tests.contract.cluster.commands import Run, at_work, nodes, opened
from tests.contract.joining.commands import told

BUNDLE = key_bundles.entry("node2")
REGENERATE = ("security", "regenerate-internal-tokens", "--only", "keys")


class KilledError(BaseException):
    """Ends the start as a kill does: nothing of it runs any more."""


@pytest.fixture
def second(second_home: Path) -> Path:
    """The data directory of a second node that was served once, and is off."""
    with opened(second_home) as node:
        kept_keys.remember(node)
        assert node.paths.known_nodes.exists()
    return second_home


def regenerated(run: Run, home: Path) -> None:
    said = run("tsm", home, *REGENERATE, "--without-node", "node2")
    assert said.code == 0, said.err


def start(home: Path) -> None:
    """The beginning of a start, as `serve` does it, up to the point from which the node serves."""
    with opened(home) as node:
        kept_keys.take(node)
        assert key_changes.prove_if_stale(node) == ""


def is_well(home: Path, one: Node) -> None:
    """The node has all that is in force, nothing of before, and is active by its own word."""
    with opened(home) as two:
        assert two.peers.all()["node2"].state is NodeState.ACTIVE
        assert two.present_keys().proved.digest == one.present_keys().proved.digest
        assert two.keystore.load().difference(one.keystore.load()) == ""
        assert two.kms_cache.opened().ring.active.id == one.kms_cache.opened().ring.active.id
        assert two.state_faults() == ()
        assert two.event_log_faults() == ()
        assert two.coordinator.version(BUNDLE) == 0
        assert not list(home.rglob(BEFORE_NAME))


def test_a_node_that_was_off_catches_up_by_itself(
    cluster_home: Path, second: Path, run: Run
) -> None:
    """Row 30: two regenerations and a rotation without it; then it follows the next ones as ever."""
    regenerated(run, cluster_home)
    assert nodes(run, cluster_home)["node2"]["state"] == "stale"
    said = run("tsm", cluster_home, *REGENERATE)
    assert said.code == 0, said.err
    assert run("tsm", cluster_home, "security", "kms", "rotate").code == 0
    with opened(second) as two, pytest.raises(StrongroomError):
        two.configuration.document()
    start(second)
    with opened(cluster_home) as one:
        is_well(second, one)
        moved = told(one, "KEY_MOVED")
        assert {event["place"] for event in moved} == {"node2"}
    with at_work(second):
        assert run("tsm", cluster_home, *REGENERATE).code == 0
    with opened(cluster_home) as one:
        is_well(second, one)


def test_a_node_that_was_cut_off_meanwhile_ends_to_begin_anew(
    cluster_home: Path, second: Path, run: Run
) -> None:
    """Row 30, ADR 69: it runs, and had no session; it opens nothing by the keys in its memory, and its next start does."""
    ended = list[str]()
    with opened(second) as two:
        assert not replacing.was_replaced(two)
        two.kms_cache.opened()
        regenerated(run, cluster_home)
        with pytest.raises(IntegrityError):
            two.kms_cache.opened(asking=Asking.ITSELF)
        agent._look_at_membership(
            two, lambda: ended.append("for good"), lambda: ended.append("to begin anew")
        )
    assert ended == ["to begin anew"]
    start(second)
    with opened(cluster_home) as one:
        is_well(second, one)


def points() -> Iterator[tuple[type, str]]:
    """Where a start is killed: before each step, and before the bundle is taken away."""
    yield KeystoreDirectory, "take"
    yield ConfigurationKeys, "take"
    yield ReceivedKeys, "take_kept"
    yield ReceivedKeys, "_drop"
    yield ReceivedKeys, "_tell"


@contextmanager
def killed(kind: type, name: str, behind: bool) -> Iterator[None]:
    """Kill before the first call of a method, or right behind it."""
    real: Callable[..., object] = getattr(kind, name)

    def call(*given: object, **more: object) -> None:
        if behind:
            real(*given, **more)
        raise KilledError

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kind, name, call)
        yield


def test_a_start_that_is_killed_begins_again(
    cluster_home: Path, second: Path, run: Run, torture: Torture
) -> None:
    """Row 30: at each step of the catching up, of which a run takes three; the next start ends it."""
    for kind, name in replace(torture, size=3).choose(list(points())):
        regenerated(run, cluster_home)
        for behind in (False, True):
            with killed(kind, name, behind), pytest.raises(KilledError):
                start(second)
        start(second)
        with opened(cluster_home) as one:
            is_well(second, one)


def forged(second: Path, bundle: bytes) -> None:
    """Somebody who has ZooKeeper's password puts another bundle there; the MAC of the entry is not looked at as yet."""
    with opened(second) as two:
        store = two.entry_store
        found = store.get(BUNDLE)
        assert found is not None
        store.put({BUNDLE: Change(found.value[:HEAD_BYTES] + bundle, found.version)})


def test_keys_of_somebody_else_are_refused(cluster_home: Path, second: Path, run: Run) -> None:
    """A genuine bundle of before, one by a stranger's key, one that was changed: nothing is written."""
    regenerated(run, cluster_home)
    with opened(cluster_home) as one:
        older = one.coordinator.get(BUNDLE)
    assert older is not None
    assert run("tsm", cluster_home, *REGENERATE).code == 0
    with opened(cluster_home) as one:
        newest = one.coordinator.get(BUNDLE)
        assert newest is not None
        sealed = key_bundles.parse(newest.value)
        stranger = node_keys.make(own_keys.read(one.paths).installation_id, "node1")
        by_him = key_bundles.seal(
            one._keys_to_give().bundle, sealed.occasion, ("node2", _keys_of(second)), stranger
        )
        elsewhere = sealed._replace(by="node9")
        changed = sealed._replace(message=sealed.message[:-1] + b"\0")
    for bundle in (older.value, by_him.serialize(), elsewhere.serialize(), changed.serialize()):
        forged(second, bundle)
        with opened(second) as two:
            before = two.keystore.load()
            with pytest.raises(IntegrityError):
                kept_keys.take(two)
            assert two.keystore.load().difference(before) == ""


def _keys_of(home: Path) -> node_keys.NodePublic:
    with opened(home) as node:
        return own_keys.read(node.paths).public


def test_a_node_that_was_taken_out_meanwhile_finds_nothing(
    cluster_home: Path, second: Path, run: Run
) -> None:
    """Row 30: what was kept for it goes with it, and it opens nothing."""
    regenerated(run, cluster_home)
    with opened(cluster_home) as one:
        assert one.coordinator.version(BUNDLE)
        assert one.peers.leave_out("os:tests", ["node2"]) == ("node2",)
        assert one.coordinator.version(BUNDLE) == 0
    with closing(opening.open_node(str(second))) as two:
        assert not kept_keys.take(two)
        with pytest.raises(StrongroomError):
            two.configuration.document()


def test_what_only_others_know_of_a_node_is_not_enough(
    cluster_home: Path, second: Path, run: Run
) -> None:
    """A node that knows nobody takes keys from nobody: whoever writes in ZooKeeper could else give it any."""
    regenerated(run, cluster_home)
    with opened(second) as two:
        two.paths.known_nodes.unlink()
        with pytest.raises(
            IntegrityError, match="node1, which kept the new ones for it, is not known"
        ):
            kept_keys.take(two)
