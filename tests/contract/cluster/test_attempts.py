"""A regeneration that dies anywhere is finished by any node (docs/format/key-changes.md 4.8; matrix 29; E4).

A step has written on the disk of its node what it has not given yet. The run is killed before and behind each such
write, and before and behind each moment in which the nodes are told of it; another node goes on each time.
"""

import random
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Final

import pytest

from strongroom.configuration_keys.keys import ConfigurationKeys
from strongroom.coordination.base import Change
from strongroom.crypto import age
from strongroom.errors import ConflictError, NodesError, StateError
from strongroom.keystore.replicas import KeystoreDirectory
from strongroom.node import kept_keys
from strongroom.node.opening import Node
from strongroom.roots import recipient
from strongroom.services.keys import key_recipients, store_journals
from strongroom.services.keys.attempts import Attempts
from strongroom.services.keys.regenerate import RegenerateService
from strongroom.services.keys.regeneration import JOURNAL, ROOM, Journal
from strongroom.services.keys.spread_keys import SpreadKeys
from strongroom.services.keys.words import Words
from tests.conftest import Torture
from tests.contract.cluster.commands import Run, at_work, joined, opened
from tests.contract.cluster.password_lab import root_of
from tests.contract.cluster.paused_lab import Judge
from tests.contract.cluster.test_off_during_changes import start
from tests.contract.cluster.test_regenerate_two import ACTOR, KEYS, key_files
from tests.support import web_client
from tests.support.cluster_services import ClusterServices
from tests.support.memory_consumer import KilledError

POINTS: Final[Sequence[tuple[type, str]]] = (
    (Attempts, "_put"),
    (ConfigurationKeys, "advance"),
    (KeystoreDirectory, "add_alias"),
    (ConfigurationKeys, "add_next"),
    (SpreadKeys, "give"),
    (Words, "wait"),
    (RegenerateService, "_replace_values"),
    (ConfigurationKeys, "settle"),
    (ConfigurationKeys, "remove"),
    (ConfigurationKeys, "rewrap"),
    (KeystoreDirectory, "remove_alias"),
    (RegenerateService, "_advance"),
)
"""What writes on the disk of the node that works on a run, gives what was written, or puts how far it has come."""
MOST: Final = 80


class Deaths:
    """Kills a run once before and once behind each call of a point, counted from the last death on.

    A run of every day leaves two of three places out, by its seed, but dies at each point at least once.
    """

    def __init__(
        self, patch: pytest.MonkeyPatch, points: Sequence[tuple[type, str]], torture: Torture
    ) -> None:
        self.told, self._calls = list[str](), Counter[str]()
        self._torture, self._left_out = torture, set[str]()
        for kind, name in points:
            self._dies(patch, kind, name)

    def _dies(self, patch: pytest.MonkeyPatch, kind: type, name: str) -> None:
        real = getattr(kind, name)

        def call(*given: object, **more: object) -> object:
            self._calls[name] += 1
            # a step that comes twice is another place: it is reached behind other steps
            count = self._calls[name]
            self._die(f"before {name} {count}")
            result = real(*given, **more)
            self._die(f"behind {name} {count}")
            return result

        patch.setattr(kind, name, call)

    def _die(self, place: str) -> None:
        if place in self.told or place in self._left_out:
            return
        chance = random.Random(f"{self._torture.seed} {place}")
        has_died_here = any(one.split()[1] == place.split()[1] for one in self.told)
        if has_died_here and not self._torture.whole and chance.randrange(3):
            self._left_out.add(place)
            return
        self.told.append(place)
        self._calls.clear()
        raise KilledError(place)


def finished(deaths: Deaths, runners: Iterator[Node]) -> Node:
    """Let one node after the other go on until a run ends; returns the one that ended it."""
    for node, _ in zip(runners, range(MOST), strict=False):
        try:
            node.regenerate.run(ACTOR, lambda _: None, KEYS)
        except KilledError:
            continue
        except NodesError as error:
            # a slow machine: the same command goes on
            if "did not answer" not in error.message:
                raise
            continue
        return node
    raise AssertionError(f"never at an end: {deaths.told}")


