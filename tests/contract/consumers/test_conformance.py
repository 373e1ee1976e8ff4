"""Every consumer keeps the port's promises with its real component (R6, R7; issue's "Must show" 1 and 2)."""

from collections.abc import Callable

import pytest

from strongroom.consumers.base import Consumer, Credential
from strongroom.errors import ConsumerRefusedError, ConsumerUnavailableError
from tests.conftest import Torture
from tests.contract.consumers import cuts
from tests.contract.consumers.benches import BENCHES
from tests.contract.consumers.harness import ConsumerBench

every = pytest.mark.parametrize("bench", BENCHES, indirect=True)
changing = pytest.mark.parametrize(
    "bench", [name for name, one in BENCHES.items() if one.changes_component], indirect=True
)
cuttable = pytest.mark.parametrize(
    "bench",
    [name for name, one in BENCHES.items() if one.changes_component and one.over_network],
    indirect=True,
)

Call = Callable[[Consumer, Credential, Credential], None]


def admit(consumer: Consumer, new: Credential, present: Credential) -> None:
    consumer.admit(new, present)


def login(consumer: Consumer, new: Credential, present: Credential) -> None:
    consumer.login(present)


def withdraw(consumer: Consumer, new: Credential, present: Credential) -> None:
    """The present one stays and what was admitted goes: nothing of the bench is lost by it."""
    consumer.withdraw(new, present)


CALLS: list[Call] = [admit, login, withdraw]


@every
def test_a_description_holds_no_secret(bench: ConsumerBench) -> None:
    consumer, present = bench.consumer(), bench.reset()
    described = consumer.describe()
    assert described == bench.consumer().describe()
    assert set(described.parameters) == set(present.values)
    assert set(described.alternates) == set(present.logins)
    assert_no_value(repr((described, present, consumer.copies())).encode(), bench, present)


@every
def test_a_rotation_from_end_to_end(bench: ConsumerBench) -> None:
    """Admitted beside the old one, proved, the old one withdrawn and proved dead."""
    consumer, present = bench.consumer(), bench.reset()
    new = bench.fresh(present)
    assert bench.accepts(present)
    consumer.admit(new, present)
    consumer.login(new)
    assert bench.accepts(new)
    if consumer.describe().overlaps:
        consumer.login(present)
        assert bench.accepts(present)
    consumer.withdraw(present, new)
    consumer.login(new)
    assert bench.accepts(new)
    if consumer.describe().ends_old:
        with pytest.raises(ConsumerRefusedError):
            consumer.login(present)
        assert not bench.accepts(present)


@changing
def test_a_session_of_the_old_one_ends_when_it_is_withdrawn(bench: ConsumerBench) -> None:
    consumer, present = bench.consumer(), bench.reset()
    new = bench.fresh(present)
    with bench.session(present) as works:
        consumer.admit(new, present)
        assert works()
        consumer.withdraw(present, new)
        assert works() is not bench.ends_sessions


@changing
def test_every_call_may_be_made_again(bench: ConsumerBench) -> None:
    consumer, present = bench.consumer(), bench.reset()
    new = bench.fresh(present)
    for _ in range(2):
        consumer.admit(new, present)
        assert bench.accepts(new)
    for _ in range(2):
        consumer.withdraw(present, new)
        assert bench.accepts(new)
        assert not bench.accepts(present)


@changing
def test_what_an_abandoned_rotation_admitted_goes(bench: ConsumerBench) -> None:
    consumer, present = bench.consumer(), bench.reset()
    abandoned = bench.fresh(present)
    new = bench.fresh(present)
    consumer.admit(abandoned, present)
    consumer.admit(new, present)
    assert bench.accepts(new)
    assert not bench.accepts(abandoned)


@every
def test_a_wrong_credential_is_refused(bench: ConsumerBench) -> None:
    consumer, present = bench.consumer(), bench.reset()
    wrong = bench.fresh(present)
    with pytest.raises(ConsumerRefusedError) as caught:
        consumer.login(wrong)
    assert_told(caught.value, bench, present, wrong)
    consumer.login(present)


