"""Rotations that were killed: the next start finishes them (R7)."""

from collections.abc import Mapping
from typing import Any

import pytest

from strongroom.bootstrap import Node
from strongroom.config.document import canonical
from strongroom.config.rotation import KEPT, RotationJournal, parse_kept, serialize_kept
from strongroom.consumers.base import Credential
from strongroom.coordination.base import Change, Coordinator
from strongroom.crypto import rng
from strongroom.errors import (
    ConsumerRefusedError,
    ConsumerUnavailableError,
    FormatError,
    StateError,
)
from strongroom.eventlog import events
from strongroom.ids import new_id
from strongroom.overriding import override
from strongroom.secrets import enc
from strongroom.secrets.generate import generated_names
from tests.memory_consumer import KilledError, MemoryComponent, MemoryConsumer
from tests.rotation_bench import ACTOR, REDIS, Bench, candidates, one

# ---- kills -------------------------------------------------------------------------------------------


class Killing:
    """A coordinator that dies at one of its puts, before or after it."""

    def __init__(self, inner: Coordinator, at: int, *, after: bool) -> None:
        self._inner = inner
        self._at, self._after = at, after
        self.puts = 0

    def put(self, changes: Mapping[str, Change]) -> None:
        self.puts += 1
        if self.puts == self._at and not self._after:
            raise KilledError
        self._inner.put(changes)
        if self.puts == self._at:
            raise KilledError

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


def check_converges(bench: Bench, consumer: MemoryConsumer, before: dict[str, bytes]) -> None:
    """After a kill: something is valid; one start makes all agree."""
    known = {bytes(value) for value in candidates(bench)}
    assert any(valid[REDIS] in known for valid in consumer.component.valid)
    consumer.faults.at = 0
    outcomes = bench.service.resume(events.SYSTEM)
    assert [one.state for one in outcomes] in ([], ["rotated"])
    assert consumer.component.valid == [bench.present(consumer)]
    if outcomes:
        assert bench.present(consumer) != before
    assert bench.service.journals.all() == []
    bench.service.rotate(ACTOR, [REDIS])
    assert consumer.component.valid == [bench.present(consumer)]


@pytest.mark.parametrize("overlaps", [True, False])
@pytest.mark.parametrize(
    ("at", "after"),
    [(at, after) for at in range(1, 6) for after in (False, True) if (at, after) != (5, True)],
)
def test_a_kill_around_any_call_of_the_consumer_converges_at_the_next_start(
    node: Node, at: int, *, after: bool, overlaps: bool
) -> None:
    bench, consumer = one(node, overlaps=overlaps)
    before = bench.present(consumer)
    consumer.faults.at, consumer.faults.after = at, after
    with pytest.raises(KilledError):
        bench.service.rotate(ACTOR, [REDIS])
    check_converges(bench, consumer, before)


@pytest.mark.parametrize("overlaps", [True, False])
@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("at", range(1, 4))
def test_a_kill_around_any_put_converges_at_the_next_start(
    node: Node, at: int, monkeypatch: pytest.MonkeyPatch, *, after: bool, overlaps: bool
) -> None:
    bench, consumer = one(node, overlaps=overlaps)
    before = bench.present(consumer)
    killing: Any = Killing(node.coordinator, at, after=after)
    with monkeypatch.context() as patched:
        bench.coordinator = killing
        patched.setattr(node.configuration, "_coordinator", killing)
        with pytest.raises(KilledError):
            bench.service.rotate(ACTOR, [REDIS])
        assert killing.puts == at
    bench.coordinator = node.coordinator
    check_converges(bench, consumer, before)


