"""Rotation: its order, its journal, what is left after each kill and each failure (C-24, R6, R7)."""

from datetime import timedelta

import pytest

from strongroom.bootstrap import Node
from strongroom.clock import parse_utc
from strongroom.consumers.base import Credential
from strongroom.crypto.secret import SecretBytes
from strongroom.errors import (
    ConsumerRefusedError,
    ConsumerUnavailableError,
    NotFoundError,
    StateError,
    StrongroomError,
    UsageError,
)
from strongroom.eventlog import events
from strongroom.secrets.generate import generated_names
from strongroom.services.rotation_journal import MAX_AUTOMATIC_TRIES
from tests.memory_consumer import MemoryComponent, MemoryConsumer
from tests.rotation_bench import ACTOR, REDIS, Bench, one

ADMIN = "svcmonitor.notification.smtp.password"
CHAIN = sorted(name for name in generated_names() if name.startswith("indexandsearchserver.ssl."))


# ---- without a consumer --------------------------------------------------------------------------


def test_with_no_consumer_every_generated_secret_is_renewed_in_one_put(node: Node) -> None:
    """The embedded default: no component is configured."""
    bench = Bench(node)
    before = {name: bench.value(name) for name in generated_names()}
    version = node.configuration.version
    outcomes = bench.service.rotate(ACTOR)
    assert node.configuration.version == version + 1
    assert {one.state for one in outcomes} == {"rotated"}
    assert {name for one in outcomes for name in one.parameters} == generated_names()
    assert not [name for name in before if bench.value(name) == before[name]]
    assert not node.configuration.differing_files()
    records = bench.service.journals.records()
    assert records.keys() == generated_names()
    assert len({record.run for record in records.values()}) == 1
    told = bench.told(events.SECRET_ROTATED)
    assert {one["parameter"] for one in told} == generated_names()
    assert {(one["consumer"], one["step"]) for one in told} == {("", "promoted")}


def test_a_scope_limits_what_is_renewed(node: Node) -> None:
    bench = Bench(node)
    for only, expected in (
        (["passwords"], generated_names() - set(CHAIN)),
        (["certs"], set(CHAIN)),
        ([REDIS], {REDIS}),
        ([CHAIN[0], REDIS], {REDIS, *CHAIN}),
    ):
        before = {name: bench.value(name) for name in generated_names()}
        bench.service.rotate(ACTOR, only)
        changed = {name for name in before if bench.value(name) != before[name]}
        assert changed == expected


@pytest.mark.parametrize(
    ("name", "error"),
    [
        (ADMIN, UsageError),
        ("kms.roots", UsageError),
        ("gateway.timeout", UsageError),
        ("no.such", NotFoundError),
    ],
)
def test_what_nobody_can_rotate_is_refused_before_anything_changes(
    node: Node, name: str, error: type[StrongroomError]
) -> None:
    bench = Bench(node)
    version = node.configuration.version
    with pytest.raises(error, match=name):
        bench.service.rotate(ACTOR, [REDIS, name])
    assert node.configuration.version == version


def test_a_pending_change_of_the_same_secret_stands_in_the_way(node: Node) -> None:
    """Applied later, it would put another value into the file than the component has."""
    bench = Bench(node)
    node.configuration.set(REDIS, "by hand", actor=ACTOR)
    with pytest.raises(StateError, match=REDIS):
        bench.service.rotate(ACTOR)
    bench.service.rotate(ACTOR, ["certs"])


def test_a_value_can_be_given_to_one_parameter(node: Node) -> None:
    bench = Bench(node)
    bench.service.rotate(ACTOR, [REDIS], value=SecretBytes(b"chosen"))
    assert bench.value(REDIS) == b"chosen"
    with pytest.raises(UsageError, match="one parameter"):
        bench.service.rotate(ACTOR, ["passwords"], value=SecretBytes(b"chosen"))


# ---- with a consumer -------------------------------------------------------------------------------


