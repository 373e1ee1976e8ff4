"""Rotation: its order, its journal, what is left after each kill and each failure (C-24, R6, R7)."""

from dataclasses import replace
from datetime import timedelta

import pytest

from strongroom.clock import parse_utc
from strongroom.config.rotation import PREFIX
from strongroom.consumers.base import Credential
from strongroom.coordination.base import Change
from strongroom.crypto import rng
from strongroom.crypto.secret import SecretBytes
from strongroom.errors import (
    ConsumerRefusedError,
    ConsumerUnavailableError,
    IntegrityError,
    KeyNotFoundError,
    NotFoundError,
    StateError,
    StrongroomError,
    UsageError,
)
from strongroom.eventlog.base import SYSTEM
from strongroom.eventlog.events import secret_events
from strongroom.ids import new_id
from strongroom.node.opening import Node
from strongroom.secrets.committed import ValueKey
from strongroom.secrets.generate import generated_names
from strongroom.services.secrets.journals import MAX_AUTOMATIC_TRIES
from tests.support.memory_consumer import MemoryComponent, MemoryConsumer
from tests.support.rotation_lab import ACTOR, REDIS, Lab, one
from tests.support.stored_forms import differing_files

ADMIN = "svcmonitor.notification.smtp.password"
CHAIN = sorted(name for name in generated_names() if name.startswith("indexandsearchserver.ssl."))


# ---- without a consumer --------------------------------------------------------------------------


def test_with_no_consumer_every_generated_secret_is_renewed_in_one_put(node: Node) -> None:
    """The embedded default: no component is configured."""
    lab = Lab(node)
    before = {name: lab.value(name) for name in generated_names()}
    version = node.configuration.version
    outcomes = lab.service.rotate(ACTOR)
    assert node.configuration.version == version + 1
    assert {one.state for one in outcomes} == {"rotated"}
    assert {name for one in outcomes for name in one.parameters} == generated_names()
    assert not [name for name in before if lab.value(name) == before[name]]
    assert not differing_files(node.configuration)
    records = lab.service.journals.records()
    assert records.keys() == generated_names()
    assert len({record.run for record in records.values()}) == 1
    told = lab.told(secret_events.SECRET_ROTATED)
    assert {one["parameter"] for one in told} == generated_names()
    assert {(one["consumer"], one["step"]) for one in told} == {("", "promoted")}
    assert {one["version"] for one in told} == {version + 1}


def test_a_scope_limits_what_is_renewed(node: Node) -> None:
    lab = Lab(node)
    for only, expected in (
        (["passwords"], generated_names() - set(CHAIN)),
        (["certs"], set(CHAIN)),
        ([REDIS], {REDIS}),
        ([CHAIN[0], REDIS], {REDIS, *CHAIN}),
    ):
        before = {name: lab.value(name) for name in generated_names()}
        lab.service.rotate(ACTOR, only)
        changed = {name for name in before if lab.value(name) != before[name]}
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
    lab = Lab(node)
    version = node.configuration.version
    with pytest.raises(error, match=name):
        lab.service.rotate(ACTOR, [REDIS, name])
    assert node.configuration.version == version


def test_a_pending_change_of_the_same_secret_stands_in_the_way(node: Node) -> None:
    """Applied later, it would put another value into the file than the component has."""
    lab = Lab(node)
    node.configuration.set(REDIS, "by hand", actor=ACTOR)
    with pytest.raises(StateError, match=REDIS):
        lab.service.rotate(ACTOR)
    lab.service.rotate(ACTOR, ["certs"])


def test_a_value_can_be_given_to_one_parameter(node: Node) -> None:
    lab = Lab(node)
    lab.service.rotate(ACTOR, [REDIS], value=SecretBytes(b"chosen"))
    assert lab.value(REDIS) == b"chosen"
    with pytest.raises(UsageError, match="one parameter"):
        lab.service.rotate(ACTOR, ["passwords"], value=SecretBytes(b"chosen"))


# ---- with a consumer -------------------------------------------------------------------------------