def check(nodes: Sequence[Node]) -> None:
    """All nodes have one master key and the same records, nothing is left over, and nothing contradicts an anchor."""
    first, *others = nodes
    assert len(first.keystore.load().aliases) == 1
    for node in others:
        assert key_files(node) == key_files(first)
    assert first.coordinator.list("keystore/") == {}
    assert first.coordinator.version(JOURNAL) == 0
    assert len(first.present_keys().records) == 1
    for node in nodes:
        assert node.kms_store.prove().problems == ()
        assert node.state_faults() == ()
        assert node.event_log_faults() == ()


def alternating(nodes: Sequence[Node]) -> Iterator[Node]:
    while True:
        yield from nodes


def test_a_run_that_dies_anywhere_is_finished_by_the_nodes_in_turn(
    cluster_home: Path, run: Run, tmp_path: Path, torture: Torture
) -> None:
    """Each death hands the run to the other node; every point is one at which a run died."""
    with web_client.serve(cluster_home) as served:
        second = joined(served, run, tmp_path / "two" / "node")
    with ExitStack() as stack:
        nodes = [stack.enter_context(at_work(home)) for home in (cluster_home, second)]
        with pytest.MonkeyPatch.context() as patch:
            deaths = Deaths(patch, POINTS, torture)
            finished(deaths, alternating(nodes))
        assert {place.split()[1] for place in deaths.told} == {name for _, name in POINTS}
        check(nodes)
        # and the next run begins from there, on either
        nodes[1].regenerate.run(ACTOR, lambda _: None, KEYS)
        check(nodes)


PLACES: Final = tuple(
    (kind, name, behind)
    for kind, name in POINTS
    if name not in {"wait", "_replace_values", "_put"}
    for behind in (False, True)
)


@pytest.mark.torture
def test_what_one_node_left_on_its_disk_gives_way_to_the_run_of_the_other(
    cluster_home: Path,
    run: Run,
    tmp_path: Path,
    torture: Torture,
    record_property: Callable[[str, object], None],
) -> None:
    """The first node dies at each call of a point, and the second finishes without it; the first comes back afterwards.

    A run of every day has one place, which the seed chooses.
    """
    places = PLACES if torture.whole else [random.Random(torture.seed).choice(PLACES)]
    with web_client.serve(cluster_home) as served:
        second = joined(served, run, tmp_path / "two" / "node")
    with opened(cluster_home) as one:
        kept_keys.remember(one)
    deaths = 0
    for kind, name, behind in places:
        for number in range(1, MOST):
            with at_work(second) as two:
                if not died_at_call(cluster_home, kind, name, behind=behind, number=number):
                    assert number > 1, name
                    break
                deaths += 1
                two.peers.go_on_without(ACTOR, ["node1"])
                two.regenerate.run(ACTOR, lambda _: None, KEYS)
                start(cluster_home)
                with opened(cluster_home) as one:
                    check([two, one])
    record_property("torture", f"{deaths} deaths at {len(places)} places")


def died_at_call(home: Path, kind: type, name: str, *, behind: bool, number: int) -> bool:
    """Whether a run on a node died before, or behind, that call of a point; else the run has ended."""
    real, calls = getattr(kind, name), Counter[str]()

    def call(*given: object, **more: object) -> object:
        calls[name] += 1
        if calls[name] == number and not behind:
            raise KilledError(name)
        result = real(*given, **more)
        if calls[name] == number:
            raise KilledError(name)
        return result

    with pytest.MonkeyPatch.context() as patch, at_work(home) as node:
        patch.setattr(kind, name, call)
        try:
            node.regenerate.run(ACTOR, lambda _: None, KEYS)
        except KilledError:
            return True
    return False


def test_a_node_that_never_comes_back_takes_nothing_with_it(
    cluster_home: Path, run: Run, tmp_path: Path
) -> None:
    """The new master key lay on its disk alone: the other node goes on by itself, under a key of its own."""
    with web_client.serve(cluster_home) as served:
        second = joined(served, run, tmp_path / "two" / "node")
    with at_work(second) as two:
        assert died_at_call(
            cluster_home, RegenerateService, "_add_configuration_key", behind=False, number=1
        )
        two.peers.leave_out(ACTOR, ["node1"])
        found = two.coordinator.get(JOURNAL)
        assert found is not None
        before = Journal.parse(found.value)
        assert before.alias not in two.keystore.load().aliases
        done = two.regenerate.run(ACTOR, lambda _: None, KEYS)
        assert done.resumed
        assert done.alias != before.alias
        assert two.keystore.load().aliases == (done.alias,)
        check([two])