@pytest.mark.parametrize("overlaps", [True, False])
def test_a_rotation_goes_in_order_and_leaves_one_value(node: Node, *, overlaps: bool) -> None:
    bench, consumer = one(node, overlaps=overlaps)
    before = bench.present(consumer)
    (outcome,) = bench.service.rotate(ACTOR, [REDIS])
    assert consumer.faults.calls == ["admit", "login", "withdraw", "login", "login"]
    assert outcome.state == "rotated"
    assert consumer.component.valid == [bench.present(consumer)] != [before]
    assert bench.service.journals.all() == []
    record = bench.service.journals.records()[REDIS]
    assert (record.consumer, parse_utc(record.at)) == ("memory/one", bench.clock.now())
    told = bench.told(events.SECRET_ROTATED, events.SECRET_ENCRYPTED)
    assert [(one["id"], one.get("step")) for one in told] == [
        (events.SECRET_ENCRYPTED, None),
        (events.SECRET_ROTATED, "promoted"),
        (events.SECRET_ROTATED, "withdrawn"),
    ]
    assert not node.configuration.differing_files()


def test_logins_take_turns_with_the_secret(node: Node) -> None:
    bench, consumer = one(node, alternates={"redis.user": ("a", "b")})
    seen = []
    for _ in range(3):
        bench.service.rotate(ACTOR, [REDIS])
        seen.append(node.configuration.effective("redis.user"))
        assert consumer.component.valid == [bench.present(consumer)]
    assert seen == ["a", "b", "a"]


def test_an_administrators_secret_needs_a_value_and_a_consumer(node: Node) -> None:
    """Such as a mail provider's password: proved by a login, and never proved dead."""
    consumer = MemoryConsumer(MemoryComponent(), ADMIN, ends_old=False)
    bench = Bench(node, consumer)
    with pytest.raises(UsageError, match="administrator"):
        bench.service.rotate(ACTOR, [ADMIN])
    (outcome,) = bench.service.rotate(ACTOR, [ADMIN], value=SecretBytes(b"given"))
    assert outcome.state == "rotated"
    assert bench.value(ADMIN) == b"given"
    bench.service.rotate(ACTOR)
    assert bench.value(ADMIN) == b"given"


def test_a_plan_asks_nobody_and_changes_nothing(node: Node) -> None:
    bench, consumer = one(node)
    version = node.configuration.version
    planned = {one.parameters: one for one in bench.service.plan()}
    assert planned[(REDIS,)].consumer == "memory/one"
    assert planned[tuple(CHAIN)].consumer == ""
    assert {name for names in planned for name in names} == generated_names()
    assert not any(one.interrupted for one in planned.values())
    assert (consumer.faults.calls, node.configuration.version) == ([], version)


def test_a_secret_that_is_not_set_is_named_and_the_others_go_on(node: Node) -> None:
    bench, consumer = one(node)
    node.configuration.reset(REDIS, actor=ACTOR)
    node.configuration.apply(actor=ACTOR)
    outcomes = bench.service.rotate(ACTOR, [REDIS, "pgsql.adminpassword"])
    failed = [one for one in outcomes if one.state != "rotated"]
    assert [(one.parameters, one.state, one.stage) for one in failed] == [
        ((REDIS,), "kept", "intend")
    ]
    assert consumer.faults.calls == []


# ---- a component that does not work ------------------------------------------------------------------


STAGES = ["admit", "login", "withdraw", "prove-new", "prove-dead"]
ERRORS = [ConsumerUnavailableError, ConsumerRefusedError]
# a refusal is what the last stage waits for, and it has no moment after it
FAILURES = [
    (stage, after, error)
    for stage in STAGES
    for after in (False, True)
    for error in ERRORS
    if stage != "prove-dead" or (after, error) == (False, ConsumerUnavailableError)
]