@pytest.mark.parametrize("overlaps", [True, False])
def test_a_rotation_goes_in_order_and_leaves_one_value(node: Node, *, overlaps: bool) -> None:
    lab, consumer = one(node, overlaps=overlaps)
    before, version = lab.present(consumer), node.configuration.version
    (outcome,) = lab.service.rotate(ACTOR, [REDIS])
    assert consumer.faults.calls == ["admit", "login", "withdraw", "login", "login"]
    assert outcome.state == "rotated"
    assert consumer.component.valid == [lab.present(consumer)] != [before]
    assert lab.service.journals.all() == []
    record = lab.service.journals.records()[REDIS]
    assert (record.consumer, parse_utc(record.at)) == ("memory/one", lab.clock.now())
    told = lab.told(secret_events.SECRET_ROTATED, secret_events.SECRET_ENCRYPTED)
    assert [(one["id"], one.get("step")) for one in told] == [
        (secret_events.SECRET_ENCRYPTED, None),
        (secret_events.SECRET_ROTATED, "promoted"),
        (secret_events.SECRET_ROTATED, "withdrawn"),
    ]
    assert [one.get("version") for one in told] == [None, version + 1, version + 1]
    assert not differing_files(node.configuration)


def test_logins_take_turns_with_the_secret(node: Node) -> None:
    lab, consumer = one(node, alternates={"redis.user": ("a", "b")})
    seen = []
    for _ in range(3):
        lab.service.rotate(ACTOR, [REDIS])
        seen.append(node.configuration.effective("redis.user"))
        assert consumer.component.valid == [lab.present(consumer)]
    assert seen == ["a", "b", "a"]


def test_an_administrators_secret_needs_a_value_and_a_consumer(node: Node) -> None:
    """Such as a mail provider's password: proved by a login, and never proved dead."""
    consumer = MemoryConsumer(MemoryComponent(), ADMIN, ends_old=False)
    lab = Lab(node, consumer)
    with pytest.raises(UsageError, match="administrator"):
        lab.service.rotate(ACTOR, [ADMIN])
    (outcome,) = lab.service.rotate(ACTOR, [ADMIN], value=SecretBytes(b"given"))
    assert outcome.state == "rotated"
    assert lab.value(ADMIN) == b"given"
    lab.service.rotate(ACTOR)
    assert lab.value(ADMIN) == b"given"


def test_a_plan_asks_nobody_and_changes_nothing(node: Node) -> None:
    lab, consumer = one(node)
    version = node.configuration.version
    planned = {one.parameters: one for one in lab.service.plan()}
    assert planned[(REDIS,)].consumer == "memory/one"
    assert planned[tuple(CHAIN)].consumer == ""
    assert {name for names in planned for name in names} == generated_names()
    assert not any(one.interrupted for one in planned.values())
    assert (consumer.faults.calls, node.configuration.version) == ([], version)


def test_a_secret_that_is_not_set_is_named_and_the_others_go_on(node: Node) -> None:
    lab, consumer = one(node)
    node.configuration.reset(REDIS, actor=ACTOR)
    node.configuration.apply(actor=ACTOR)
    outcomes = lab.service.rotate(ACTOR, [REDIS, "pgsql.adminpassword"])
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
    lab, consumer = one(node, overlaps=overlaps)
    before = lab.present(consumer)
    consumer.faults.at = STAGES.index(stage) + 1
    consumer.faults.after = after
    consumer.faults.error = lambda: error("no, says the component")
    outcomes = lab.service.rotate(ACTOR, [REDIS, "pgsql.adminpassword"])
    by_name = {one.parameters[0]: one for one in outcomes}
    assert by_name["pgsql.adminpassword"].state == "rotated"
    outcome = by_name[REDIS]
    promoted = stage not in {"admit", "login"}
    assert outcome.state == ("unfinished" if promoted else "kept")
    assert (outcome.stage, outcome.problem) == (stage, "no, says the component")
    assert (lab.present(consumer) != before) is promoted
    assert lab.service.plan([REDIS])[0].interrupted
    (told,) = lab.told(secret_events.SECRET_ROTATION_FAILED)
    assert (told["step"], told["error"], told["attempt"]) == (stage, error.__name__, 1)
    (left,) = lab.service.outstanding()
    assert (left.state, left.stage) == (outcome.state, stage)
    assert error.__name__ in left.problem

    # findings K6: what is told is what a login of somebody else finds
    old, new = before, the_new_one(lab, consumer)
    truth = {(True, True): "both", (True, False): "new", (False, True): "old"}
    valid = consumer.component.valid
    assert outcome.accepts == truth[new in valid, old in valid]
    if stage == "login":
        assert outcome.accepts == "old"  # taken back, since it was not proved

    consumer.faults.at = 0
    (outcome,) = lab.service.rotate(ACTOR, [REDIS])
    assert outcome.state == "rotated"
    assert consumer.component.valid == [lab.present(consumer)] != [before]
    assert lab.service.journals.all() == []


