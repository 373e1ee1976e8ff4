"""Rotations that were killed: the next start finishes them (R7)."""

from collections.abc import Mapping
from typing import Any

import pytest

from strongroom.canonical import dumps
from strongroom.config.rotation import KEPT, RotationJournal, parse_kept, serialize_kept
from strongroom.consumers.base import Credential
from strongroom.coordination.base import Change, Coordinator, Lease
from strongroom.crypto import rng
from strongroom.errors import (
    ConsumerRefusedError,
    ConsumerUnavailableError,
    FormatError,
    StateError,
)
from strongroom.eventlog.base import SYSTEM
from strongroom.eventlog.events import secret_events
from strongroom.ids import new_id
from strongroom.node.opening import Node
from strongroom.secrets.committed import ValueKey
from strongroom.secrets.generate import generated_names
from strongroom.system.compat import override
from tests.support.memory_consumer import KilledError, MemoryComponent, MemoryConsumer
from tests.support.rotation_lab import ACTOR, REDIS, Lab, candidates, one
from tests.support.stored_forms import differing_files

# ---- kills -------------------------------------------------------------------------------------------


class Killing:
    """A coordinator that dies at one of its puts, before or after it."""

    def __init__(self, inner: Coordinator, at: int, *, after: bool) -> None:
        self._inner = inner
        self._at, self._after = at, after
        self.puts = 0

    def put(self, changes: Mapping[str, Change], *, lease: Lease | None = None) -> None:
        self.puts += 1
        if self.puts == self._at and not self._after:
            raise KilledError
        self._inner.put(changes, lease=lease)
        if self.puts == self._at:
            raise KilledError

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


def check_converges(lab: Lab, consumer: MemoryConsumer, before: dict[str, bytes]) -> None:
    """After a kill: something is valid; one start makes all agree."""
    known = {bytes(value) for value in candidates(lab)}
    assert any(valid[REDIS] in known for valid in consumer.component.valid)
    consumer.faults.at = 0
    outcomes = lab.service.resume(SYSTEM)
    assert [one.state for one in outcomes] in ([], ["rotated"])
    assert consumer.component.valid == [lab.present(consumer)]
    if outcomes:
        assert lab.present(consumer) != before
    assert lab.service.journals.all() == []
    lab.service.rotate(ACTOR, [REDIS])
    assert consumer.component.valid == [lab.present(consumer)]


@pytest.mark.parametrize("overlaps", [True, False])
@pytest.mark.parametrize(
    ("at", "after"),
    [(at, after) for at in range(1, 6) for after in (False, True) if (at, after) != (5, True)],
)
def test_a_kill_around_any_call_of_the_consumer_converges_at_the_next_start(
    node: Node, at: int, *, after: bool, overlaps: bool
) -> None:
    lab, consumer = one(node, overlaps=overlaps)
    before = lab.present(consumer)
    consumer.faults.at, consumer.faults.after = at, after
    with pytest.raises(KilledError):
        lab.service.rotate(ACTOR, [REDIS])
    check_converges(lab, consumer, before)


@pytest.mark.parametrize("overlaps", [True, False])
@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("at", range(1, 4))
def test_a_kill_around_any_put_converges_at_the_next_start(
    node: Node, at: int, monkeypatch: pytest.MonkeyPatch, *, after: bool, overlaps: bool
) -> None:
    lab, consumer = one(node, overlaps=overlaps)
    before = lab.present(consumer)
    killing: Any = Killing(node.coordinator, at, after=after)
    with monkeypatch.context() as patched:
        lab.coordinator = killing
        patched.setattr(node.configuration, "_coordinator", killing)
        with pytest.raises(KilledError):
            lab.service.rotate(ACTOR, [REDIS])
        assert killing.puts == at
    lab.coordinator = node.coordinator
    check_converges(lab, consumer, before)