def test_keys_that_were_given_and_are_not_here_are_asked_of_the_node_that_has_them(
    cluster_home: Path, run: Run, tmp_path: Path
) -> None:
    """The sentence says where the run was worked on, and nothing of a backup."""
    with web_client.serve(cluster_home) as served:
        second = joined(served, run, tmp_path / "two" / "node")
    with at_work(cluster_home) as one, at_work(second) as two:
        decided = one.regenerate._decide(KEYS)[0]
        assert decided.node == "node1"
        assert decided.generation == one.present_keys().present.generation + ROOM
        with two.coordinator.lock("kms", wait_s=5):
            put = Journal(**{**vars(decided), "step": 2}).serialize()
            two.coordinator.put({JOURNAL: Change(put, two.coordinator.version(JOURNAL))})
        with pytest.raises(StateError, match="that node1 works on") as caught:
            two.regenerate.run(ACTOR, lambda _: None, KEYS)
        assert "backup" not in caught.value.with_hint


def test_a_command_whose_lock_has_passed_on_changes_no_key_file(
    cluster_home: Path,
    services: ClusterServices,
    run: Run,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """4.9; E4: it wakes right before it would write, and another node may have finished its work."""
    with web_client.serve(cluster_home) as served:
        second = joined(served, run, tmp_path / "two" / "node")
    real = RegenerateService._add_master_key
    with ExitStack() as stack:
        one, _ = (stack.enter_context(at_work(home)) for home in (cluster_home, second))
        judge = Judge(
            stack.enter_context(services.ensemble.judge()), services, root_of(cluster_home)
        )

        def paused(*given: object) -> object:
            before.append(key_files(one))
            judge.take_away("kms")
            return real(*given)  # type: ignore[arg-type]

        before = list[object]()
        monkeypatch.setattr(RegenerateService, "_add_master_key", paused)
        with pytest.raises(ConflictError, match="'kms' is no longer held"):
            one.regenerate.run(ACTOR, lambda _: None, KEYS)
        assert [key_files(one)] == before


def test_recipients_that_one_node_has_not_given_give_way_to_those_of_the_other(
    cluster_home: Path, second_home: Path
) -> None:
    """4.10: the first node dies with wraps on its disk alone, and takes those of the other, and changes them, afterwards."""
    names = [age.new_identity().recipient for _ in range(3)]
    with at_work(second_home) as two:
        with pytest.MonkeyPatch.context() as patch, at_work(cluster_home) as one:
            patch.setattr(SpreadKeys, "give", killed)
            with pytest.raises(KilledError):
                one.roots.add(recipient.settings(names[0]), ACTOR)
        with at_work(cluster_home) as one:
            assert one.present_keys().present.generation > two.present_keys().present.generation
            two.roots.add(recipient.settings(names[1]), ACTOR)
            one.roots.add(recipient.settings(names[2]), ACTOR)
            for node in (one, two):
                assert node.present_keys().drift(names[1:]) == ()
            check([one, two])
        assert two.coordinator.version(key_recipients.JOURNAL) == 0


def killed(*_: object) -> None:
    raise KilledError


def test_a_regeneration_does_not_begin_while_a_recovery_is_unfinished(
    cluster_home: Path, run: Run, tmp_path: Path
) -> None:
    """The key of the recovery is to become active, and would be dropped."""
    with web_client.serve(cluster_home) as served:
        second = joined(served, run, tmp_path / "two" / "node")
    with at_work(cluster_home) as one, at_work(second):
        one.coordinator.put({store_journals.RECOVER: Change(b"{}", 0)})
        with pytest.raises(StateError, match="recovery was begun"):
            one.regenerate.run(ACTOR, lambda _: None, KEYS)
        assert one.coordinator.version(JOURNAL) == 0