def the_new_one(lab: Lab, consumer: MemoryConsumer) -> dict[str, bytes]:
    """What the rotation chose, out of its journal."""
    (found,) = lab.service.journals.all()
    opened = {
        name: lab.service._steps.open_text(name, text) for name, text in found.journal.new.items()
    }
    return {name: value.reveal() for name, value in opened.items()}


@pytest.mark.parametrize("taken_back", [True, False])
def test_a_value_that_no_login_proves_is_taken_back(node: Node, *, taken_back: bool) -> None:
    """Findings K6: the component had the new one, the configuration the old one, and both were told as old."""
    lab, consumer = one(node, overlaps=False)
    before = lab.present(consumer)
    consumer.faults.at = 2
    consumer.faults.error = lambda: ConsumerRefusedError("the user expired")
    if not taken_back:
        consumer.take_back = refuse  # type: ignore[method-assign]
    (outcome,) = lab.service.rotate(ACTOR, [REDIS])
    assert (outcome.state, outcome.problem) == ("kept", "the user expired")
    assert outcome.accepts == ("old" if taken_back else "new")
    assert lab.present(consumer) == before
    assert (consumer.component.valid == [before]) is taken_back
    steps = [told["step"] for told in lab.told(secret_events.SECRET_ROTATED)]
    assert steps == (["taken-back"] if taken_back else [])


def refuse(new: Credential, present: Credential) -> None:
    raise ConsumerUnavailableError("gone meanwhile")


def test_nobody_asks_a_component_that_is_not_there_twice(node: Node) -> None:
    """Findings K6: it is told that nobody could ask; a hung component costs one wait more, not two."""
    lab, consumer = one(node)
    consumer.component.down = True
    (outcome,) = lab.service.rotate(ACTOR, [REDIS])
    assert (outcome.state, outcome.accepts) == ("kept", "unknown")
    assert consumer.faults.calls == ["admit", "login"]


PGSQL = "pgsql.adminpassword"


@pytest.mark.parametrize("way", ["rotate", "resume"])
@pytest.mark.parametrize("harm", ["value", "key"])
@pytest.mark.parametrize("side", ["new", "old"])
def test_a_journal_that_does_not_open_fails_alone_and_is_counted(
    node: Node, side: str, harm: str, way: str
) -> None:
    """Findings K6: the look at the component raised again; nothing was told, and nobody behind it was rotated."""
    consumers = [MemoryConsumer(MemoryComponent(), name) for name in (REDIS, PGSQL)]
    lab = Lab(node, *consumers)
    for consumer in consumers:
        consumer.component.down = True
    lab.service.rotate(ACTOR, [REDIS, PGSQL])
    _harm_journal(lab, side, harm)
    for consumer in consumers:
        consumer.component.down = False
    lab.clock.moment += timedelta(hours=2)
    service = lab.service
    outcomes = service.resume(ACTOR) if way == "resume" else service.rotate(ACTOR, [REDIS, PGSQL])
    by_name = {one.parameters[0]: one for one in outcomes}
    assert by_name[PGSQL].state == "rotated"
    assert (by_name[REDIS].state, by_name[REDIS].accepts) == ("kept", "unknown")
    told = [
        one for one in lab.told(secret_events.SECRET_ROTATION_FAILED) if one["parameter"] == REDIS
    ]
    error = "IntegrityError" if harm == "value" else "KeyNotFoundError"
    assert (told[-1]["error"], told[-1]["attempt"]) == (error, 2)
    (found,) = lab.service.journals.all()
    assert found.journal.attempts == 2
    assert not lab.service.journals.is_due(found.journal)  # it pauses


def _harm_journal(lab: Lab, side: str, harm: str) -> None:
    """Its sealed value is one of another parameter, or names a configuration key that nobody has."""
    found = lab.service.journals.find((REDIS,))
    assert found is not None
    text = lab.node.configuration.seal_secret(PGSQL, b"of another parameter")
    if harm == "key":
        text = ValueKey(new_id(), new_id(), rng.new_key()).seal(
            REDIS, b"under a key that nobody has"
        )
    sealed = {REDIS: text}
    journal = found.journal
    journal = replace(journal, new=sealed) if side == "new" else replace(journal, old=sealed)
    name = PREFIX + REDIS
    lab.coordinator.put({name: Change(journal.serialize(), found.version)})


