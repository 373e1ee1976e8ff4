"""Attempts of a regeneration on two disks that share one configuration (docs/format/key-changes.md 4.8; matrix 29).

The key files of one node are exchanged for those of the other; a giver's are taken by the rules of a receiver. The tests of
real nodes are in `tests/contract/cluster/test_attempts.py`.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Final, cast

import pytest

from strongroom.configuration_keys.keys import ConfigurationKeys
from strongroom.coordination.base import Change
from strongroom.coordination.leases import lease_lost
from strongroom.crypto import age
from strongroom.errors import ConflictError, StateError
from strongroom.keystore.replicas import FILE_NAME, KeystoreDirectory
from strongroom.node.opening import Node
from strongroom.roots import recipient
from strongroom.services.keys import key_recipients, store_journals
from strongroom.services.keys.attempts import Attempts
from strongroom.services.keys.key_holders import KeyHolders
from strongroom.services.keys.key_recipients import KeyRecipients
from strongroom.services.keys.regenerate import RegenerateService
from strongroom.services.keys.regeneration import JOURNAL, ROOM, Journal
from strongroom.services.keys.roots import RootsService
from tests.support.memory_consumer import KilledError

if TYPE_CHECKING:
    from strongroom.services.keys.spread_keys import SpreadKeys

ACTOR: Final = "os:tester"
KEYS: Final = ("keys",)


class Disks:
    """The key files of two nodes, of which one is at work; in the place of `SpreadKeys`."""

    is_needed = True

    def __init__(self, node: Node) -> None:
        self._node = node
        records = node.present_keys().path.name
        folders = node.keystore.folders
        self._paths = [folder / name for folder in folders for name in (FILE_NAME, records)]
        self._files = dict.fromkeys(("node1", "node2"), self._read())
        self.node_id = "node1"
        self.for_all = node.coordinator.for_all

    def go_to(self, node_id: str) -> None:
        """Let the other disk be the one that is read and written."""
        self._files[self.node_id] = self._read()
        self.node_id = node_id
        self._write(self._files[node_id])

    def files(self, node_id: str) -> tuple[frozenset[str], bytes]:
        """The master keys and the records of a disk."""
        before = self.node_id
        self.go_to(node_id)
        keystore, keys = self._node.keystore.load(), self._node.present_keys()
        keys.verify()
        self.go_to(before)
        return frozenset(keystore.aliases), keys.path.read_bytes()

    def alone(self) -> AbstractContextManager[None]:
        return nullcontext()

    def own_removed(self) -> dict[str, Change]:
        return {}

    def check(self) -> None:
        """The other node is always there."""

    def give(self, actor: str) -> None:
        """The other disk takes what this one has, by 4.5 and 4.6."""
        assert actor == ACTOR
        node, giver = self._node, self.node_id
        keystore, given = node.keystore.load(), node.present_keys()
        raw, found = given.path.read_bytes(), given.proved
        self.go_to("node2" if giver == "node1" else "node1")
        own = node.present_keys().proved
        is_other = found.present.generation == own.present.generation and found.digest != own.digest
        assert found.present.generation >= own.present.generation
        assert not is_other
        assert found.alias == keystore.newest
        both = node.keystore.load()
        for one in keystore.entries:
            both = both.with_entry(one)
        node.keystore.take(both)
        node.present_keys().take(raw)
        node.keystore.take(keystore)
        node.present_keys().verify()
        self.go_to(giver)
        with node.coordinator.having_given():
            node.coordinator.put({})

    def _read(self) -> dict[Path, bytes]:
        return {path: path.read_bytes() for path in self._paths}

    def _write(self, files: dict[Path, bytes]) -> None:
        for path, data in files.items():
            path.write_bytes(data)


@pytest.fixture
def disks(whole: Node, monkeypatch: pytest.MonkeyPatch) -> Disks:
    """Two disks of the same keys."""
    monkeypatch.setattr(whole.coordinator, "_is_shared", True)
    return Disks(whole)


@pytest.fixture
def service(whole: Node, disks: Disks) -> RegenerateService:
    """A regeneration of a node of a cluster."""
    coordinator = whole.coordinator
    others = cast("SpreadKeys", disks)
    holders = KeyHolders(
        whole.keystore,
        whole.present_keys,
        whole.events.checkpoints,
        coordinator.renewing,
        others=others,
    )
    ports = whole._kms_ports
    return RegenerateService(holders, whole.kms_store, whole.assets, whole.rotation, ports)


POINTS: Final[Sequence[tuple[type, str]]] = (
    (Attempts, "_put"),
    (ConfigurationKeys, "advance"),
    (KeystoreDirectory, "add_alias"),
    (ConfigurationKeys, "add_next"),
    (Disks, "give"),
    (RegenerateService, "_replace_values"),
    (ConfigurationKeys, "settle"),
    (ConfigurationKeys, "remove"),
    (ConfigurationKeys, "rewrap"),
    (KeystoreDirectory, "remove_alias"),
    (RegenerateService, "_advance"),
)


RECIPIENT_POINTS: Final[Sequence[tuple[type, str]]] = (
    (KeyRecipients, "_begin"),
    (ConfigurationKeys, "advance"),
    (ConfigurationKeys, "set_recipients"),
    (Disks, "give"),
    (KeyRecipients, "_end"),
)


class Deaths:
    """Kills a run once before and once behind each call of a point, counted from the last death on."""

    def __init__(
        self, patch: pytest.MonkeyPatch, points: Sequence[tuple[type, str]] = POINTS
    ) -> None:
        self.told, self._calls = list[str](), Counter[str]()
        for kind, name in points:
            patch.setattr(kind, name, self._dying(getattr(kind, name), name))

    def _dying(self, real: Callable[..., object], name: str) -> Callable[..., object]:
        def call(*given: object, **more: object) -> object:
            self._calls[name] += 1
            count = self._calls[name]
            self._die(f"before {name} {count}")
            result = real(*given, **more)
            self._die(f"behind {name} {count}")
            return result

        return call

    def _die(self, place: str) -> None:
        if place not in self.told:
            self.told.append(place)
            self._calls.clear()
            raise KilledError(place)


def check(node: Node, disks: Disks) -> None:
    """Both disks have one master key and the same records, and nothing contradicts an anchor."""
    assert disks.files("node1") == disks.files("node2")
    assert len(node.keystore.load().aliases) == 1
    assert len(node.present_keys().records) == 1
    assert node.coordinator.version(JOURNAL) == 0
    assert node.kms_store.prove().problems == ()
    assert node.state_faults() == ()


@pytest.mark.parametrize("turn", ["both in turn", "not always"])
def test_a_run_that_dies_anywhere_is_finished_by_any_node(
    whole: Node, disks: Disks, service: RegenerateService, turn: str
) -> None:
    """Each death hands the run to the other node, or, every third time, leaves it where it was."""
    with pytest.MonkeyPatch.context() as patch:
        deaths = Deaths(patch)
        for number in range(100):
            if turn == "both in turn" or number % 3:
                disks.go_to("node2" if disks.node_id == "node1" else "node1")
            try:
                service.run(ACTOR, lambda _: None, KEYS)
            except KilledError:
                continue
            break
    assert {place.split()[1] for place in deaths.told} == {name for _, name in POINTS}
    check(whole, disks)
    disks.go_to("node2")
    service.run(ACTOR, lambda _: None, KEYS)
    check(whole, disks)


def test_a_key_that_is_on_another_disk_alone_gives_way_to_one_of_another_name(
    whole: Node, disks: Disks, service: RegenerateService, monkeypatch: pytest.MonkeyPatch
) -> None:
    """E4: a run was paused behind the step that adds the master key, and its node never came back."""

    def die(*_: object) -> None:
        raise KilledError

    before = whole.present_keys().present.generation
    with monkeypatch.context() as patch:
        patch.setattr(RegenerateService, "_add_configuration_key", die)
        with pytest.raises(KilledError):
            service.run(ACTOR, lambda _: None, KEYS)
    found = whole.coordinator.get(JOURNAL)
    assert found is not None
    first = Journal.parse(found.value)
    assert (first.step, first.node, first.generation) == (1, "node1", before + ROOM)
    disks.go_to("node2")
    assert first.alias not in whole.keystore.load().aliases
    done = service.run(ACTOR, lambda _: None, KEYS)
    assert (done.resumed, done.alias == first.alias) == (True, False)
    assert done.configuration_key_id != first.key_id
    assert whole.present_keys().present.generation > first.generation + ROOM
    check(whole, disks)


def test_keys_that_were_given_and_are_not_here_are_asked_of_the_node_that_has_them(
    whole: Node, service: RegenerateService
) -> None:
    """The sentence says where the run was worked on, and nothing of a backup."""
    point = whole.kms_store.point()
    journal = Journal(2, "master-key-7", JOURNAL, JOURNAL, "", point, KEYS, "node3", 2049)
    whole.coordinator.put({JOURNAL: Change(journal.serialize(), 0)})
    with pytest.raises(StateError, match="that node3 works on are not on this node") as caught:
        service.run(ACTOR, lambda _: None, KEYS)
    assert "node3" in caught.value.hint
    assert "backup" not in caught.value.with_hint


def test_a_regeneration_does_not_begin_while_a_recovery_is_unfinished(
    whole: Node, service: RegenerateService
) -> None:
    """The key of the recovery is to become active, and would be dropped."""
    whole.coordinator.put({store_journals.RECOVER: Change(b"{}", 0)})
    with pytest.raises(StateError, match="recovery was begun"):
        service.run(ACTOR, lambda _: None, KEYS)
    assert whole.coordinator.version(JOURNAL) == 0


# ---- recovery recipients (key-changes.md 4.10) ---------------------------------------------------


@pytest.fixture
def roots(whole: Node, disks: Disks) -> RootsService:
    """The recovery roots of a node of a cluster."""
    others = cast("SpreadKeys", disks)
    recipients = KeyRecipients(whole.present_keys, whole.keystore, whole.coordinator, others)
    return RootsService(whole.kms_store, recipients)


def add(roots: RootsService, name: str) -> None:
    roots.add(recipient.settings(name), ACTOR)


def check_recipients(node: Node, disks: Disks, *names: str) -> None:
    """Both disks have the same records, wrapped for these recipients, and nothing is left over."""
    assert disks.files("node1") == disks.files("node2")
    assert node.kms_store.current()[0].recipients == names
    assert node.present_keys().drift(names) == ()
    assert key_recipients.begun(node.coordinator) == 0
    assert node.state_faults() == ()


@pytest.mark.parametrize("turn", ["both in turn", "not always"])
def test_a_change_of_recipients_that_dies_anywhere_is_made_again_by_any_node(
    whole: Node, disks: Disks, roots: RootsService, turn: str
) -> None:
    """The wraps are random: two nodes that made them under one number would refuse each other's for ever."""
    name = age.new_identity().recipient
    with pytest.MonkeyPatch.context() as patch:
        deaths = Deaths(patch, RECIPIENT_POINTS)
        for number in range(100):
            if turn == "both in turn" or number % 3:
                disks.go_to("node2" if disks.node_id == "node1" else "node1")
            try:
                add(roots, name)
            except KilledError:
                continue
            break
    assert {place.split()[1] for place in deaths.told} == {name for _, name in RECIPIENT_POINTS}
    check_recipients(whole, disks, name)
    disks.go_to("node2")
    (wrap,) = (one.wrap_id for one in roots.list() if one.kind == "age")
    roots.remove(wrap, ACTOR)
    check_recipients(whole, disks)


