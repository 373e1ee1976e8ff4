"""A recovery in a cluster keeps every other node off until it ends, and is finished by the next run if it was killed.

The other node here is opened in this process, and does what `strongroom serve` does at its start.
"""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from strongroom.crypto import age
from strongroom.errors import IntegrityError, StateError
from strongroom.joining.registry import NodeState
from strongroom.node import agent, in_the_way, joining, kept_keys, replacing
from strongroom.runtime.paths import DataPaths
from strongroom.services.keys.replacing import RESTORE_LOCK
from strongroom.services.recovery.condition import Condition
from strongroom.services.recovery.new_keys import NewKeys
from strongroom.services.recovery.recover import RecoverService
from tests.contract.cluster.commands import Run, joined, nodes, opened, started
from tests.contract.cluster.takeover_lab import wait_for
from tests.contract.cluster.test_controller import served
from tests.contract.cluster.test_log_key import KilledError, killed
from tests.support import web_client

RECOVER = ("recover", "--identity", "identity")
Step = tuple[type, str]
BEGIN: Step = (RecoverService, "_begin")
OTHER_ROOTS: Step = (NewKeys, "_others")
FINISH: Step = (RecoverService, "_finish")
BEFORE: tuple[Step, ...] = (BEGIN, (NewKeys, "add_key"))
"""Steps before which nothing is written that another node could not prove."""
IN_BETWEEN: tuple[Step, ...] = (OTHER_ROOTS, (NewKeys, "settle_key"), FINISH)


@pytest.fixture
def second(cluster_home: Path, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A second node, off; the first one is about to be recovered, as if its root were lost."""
    identity = age.new_identity()
    add = ("security", "kms", "roots", "add", "age", "--recipient", identity.recipient)
    said = run("tsm", cluster_home, *add)
    assert said.code == 0, said.err
    with web_client.serve(cluster_home) as served:
        joined(served, run, tmp_path / "two")
    Path("identity").write_bytes(identity.text.reveal() + b"\n")
    monkeypatch.setattr(Condition, "is_whole", lambda *_: False)
    with opened(tmp_path / "two") as two, two.announced():
        kept_keys.remember(two)
    return tmp_path / "two"


@contextmanager
def meanwhile(step: Step, happens: Callable[[], None]) -> Iterator[None]:
    """Have something happen once, in the midst of a recovery."""
    place, name = step
    whole: Callable[..., Any] = getattr(place, name)
    left = [happens]

    def stepped(self: object, *given: Any) -> Any:
        while left:
            left.pop()()
        return whole(self, *given)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(place, name, stepped)
        yield
    assert not left


def has_followed(first: Path, second: Path) -> None:
    """The other node takes what the recovery made, and serves by it."""
    started(second)
    with opened(first) as one, opened(second) as two:
        assert two.peers.all()["node2"].state is NodeState.ACTIVE
        assert two.present_keys().proved.digest == one.present_keys().proved.digest
        for node in (one, two):
            assert node.kms_store.prove().problems == ()
            assert node.state_faults() == ()


def test_a_node_that_starts_in_the_midst_of_a_recovery_is_kept_away(
    cluster_home: Path, second: Path, run: Run
) -> None:
    """M1, R13: a start, one that was past its first look, a second recovery and a restore; the recovery ends as alone.

    And one that is killed anywhere is finished by its next run. One test, since two nodes take as long as all of that.
    """
    said = list[str]()

    def begins() -> None:
        with pytest.raises(StateError) as refused:
            started(second)
        said.append(refused.value.message)

    def others() -> None:
        begins()
        with opened(second) as two, pytest.raises(StateError) as refused:
            # it had looked for the lock before there was one, and opens the keys that are about to go
            joining.service(two).tell("os:tests", "")
        said.append(refused.value.message)
        with opened(second) as two, pytest.raises(StateError) as refused:
            replacing.others_off(two, RESTORE_LOCK, "").__enter__()
        said.append(refused.value.message)
        said.append(run("strongroom", second, *RECOVER).err)

    with meanwhile(BEGIN, others), meanwhile(OTHER_ROOTS, begins):
        done = run("strongroom", cluster_home, *RECOVER)
    assert done.code == 0, done.err
    *refusals, second_recovery, late = said
    words = "node1 recovers the keys, which replaces those that this node has"
    assert all(words in one for one in (*refusals, late)), said
    assert "recover is locked by" in second_recovery
    has_followed(cluster_home, second)
    killed_anywhere(cluster_home, second, run)


def test_a_node_that_was_cut_off_for_a_whole_recovery_ends_to_begin_anew(
    cluster_home: Path, second: Path, run: Run, tmp_path: Path
) -> None:
    """M1, ADR 69: paused until its session is gone; when it wakes, the recovery has ended, and its keys are those of before."""
    with served(second, tmp_path) as process, opened(cluster_home) as one:
        process.send_signal(signal.SIGSTOP)
        wait_for(lambda: not in_the_way.find(one).served, "its session goes on")
        said = run("strongroom", cluster_home, *RECOVER)
        assert said.code == 0, said.err
        process.send_signal(signal.SIGCONT)
        assert process.wait(60) == StateError.exit_code
    assert "replaced while it was cut off" in (tmp_path / f"{second.name}.err").read_text()
    has_followed(cluster_home, second)


def test_a_node_that_was_cut_off_serves_by_no_key_of_before(
    cluster_home: Path, second: Path, run: Run
) -> None:
    """M1: in the moment between its return and its end; what is recovered had lost nothing, or the keys of its own."""
    for lost in (False, True):
        ended = list[str]()
        with opened(second) as two:
            before = two.kms_cache.opened().ring.active.id
            assert not replacing.was_replaced(two)
            if lost:
                DataPaths(cluster_home).node_keys.unlink()
            said = run("strongroom", cluster_home, *RECOVER)
            assert said.code == 0, said.err
            wait_for(partial(is_refused, two.kms_cache.ring), "it seals by a key of before")
            wait_for(partial(is_refused, two.kms_cache.ring_for, before), "it opens by such a key")
            agent._look_at_membership(
                two, partial(ended.append, "for good"), partial(ended.append, "to begin anew")
            )
        assert ended == ["to begin anew"]
        if not lost:
            has_followed(cluster_home, second)


def is_refused(use: Callable[..., object], *given: object) -> bool:
    """Whether the keys are refused; what ZooKeeper told of the store last may be a moment old."""
    try:
        use(*given)
    except IntegrityError:
        return True
    return False


def killed_anywhere(cluster_home: Path, second: Path, run: Run) -> None:
    """M1: the other node serves by the keys that are in force, or says for whose next run it has to wait."""
    for step in BEFORE:
        killed_at(step, run, cluster_home)
        started(second)
        assert nodes(run, cluster_home)["node2"]["state"] == "active"
    for step in IN_BETWEEN:
        killed_at(step, run, cluster_home)
        with pytest.raises(StateError, match="was begun on another node and not finished"):
            started(second)
        assert nodes(run, cluster_home)["node2"]["state"] == "stale"
    said = run("strongroom", cluster_home, *RECOVER)
    assert said.code == 0, said.err
    has_followed(cluster_home, second)


def killed_at(step: Step, run: Run, home: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        place, name = step
        patch.setattr(place, name, killed)
        with pytest.raises(KilledError):
            run("strongroom", home, *RECOVER)