@pytest.mark.parametrize("error", [IntegrityError, KeyNotFoundError, NotFoundError])
def test_a_look_that_fails_in_any_way_does_not_hide_what_failed(
    node: Node, error: type[StrongroomError]
) -> None:
    """Findings K6: it is told that nobody could ask."""
    lab, consumer = one(node)
    real = consumer.login

    def login(credential: Credential) -> None:
        real(credential)
        raise error("the login needs a key that does not open")

    consumer.login = login  # type: ignore[method-assign]
    (outcome,) = lab.service.rotate(ACTOR, [REDIS])
    assert (outcome.stage, outcome.accepts) == ("login", "unknown")
    (told,) = lab.told(secret_events.SECRET_ROTATION_FAILED)
    assert (told["error"], told["attempt"]) == (error.__name__, 1)


def test_a_component_that_still_takes_the_old_value_is_named(node: Node) -> None:
    """A login without a password, or a proxy that trusts everybody: rotated it is not."""
    lab, consumer = one(node)
    before = lab.present(consumer)

    def stubborn(old: Credential, present: Credential) -> None:
        consumer.component.valid = [before, lab.present(consumer)]

    consumer.withdraw = stubborn  # type: ignore[method-assign]
    (outcome,) = lab.service.rotate(ACTOR, [REDIS])
    assert (outcome.state, outcome.stage) == ("unfinished", "prove-dead")
    assert "still accepts" in outcome.problem


def test_a_failing_secret_is_not_tried_for_ever(node: Node) -> None:
    """R7 (PR 28989): ever longer pauses, and after eight tries only an operator tries."""
    lab, consumer = one(node)
    consumer.component.down = True
    lab.service.rotate(ACTOR, [REDIS])
    pauses: list[float] = []
    while len(pauses) < MAX_AUTOMATIC_TRIES - 1:
        assert lab.service.resume(SYSTEM) == []
        (found,) = lab.service.journals.all()
        due = parse_utc(found.journal.not_before)
        pauses.append((due - lab.clock.moment).total_seconds())
        lab.clock.moment = due
        assert len(lab.service.resume(SYSTEM)) == 1
    assert pauses == [30, 60, 120, 240, 480, 960, 1920]
    lab.clock.moment += timedelta(days=365)
    tried = len(consumer.faults.calls)
    assert lab.service.resume(SYSTEM) == []
    assert len(consumer.faults.calls) == tried
    assert consumer.faults.calls.count("admit") == MAX_AUTOMATIC_TRIES
    consumer.component.down = False
    (outcome,) = lab.service.rotate(ACTOR, [REDIS])
    assert outcome.state == "rotated"


def test_a_pause_of_a_clock_that_was_ahead_is_over(node: Node) -> None:
    """findings K23: the cut rotation would have waited for two days."""
    lab, consumer = one(node)
    consumer.component.down = True
    now = lab.clock.moment
    lab.clock.moment = now + timedelta(days=2)
    lab.service.rotate(ACTOR, [REDIS])
    assert lab.service.resume(SYSTEM) == []
    lab.clock.moment = now
    assert len(lab.service.resume(SYSTEM)) == 1


def test_a_given_value_waits_for_the_rotation_that_was_cut(node: Node) -> None:
    """The cut one's value may be the only valid one: it is never thrown away unseen."""
    lab, consumer = one(node, overlaps=False)
    consumer.faults.at, consumer.faults.after = 1, True
    consumer.faults.error = lambda: ConsumerUnavailableError("gone")
    lab.service.rotate(ACTOR, [REDIS])
    consumer.component.down = True
    (outcome,) = lab.service.rotate(ACTOR, [REDIS], value=SecretBytes(b"chosen"))
    assert outcome.state == "kept"
    consumer.component.down = False
    (outcome,) = lab.service.rotate(ACTOR, [REDIS], value=SecretBytes(b"chosen"))
    assert (outcome.state, lab.value(REDIS)) == ("rotated", b"chosen")
    assert consumer.component.valid == [{REDIS: b"chosen"}]


def test_verify_names_what_no_component_uses(node: Node) -> None:
    """Each parameter that is named must be proved, or the command fails."""
    lab, _ = one(node)
    assert [found.problem for found in lab.service.verify(["passwords", REDIS])] == [""]
    with pytest.raises(UsageError, match=r"uses 'jdbc\.password'$"):
        lab.service.verify([REDIS, "jdbc.password"])
    with pytest.raises(UsageError, match=r"uses 'certs'$"):
        lab.service.verify(["certs"])