@pytest.mark.parametrize(("stage", "after", "error"), FAILURES)
@pytest.mark.parametrize("overlaps", [True, False])
def test_a_failure_at_any_stage_is_named_and_converges_with_one_retry(
    node: Node, stage: str, error: type[StrongroomError], *, after: bool, overlaps: bool
) -> None:
    """R7: old or new is valid throughout, the others go on, the next run finishes."""
    bench, consumer = one(node, overlaps=overlaps)
    before = bench.present(consumer)
    consumer.faults.at = STAGES.index(stage) + 1
    consumer.faults.after = after
    consumer.faults.error = lambda: error("no, says the component")
    outcomes = bench.service.rotate(ACTOR, [REDIS, "pgsql.adminpassword"])
    by_name = {one.parameters[0]: one for one in outcomes}
    assert by_name["pgsql.adminpassword"].state == "rotated"
    outcome = by_name[REDIS]
    promoted = stage not in {"admit", "login"}
    assert outcome.state == ("unfinished" if promoted else "kept")
    assert (outcome.stage, outcome.problem) == (stage, "no, says the component")
    assert (bench.present(consumer) != before) is promoted
    assert bench.service.plan([REDIS])[0].interrupted
    (told,) = bench.told(events.SECRET_ROTATION_FAILED)
    assert (told["step"], told["error"], told["attempt"]) == (stage, error.__name__, 1)
    (left,) = bench.service.outstanding()
    assert (left.state, left.stage) == (outcome.state, stage)
    assert error.__name__ in left.problem

    consumer.faults.at = 0
    (outcome,) = bench.service.rotate(ACTOR, [REDIS])
    assert outcome.state == "rotated"
    assert consumer.component.valid == [bench.present(consumer)] != [before]
    assert bench.service.journals.all() == []


def test_a_component_that_still_takes_the_old_value_is_named(node: Node) -> None:
    """A login without a password, or a proxy that trusts everybody: rotated it is not."""
    bench, consumer = one(node)
    before = bench.present(consumer)

    def stubborn(old: Credential, present: Credential) -> None:
        consumer.component.valid = [before, bench.present(consumer)]

    consumer.withdraw = stubborn  # type: ignore[method-assign]
    (outcome,) = bench.service.rotate(ACTOR, [REDIS])
    assert (outcome.state, outcome.stage) == ("unfinished", "prove-dead")
    assert "still accepts" in outcome.problem


def test_a_failing_secret_is_not_tried_for_ever(node: Node) -> None:
    """R7 (PR 28989): ever longer pauses, and after eight tries only an operator tries."""
    bench, consumer = one(node)
    consumer.component.down = True
    bench.service.rotate(ACTOR, [REDIS])
    pauses: list[float] = []
    while len(pauses) < MAX_AUTOMATIC_TRIES - 1:
        assert bench.service.resume(events.SYSTEM) == []
        (found,) = bench.service.journals.all()
        due = parse_utc(found.journal.not_before)
        pauses.append((due - bench.clock.moment).total_seconds())
        bench.clock.moment = due
        assert len(bench.service.resume(events.SYSTEM)) == 1
    assert pauses == [30, 60, 120, 240, 480, 960, 1920]
    bench.clock.moment += timedelta(days=365)
    tried = len(consumer.faults.calls)
    assert bench.service.resume(events.SYSTEM) == []
    assert len(consumer.faults.calls) == tried == MAX_AUTOMATIC_TRIES
    consumer.component.down = False
    (outcome,) = bench.service.rotate(ACTOR, [REDIS])
    assert outcome.state == "rotated"


def test_a_given_value_waits_for_the_rotation_that_was_cut(node: Node) -> None:
    """The cut one's value may be the only valid one: it is never thrown away unseen."""
    bench, consumer = one(node, overlaps=False)
    consumer.faults.at, consumer.faults.after = 1, True
    consumer.faults.error = lambda: ConsumerUnavailableError("gone")
    bench.service.rotate(ACTOR, [REDIS])
    consumer.component.down = True
    (outcome,) = bench.service.rotate(ACTOR, [REDIS], value=SecretBytes(b"chosen"))
    assert outcome.state == "kept"
    consumer.component.down = False
    (outcome,) = bench.service.rotate(ACTOR, [REDIS], value=SecretBytes(b"chosen"))
    assert (outcome.state, bench.value(REDIS)) == ("rotated", b"chosen")
    assert consumer.component.valid == [{REDIS: b"chosen"}]


def test_verify_names_what_no_component_uses(node: Node) -> None:
    """Each parameter that is named must be proved, or the command fails."""
    bench, _ = one(node)
    assert [found.problem for found in bench.service.verify(["passwords", REDIS])] == [""]
    with pytest.raises(UsageError, match=r"uses 'jdbc\.password'$"):
        bench.service.verify([REDIS, "jdbc.password"])
    with pytest.raises(UsageError, match=r"uses 'certs'$"):
        bench.service.verify(["certs"])