@every
@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("fault", ["down", "hung"])
def test_a_component_that_is_down_or_hung_is_unavailable(
    bench: ConsumerBench, fault: str, call: Call
) -> None:
    """Another try may help, says the class; nothing was changed, and the call comes back (R7)."""
    consumer, present = bench.consumer(), bench.reset()
    new = bench.fresh(present)
    if not bench.speaks(call.__name__):
        call(consumer, new, present)
        return
    with getattr(bench, fault)(), pytest.raises(ConsumerUnavailableError) as caught:
        call(consumer, new, present)
    assert_told(caught.value, bench, present, new)
    assert bench.accepts(present)


@changing
def test_a_missing_permission_is_a_refusal_that_changes_nothing(bench: ConsumerBench) -> None:
    consumer, present = bench.consumer(), bench.reset()
    new = bench.fresh(present)
    with bench.refusing():
        with pytest.raises(ConsumerRefusedError) as caught:
            consumer.admit(new, present)
        assert bench.accepts(present)
        assert not bench.accepts(new)
    assert_told(caught.value, bench, present, new)
    consumer.admit(new, present)
    if bench.speaks("withdraw"):
        with bench.refusing(), pytest.raises(ConsumerRefusedError):
            consumer.withdraw(present, new)
    assert bench.accepts(new)


@changing
def test_a_wrong_password_of_the_administrator_changes_nothing(bench: ConsumerBench) -> None:
    present = bench.reset()
    new = bench.fresh(present)
    believed = bench.fresh(present) if bench.own_administrator else present
    consumer = bench.consumer(wrong_administrator=True)
    with pytest.raises(ConsumerRefusedError) as caught:
        consumer.admit(new, believed)
    assert_told(caught.value, bench, present, new)
    assert bench.accepts(present)
    assert not bench.accepts(new)


@changing
def test_what_was_done_outlives_the_component(bench: ConsumerBench) -> None:
    consumer, present = bench.consumer(), bench.reset()
    new = bench.fresh(present)
    consumer.admit(new, present)
    bench.kill()
    assert bench.accepts(new)
    consumer.withdraw(present, new)
    bench.kill()
    assert bench.accepts(new)
    assert not bench.accepts(present)


@cuttable
@pytest.mark.parametrize("delivered", [False, True], ids=["request-lost", "answer-lost"])
def test_a_call_cut_in_mid_way_can_be_made_again(
    bench: ConsumerBench, torture: Torture, *, delivered: bool
) -> None:
    """At each cut one of the two is valid, and the next call finishes the work (R7: at most one retry).

    A third of the messages; all of them in tests/torture/test_rotation.py.
    """
    assert cuts.cut_at(bench, range(1 + torture.seed % 3, cuts.MOST_TURNS, 3), delivered=delivered)


@changing
def test_no_value_is_in_any_trace_of_the_component(bench: ConsumerBench) -> None:
    """C-28: no plaintext (and for PostgreSQL no verifier) in logs, files, lists of statements, command lines."""
    consumer, present = bench.consumer(), bench.reset()
    new = bench.fresh(present)
    consumer.admit(new, present)
    consumer.login(new)
    consumer.withdraw(present, new)
    with pytest.raises(ConsumerRefusedError):
        consumer.login(present)
    traces = list(bench.traces())
    assert any(traces)
    for trace in traces:
        assert_no_value(trace, bench, present, new)


@every
def test_the_inventory_names_what_is_there(bench: ConsumerBench) -> None:
    bench.reset()
    for copy in bench.consumer().copies():
        assert set(copy.parameters) <= set(bench.consumer().describe().parameters)
        assert bench.keeps_plaintext or copy.form != "plaintext"
        assert bool(copy.mode) is bool(copy.owner)
        assert not copy.mode or int(copy.mode, 8)


def assert_told(error: Exception, bench: ConsumerBench, *credentials: Credential) -> None:
    """A message that says something, and holds no value; its cause is kept, but its text is not ours to print."""
    assert str(error)
    assert_no_value(repr(error).encode() + str(error).encode(), bench, *credentials)


def assert_no_value(text: bytes, bench: ConsumerBench, *credentials: Credential) -> None:
    for credential in credentials:
        assert not any(value in text for value in bench.forbidden(credential))
