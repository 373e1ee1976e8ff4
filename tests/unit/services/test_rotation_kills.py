"""Rotations that were killed: the next start finishes them (R7)."""

from collections.abc import Mapping
from typing import Any

import pytest

from strongroom.bootstrap import Node
from strongroom.config.rotation import RotationJournal
from strongroom.coordination.base import Change, Coordinator
from strongroom.crypto import rng
from strongroom.eventlog import events
from strongroom.ids import new_id
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


def test_a_journal_of_a_consumer_that_is_gone_is_dropped(node: Node) -> None:
    """format/rotation-journal.md §2.8."""
    bench, consumer = one(node)
    consumer.component.down = True
    bench.service.rotate(ACTOR, [REDIS])
    bench.consumers = []
    assert bench.service.resume(ACTOR) == []
    assert bench.service.outstanding() == []
    bench.service.rotate(ACTOR, [REDIS])
    assert bench.service.journals.all() == []


def test_a_journal_of_another_consumer_gives_way(node: Node) -> None:
    bench, consumer = one(node)
    consumer.component.down = True
    bench.service.rotate(ACTOR, [REDIS])
    other = MemoryConsumer(MemoryComponent(), REDIS, name="memory/other")
    other.component.valid = [bench.present(other)]
    bench.consumers = [other]
    (outcome,) = bench.service.rotate(ACTOR, [REDIS])
    assert outcome.state == "rotated"
    assert other.component.valid == [bench.present(other)]


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
