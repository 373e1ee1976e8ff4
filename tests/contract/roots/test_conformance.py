"""One suite for every kind of root (architecture.md 6; issue of the roots, must show 1; field.md R10)."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from strongroom.crypto import rng
from strongroom.errors import (
    IntegrityError,
    KeyNotFoundError,
    RootError,
    RootRefusedError,
    RootUnavailableError,
    StrongroomError,
)
from strongroom.ids import new_id
from strongroom.roots.base import Context, RootProvider
from tests.contract.roots.benches import BENCHES
from tests.contract.roots.harness import PASSING, RootBench
from tests.fault_server import Fault

CASES = [(name, fault) for name, kind in BENCHES.items() for fault in kind.faults()]
BENCH_AND_FAULT = pytest.mark.parametrize(("bench", "fault"), CASES, indirect=["bench"])
EVERY_BENCH = pytest.mark.parametrize("bench", BENCHES, indirect=True)


def fresh() -> Context:
    return Context(new_id(), new_id(), new_id())


def flipped(raw: bytes, place: int) -> bytes:
    changed = bytearray(raw)
    changed[place] ^= 1
    return bytes(changed)


@EVERY_BENCH
def test_a_key_it_makes_comes_back_after_a_start(bench: RootBench) -> None:
    context = fresh()
    key, record = bench.root().generate_data_key(context)
    assert len(key) == 32
    assert (record.kind, record.form) == (bench.settings.kind, bench.form)
    assert (record.id, record.context) == (context.wrap_id, context.pairs())
    assert bench.settings.opens(record)
    assert key.reveal() not in record.blob + record.inner
    assert bench.root().unwrap(record) == key


@EVERY_BENCH
def test_a_given_key_comes_back_after_a_start(bench: RootBench) -> None:
    key = rng.new_key()
    record = bench.root().wrap(key, fresh())
    assert bench.settings.opens(record)
    assert key.reveal() not in record.blob + record.inner
    assert bench.root().unwrap(record) == key


@EVERY_BENCH
def test_two_wraps_of_one_key_differ(bench: RootBench) -> None:
    key, root = rng.new_key(), bench.root()
    first, second = (root.wrap(key, fresh()) for _ in range(2))
    assert (first.blob, first.inner) != (second.blob, second.inner)


@EVERY_BENCH
@pytest.mark.parametrize("name", ["installation", "rmk", "wrap"])
def test_a_wrap_opens_in_its_own_context_only(bench: RootBench, name: str) -> None:
    root = bench.root()
    for record in (root.generate_data_key(fresh())[1], root.wrap(rng.new_key(), fresh())):
        elsewhere = replace(record, context={**record.context, name: new_id()})
        with pytest.raises(IntegrityError):
            root.unwrap(elsewhere)


@EVERY_BENCH
def test_a_changed_wrap_does_not_open(bench: RootBench) -> None:
    root = bench.root()
    for record in (root.generate_data_key(fresh())[1], root.wrap(rng.new_key(), fresh())):
        changed = [
            replace(record, inner=flipped(record.inner, place))
            for place in ((0, 20, -1) if record.inner else ())
        ]
        if bench.authenticates:
            size = len(record.blob)
            changed += [
                replace(record, blob=flipped(record.blob, at)) for at in (size // 2, size - 1)
            ]
            changed += [replace(record, blob=record.blob[: size // 2])]
        for one in changed:
            with pytest.raises((IntegrityError, RootRefusedError)):
                root.unwrap(one)


@EVERY_BENCH
def test_another_key_of_the_same_kind_opens_nothing(bench: RootBench) -> None:
    foreign = bench.root(bench.foreign_settings)
    foreign.check()
    _, record = bench.root().generate_data_key(fresh())
    assert not bench.foreign_settings.opens(record)
    refused = (IntegrityError, RootRefusedError, KeyNotFoundError)
    with pytest.raises(refused):
        foreign.unwrap(record)
    if bench.authenticates:
        _, own = foreign.generate_data_key(fresh())
        with pytest.raises(refused):
            foreign.unwrap(replace(record, root_key_id=own.root_key_id))


@EVERY_BENCH
def test_it_says_what_it_is_and_who_asks(bench: RootBench) -> None:
    root = bench.root()
    root.check()
    described = root.describe()
    assert (described.kind, described.root_key_id) == (
        bench.settings.kind,
        bench.settings.root_key_id,
    )
    assert described.online
    assert bool(described.details.get("identity")) is bench.identity
    shown = repr(described)
    for secret in bench.settings.secrets.values():
        assert secret.reveal().decode(errors="replace") not in shown


def _calls(root: RootProvider) -> list[Callable[[], object]]:
    return [
        root.check,
        lambda: root.generate_data_key(fresh()),
        lambda: root.wrap(rng.new_key(), fresh()),
    ]


@BENCH_AND_FAULT
def test_a_fault_at_start_is_an_error_of_ours_that_says_what_to_do(
    bench: RootBench, fault: Fault
) -> None:
    with bench.broken(fault):
        root = bench.root()
        described = root.describe()
        for call in _calls(root):
            with pytest.raises(RootError) as caught:
                call()
            _judge(caught.value, bench, fault)
    assert described.root_key_id == bench.settings.root_key_id
    root.check()


@BENCH_AND_FAULT
def test_a_fault_in_service_is_told_and_passes(bench: RootBench, fault: Fault) -> None:
    root = bench.root()
    key, record = root.generate_data_key(fresh())
    with bench.broken(fault):
        with pytest.raises(RootError) as caught:
            root.unwrap(record)
        _judge(caught.value, bench, fault)
    assert root.unwrap(record) == key


def _judge(error: StrongroomError, bench: RootBench, fault: Fault) -> None:
    assert type(error) is (RootUnavailableError if fault in PASSING else RootRefusedError)
    said = f"{error.message} / {error.hint}"
    assert bench.settings.root_key_id in said
    assert error.hint
    for words in bench.told.get(fault, ()):
        assert words in said