def died_between(roots: RootsService, monkeypatch: pytest.MonkeyPatch) -> None:
    """A node has written its records for a recipient, and given them to nobody."""

    def die(*_: object) -> None:
        raise KilledError

    with monkeypatch.context() as patch:
        patch.setattr(Disks, "give", die)
        with pytest.raises(KilledError):
            add(roots, age.new_identity().recipient)


def test_records_that_were_not_given_are_named_by_no_anchor(
    whole: Node, disks: Disks, roots: RootsService, monkeypatch: pytest.MonkeyPatch
) -> None:
    """4.4: the other node, which has those of before, is not told that they were put back, and starts."""
    died_between(roots, monkeypatch)
    whole.configuration.set("gateway.https.port", "9443", actor=ACTOR)
    assert whole.state_faults() == ()
    disks.go_to("node2")
    assert whole.state_faults() == ()


def test_another_recipient_at_another_node_takes_the_place_of_one_that_was_not_given(
    whole: Node, disks: Disks, roots: RootsService, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = whole.present_keys().present.generation
    died_between(roots, monkeypatch)
    assert key_recipients.begun(whole.coordinator) == before + ROOM
    disks.go_to("node2")
    assert whole.present_keys().present.generation == before
    name = age.new_identity().recipient
    add(roots, name)
    assert whole.present_keys().present.generation == before + 2 * ROOM + 1
    check_recipients(whole, disks, name)


def test_a_repair_at_another_node_takes_off_a_recipient_that_was_not_given(
    whole: Node, disks: Disks, roots: RootsService, monkeypatch: pytest.MonkeyPatch
) -> None:
    died_between(roots, monkeypatch)
    disks.go_to("node2")
    roots.repair(ACTOR)
    check_recipients(whole, disks)


def test_a_regeneration_goes_on_above_a_change_of_recipients_that_was_not_given(
    whole: Node,
    disks: Disks,
    service: RegenerateService,
    roots: RootsService,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    died_between(roots, monkeypatch)
    disks.go_to("node2")
    service.run(ACTOR, lambda _: None, KEYS)
    check(whole, disks)
    assert roots.repair(ACTOR) == ()
    check_recipients(whole, disks)


def test_recipients_change_above_a_regeneration_that_another_node_began(
    whole: Node,
    disks: Disks,
    service: RegenerateService,
    roots: RootsService,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The first node has the next key on its disk; what the other one gives has it no more."""

    def die(*_: object) -> None:
        raise KilledError

    with monkeypatch.context() as patch:
        patch.setattr(RegenerateService, "_replace_values", die)
        real = Disks.give
        given = list[int]()

        def give(self: Disks, actor: str) -> None:
            given.append(1)
            if len(given) == 2:
                raise KilledError
            real(self, actor)

        patch.setattr(Disks, "give", give)
        with pytest.raises(KilledError):
            service.run(ACTOR, lambda _: None, KEYS)
    with pytest.raises(StateError, match="a regeneration is under way"):
        roots.repair(ACTOR)
    disks.go_to("node2")
    name = age.new_identity().recipient
    add(roots, name)
    check_recipients(whole, disks, name)
    service.run(ACTOR, lambda _: None, KEYS)
    check(whole, disks)
    check_recipients(whole, disks, name)


def test_a_change_of_recipients_whose_lock_has_passed_on_writes_no_records(
    whole: Node, disks: Disks, roots: RootsService, monkeypatch: pytest.MonkeyPatch
) -> None:
    """4.9: another node may have changed them since."""

    def lost(*_: object) -> None:
        raise lease_lost("kms")

    before = disks.files("node1")
    monkeypatch.setattr("strongroom.coordination.leases.check", lost)
    with pytest.raises(ConflictError, match="'kms' is no longer held"):
        add(roots, age.new_identity().recipient)
    assert disks.files("node1") == before