@pytest.mark.parametrize(
    ("what", "at"), [("events", 1), ("events", 2), ("events", 3), ("project", 1)]
)
def test_a_kill_before_an_event_or_the_files_converges_and_is_told(
    node: Node, what: str, at: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every step is told, though perhaps twice: an event may be missing only for what is not done."""
    bench, consumer = one(node)
    before = bench.present(consumer)
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
            bench.service.rotate(ACTOR, [REDIS])
    assert bench.service.resume(events.SYSTEM)
    assert bench.present(consumer) != before
    steps = [one["step"] for one in bench.told(events.SECRET_ROTATED)]
    assert set(steps) == {"promoted", "withdrawn"}
    assert not node.configuration.differing_files()


def test_a_run_that_goes_on_does_not_rotate_again_what_it_did(node: Node) -> None:
    """`regenerate-internal-tokens` names its run: a resumed one does the rest only."""
    first = MemoryConsumer(MemoryComponent(), REDIS)
    second = MemoryConsumer(MemoryComponent(), "jdbc.password", name="memory/two")
    bench = Bench(node, first, second)
    second.faults.at = 1
    with pytest.raises(KilledError):
        bench.service.rotate(ACTOR, run="11111111-1111-4111-8111-111111111111")
    done = {name: bench.value(name) for name in generated_names() - {"jdbc.password"}}
    second.faults.at = 0
    outcomes = bench.service.rotate(ACTOR, run="11111111-1111-4111-8111-111111111111")
    assert [(one.parameters, one.state) for one in outcomes] == [(("jdbc.password",), "rotated")]
    assert {name: bench.value(name) for name in done} == done
    assert second.component.valid == [bench.present(second)]


# ---- leftovers ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("others", [[], ["memory/other"]])
@pytest.mark.parametrize("cut", [1, 3])
def test_a_journal_of_a_consumer_that_is_gone_is_never_dropped_unasked(
    node: Node, others: list[str], cut: int
) -> None:
    """format/rotation-journal.md §2.8: it may hold the only value that its component accepts."""
    bench, consumer = one(node, overlaps=False)
    consumer.faults.at, consumer.faults.after = cut, True
    consumer.faults.error = lambda: ConsumerUnavailableError("gone")
    bench.service.rotate(ACTOR, [REDIS])
    before = bench.value(REDIS)
    bench.consumers = [MemoryConsumer(MemoryComponent(), REDIS, name=name) for name in others]
    assert bench.service.resume(ACTOR) == []
    with pytest.raises(StateError, match="'memory/one'") as refused:
        bench.service.refuse_left_over([REDIS])
    assert "--forget-unfinished" in refused.value.hint
    bench.service.refuse_left_over(["jdbc.password"])
    done = {one.parameters: one for one in bench.service.rotate(ACTOR, ["passwords"])}
    state = "kept" if cut == 1 else "unfinished"
    assert (done[REDIS,].state, done[REDIS,].consumer) == (state, "memory/one")
    assert done["jdbc.password",].state == "rotated"
    assert bench.value(REDIS) == before
    assert [one.consumer for one in bench.service.outstanding()] == ["memory/one"]
    assert bench.service.outstanding(but=list(done.values())) == []
    (valid,) = consumer.component.valid
    assert valid[REDIS] in candidates(bench)
    bench.consumers = [consumer]
    (finished,) = bench.service.rotate(ACTOR, [REDIS])
    assert (finished.state, consumer.component.valid) == ("rotated", [valid])


def test_an_operator_gives_up_a_journal_of_a_consumer_that_is_gone(node: Node) -> None:
    bench, consumer = one(node)
    consumer.component.down = True
    bench.service.rotate(ACTOR, [REDIS])
    before = bench.value(REDIS)
    other = MemoryConsumer(MemoryComponent(), REDIS, name="memory/other")
    other.component.valid = [bench.present(other)]
    bench.consumers = [other]
    bench.service.forget_left_over(ACTOR, ["jdbc.password"])
    assert len(bench.service.journals.all()) == 1
    bench.service.forget_left_over(ACTOR, [REDIS])
    assert bench.service.journals.all() == []
    told = bench.told(events.SECRET_ROTATION_FAILED)[-1]
    assert (told["parameter"], told["consumer"], told["step"]) == (REDIS, "memory/one", "forgotten")
    (outcome,) = bench.service.rotate(ACTOR, [REDIS])
    assert outcome.state == "rotated"
    assert other.component.valid == [bench.present(other)] != [{REDIS: before}]


def test_candidates_are_new_then_old_then_configured(node: Node) -> None:
    bench, consumer = one(node)
    assert candidates(bench) == [bench.value(REDIS)]
    consumer.component.down = True
    bench.service.rotate(ACTOR, [REDIS])
    (found,) = bench.service.journals.all()
    new, old = candidates(bench)
    assert old == bench.value(REDIS) != new
    assert bench.service.candidates("jdbc.password") == (
        node.configuration.open_secret("jdbc.password"),
    )
    text = found.journal.serialize()
    assert new not in text
    assert old not in text


def test_a_configuration_key_that_a_journal_names_is_in_use(node: Node) -> None:
    """format/rotation-journal.md §2.5: else its new value could never be opened."""
    key_id, text = new_id(), b"a value"
    sealed = {REDIS: enc.seal_value(rng.new_key(), key_id, REDIS, text)}
    before = node.configuration.configuration_keys_in_use()
    service = Bench(node).service
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

    bench: Bench

    @override
    def admit(self, new: Credential, present: Credential) -> None:
        valid = [one[REDIS] for one in self.component.valid]
        if not [one for one in candidates(self.bench) if one in valid]:
            raise ConsumerRefusedError("no candidate is valid")
        super().admit(new, present)


@pytest.mark.parametrize("others_alone", [False, True])
def test_a_value_that_only_the_version_before_holds_is_kept_until_a_login(
    node: Node, *, others_alone: bool
) -> None:
    """format/rotation-journal.md §4: promotions of other secrets must not end the component's real one."""
    consumer = Administered(MemoryComponent(), REDIS)
    bench = consumer.bench = Bench(node, consumer)
    real = bench.value(REDIS)
    set_by_hand(node, REDIS, "never told")
    if others_alone:
        bench.service.rotate(ACTOR, ["jdbc.password"])
        bench.service.rotate(ACTOR, ["jdbc.password"])
    consumer.component.down = True
    (failed,) = [
        one for one in bench.service.rotate(ACTOR, [REDIS, "pgsql.adminpassword"]) if one.consumer
    ]
    consumer.component.down = False
    assert failed.state == "kept"
    assert real in candidates(bench)
    bench.service.rotate(ACTOR, ["pgsql.adminpassword"])
    node.configuration.forget_previous()
    outcomes = bench.service.rotate(ACTOR, ["jdbc.password", REDIS])
    assert {one.state for one in outcomes} == {"rotated"}
    assert consumer.component.valid == [bench.present(consumer)] != [{REDIS: real}]
    assert bench.service.journals.kept() == {}
    assert node.coordinator.get(KEPT) is None


def test_a_configuration_key_that_a_kept_value_names_is_in_use(node: Node) -> None:
    """format/rotation-journal.md §4.3."""
    bench, _ = one(node)
    key_id = new_id()
    text = enc.seal_value(rng.new_key(), key_id, REDIS, b"a value")
    before = node.configuration.configuration_keys_in_use()
    node.coordinator.put({KEPT: Change(serialize_kept({REDIS: [text]}), 0)})
    assert node.configuration.configuration_keys_in_use() == before | {key_id}
    assert bench.service.journals.kept() == {REDIS: (text,)}


def test_values_of_two_parameters_are_kept_apart(node: Node) -> None:
    """What one consumer does not need any more, another may."""
    first = MemoryConsumer(MemoryComponent(), REDIS)
    second = MemoryConsumer(MemoryComponent(), "jdbc.password", name="memory/two")
    bench = Bench(node, first, second)
    for name in (REDIS, "jdbc.password"):
        node.configuration.set(name, "never told", actor=ACTOR)
    node.configuration.apply(actor=ACTOR)
    bench.service.rotate(ACTOR, [REDIS])
    assert bench.service.journals.kept().keys() == {"jdbc.password"}


@pytest.mark.parametrize(
    "kept", [{REDIS: []}, {REDIS: "text"}, {REDIS: ["plain"]}, {REDIS: [1]}, []]
)
def test_damaged_kept_values_are_refused(kept: Any) -> None:
    data = canonical({"format": "strongroom-rotation-previous-1", "previous": kept})
    with pytest.raises(FormatError, match="damaged"):
        parse_kept(data)