@pytest.mark.parametrize(
    ("what", "at"), [("events", 1), ("events", 2), ("events", 3), ("project", 1)]
)
def test_a_kill_before_an_event_or_the_files_converges_and_is_told(
    node: Node, what: str, at: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every step is told, though perhaps twice: an event may be missing only for what is not done."""
    lab, consumer = one(node)
    before = lab.present(consumer)
    calls = 0
    target, name = (node.events, "append") if what == "events" else (node.configuration, "project")
    original = getattr(target, name)

    def die(*arguments: object) -> object:
        nonlocal calls
        calls += 1
        if calls == at:
            raise KilledError
        return original(*arguments)

    with monkeypatch.context() as patched:
        patched.setattr(target, name, die)
        with pytest.raises(KilledError):
            lab.service.rotate(ACTOR, [REDIS])
    assert lab.service.resume(SYSTEM)
    assert lab.present(consumer) != before
    steps = [one["step"] for one in lab.told(secret_events.SECRET_ROTATED)]
    assert set(steps) == {"promoted", "withdrawn"}
    assert not differing_files(node.configuration)


def test_a_run_that_goes_on_does_not_rotate_again_what_it_did(node: Node) -> None:
    """`regenerate-internal-tokens` names its run: a resumed one does the rest only."""
    first = MemoryConsumer(MemoryComponent(), REDIS)
    second = MemoryConsumer(MemoryComponent(), "jdbc.password", name="memory/two")
    lab = Lab(node, first, second)
    second.faults.at = 1
    with pytest.raises(KilledError):
        lab.service.rotate(ACTOR, run="11111111-1111-4111-8111-111111111111")
    done = {name: lab.value(name) for name in generated_names() - {"jdbc.password"}}
    second.faults.at = 0
    outcomes = lab.service.rotate(ACTOR, run="11111111-1111-4111-8111-111111111111")
    assert [(one.parameters, one.state) for one in outcomes] == [(("jdbc.password",), "rotated")]
    assert {name: lab.value(name) for name in done} == done
    assert second.component.valid == [lab.present(second)]


# ---- leftovers ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("others", [[], ["memory/other"]])
@pytest.mark.parametrize("cut", [1, 3])
def test_a_journal_of_a_consumer_that_is_gone_is_never_dropped_unasked(
    node: Node, others: list[str], cut: int
) -> None:
    """format/rotation-journal.md §2.8: it may hold the only value that its component accepts."""
    lab, consumer = one(node, overlaps=False)
    consumer.faults.at, consumer.faults.after = cut, True
    consumer.faults.error = lambda: ConsumerUnavailableError("gone")
    lab.service.rotate(ACTOR, [REDIS])
    before = lab.value(REDIS)
    lab.consumers = [MemoryConsumer(MemoryComponent(), REDIS, name=name) for name in others]
    assert lab.service.resume(ACTOR) == []
    with pytest.raises(StateError, match="'memory/one'") as refused:
        lab.service.refuse_left_over([REDIS])
    assert "--forget-unfinished" in refused.value.hint
    lab.service.refuse_left_over(["jdbc.password"])
    done = {one.parameters: one for one in lab.service.rotate(ACTOR, ["passwords"])}
    state = "kept" if cut == 1 else "unfinished"
    assert (done[REDIS,].state, done[REDIS,].consumer) == (state, "memory/one")
    assert done["jdbc.password",].state == "rotated"
    assert lab.value(REDIS) == before
    assert [one.consumer for one in lab.service.outstanding()] == ["memory/one"]
    assert lab.service.outstanding(but=list(done.values())) == []
    (valid,) = consumer.component.valid
    assert valid[REDIS] in candidates(lab)
    lab.consumers = [consumer]
    (finished,) = lab.service.rotate(ACTOR, [REDIS])
    assert (finished.state, consumer.component.valid) == ("rotated", [valid])


def test_an_operator_gives_up_a_journal_of_a_consumer_that_is_gone(node: Node) -> None:
    lab, consumer = one(node)
    consumer.component.down = True
    lab.service.rotate(ACTOR, [REDIS])
    before = lab.value(REDIS)
    other = MemoryConsumer(MemoryComponent(), REDIS, name="memory/other")
    other.component.valid = [lab.present(other)]
    lab.consumers = [other]
    lab.service.forget_left_over(ACTOR, ["jdbc.password"])
    assert len(lab.service.journals.all()) == 1
    lab.service.forget_left_over(ACTOR, [REDIS])
    assert lab.service.journals.all() == []
    told = lab.told(secret_events.SECRET_ROTATION_FAILED)[-1]
    assert (told["parameter"], told["consumer"], told["step"]) == (REDIS, "memory/one", "forgotten")
    (outcome,) = lab.service.rotate(ACTOR, [REDIS])
    assert outcome.state == "rotated"
    assert other.component.valid == [lab.present(other)] != [{REDIS: before}]


def test_candidates_are_new_then_old_then_configured(node: Node) -> None:
    lab, consumer = one(node)
    assert candidates(lab) == [lab.value(REDIS)]
    consumer.component.down = True
    lab.service.rotate(ACTOR, [REDIS])
    (found,) = lab.service.journals.all()
    new, old = candidates(lab)
    assert old == lab.value(REDIS) != new
    assert lab.service.candidates("jdbc.password") == (
        node.configuration.open_secret("jdbc.password"),
    )
    text = found.journal.serialize()
    assert new not in text
    assert old not in text


def test_a_configuration_key_that_a_journal_names_is_in_use(node: Node) -> None:
    """format/rotation-journal.md §2.5: else its new value could never be opened."""
    key_id, text = new_id(), b"a value"
    sealed = {REDIS: ValueKey(new_id(), key_id, rng.new_key()).seal(REDIS, text)}
    before = node.configuration.configuration_keys_in_use()
    service = Lab(node).service
    found = service.journals.begin(RotationJournal("memory/one", new_id(), sealed, sealed))
    assert node.configuration.configuration_keys_in_use() == before | {key_id}
    service.journals.remove(found)
    assert node.configuration.configuration_keys_in_use() == before


# ---- values from before ------------------------------------------------------------------------------


def set_by_hand(node: Node, name: str, value: str) -> None:
    node.configuration.set(name, value, actor=ACTOR)
    node.configuration.apply(actor=ACTOR)


class Administered(MemoryConsumer):
    """Changes its component in a session of its own, by a candidate that is valid, as Redis does."""

    lab: Lab

    @override
    def admit(self, new: Credential, present: Credential) -> None:
        valid = [one[REDIS] for one in self.component.valid]
        if not [one for one in candidates(self.lab) if one in valid]:
            raise ConsumerRefusedError("no candidate is valid")
        super().admit(new, present)


@pytest.mark.parametrize("others_alone", [False, True])
def test_a_value_that_only_the_version_before_holds_is_kept_until_a_login(
    node: Node, *, others_alone: bool
) -> None:
    """format/rotation-journal.md §4: promotions of other secrets must not end the component's real one."""
    consumer = Administered(MemoryComponent(), REDIS)
    lab = consumer.lab = Lab(node, consumer)
    real = lab.value(REDIS)
    set_by_hand(node, REDIS, "never told")
    if others_alone:
        lab.service.rotate(ACTOR, ["jdbc.password"])
        lab.service.rotate(ACTOR, ["jdbc.password"])
    consumer.component.down = True
    (failed,) = [
        one for one in lab.service.rotate(ACTOR, [REDIS, "pgsql.adminpassword"]) if one.consumer
    ]
    consumer.component.down = False
    assert failed.state == "kept"
    assert real in candidates(lab)
    lab.service.rotate(ACTOR, ["pgsql.adminpassword"])
    node.configuration.forget_previous()
    outcomes = lab.service.rotate(ACTOR, ["jdbc.password", REDIS])
    assert {one.state for one in outcomes} == {"rotated"}
    assert consumer.component.valid == [lab.present(consumer)] != [{REDIS: real}]
    assert lab.service.journals.kept() == {}
    assert node.coordinator.get(KEPT) is None


def test_a_configuration_key_that_a_kept_value_names_is_in_use(node: Node) -> None:
    """format/rotation-journal.md §4.3."""
    lab, _ = one(node)
    key_id = new_id()
    text = ValueKey(new_id(), key_id, rng.new_key()).seal(REDIS, b"a value")
    before = node.configuration.configuration_keys_in_use()
    node.coordinator.put({KEPT: Change(serialize_kept({REDIS: [text]}), 0)})
    assert node.configuration.configuration_keys_in_use() == before | {key_id}
    assert lab.service.journals.kept() == {REDIS: (text,)}


def test_values_of_two_parameters_are_kept_apart(node: Node) -> None:
    """What one consumer does not need any more, another may."""
    first = MemoryConsumer(MemoryComponent(), REDIS)
    second = MemoryConsumer(MemoryComponent(), "jdbc.password", name="memory/two")
    lab = Lab(node, first, second)
    for name in (REDIS, "jdbc.password"):
        node.configuration.set(name, "never told", actor=ACTOR)
    node.configuration.apply(actor=ACTOR)
    lab.service.rotate(ACTOR, [REDIS])
    assert lab.service.journals.kept().keys() == {"jdbc.password"}


@pytest.mark.parametrize(
    "kept", [{REDIS: []}, {REDIS: "text"}, {REDIS: ["plain"]}, {REDIS: [1]}, []]
)
def test_damaged_kept_values_are_refused(kept: Any) -> None:
    data = dumps({"format": "strongroom-rotation-previous-1", "previous": kept})
    with pytest.raises(FormatError, match="damaged"):
        parse_kept(data)
