"""One suite for every kind of root (R10)."""

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
from tests.contract.roots.harness import PASSING, RootLab
from tests.contract.roots.providers import LABS
from tests.support.fault_server import Fault

CASES = [(name, fault) for name, kind in LABS.items() for fault in kind.faults()]
LAB_AND_FAULT = pytest.mark.parametrize(("lab", "fault"), CASES, indirect=["lab"])
EVERY_LAB = pytest.mark.parametrize("lab", LABS, indirect=True)


def fresh() -> Context:
    return Context(new_id(), new_id(), new_id())


def flipped(raw: bytes, place: int) -> bytes:
    changed = bytearray(raw)
    changed[place] ^= 1
    return bytes(changed)


@EVERY_LAB
def test_a_key_it_makes_comes_back_after_a_start(lab: RootLab) -> None:
    context = fresh()
    key, record = lab.root().generate_data_key(context)
    assert len(key) == 32
    assert (record.kind, record.form) == (lab.settings.kind, lab.form)
    assert (record.id, record.context) == (context.wrap_id, context.pairs())
    assert lab.settings.opens(record)
    assert key.reveal() not in record.blob + record.inner
    assert lab.root().unwrap(record) == key


@EVERY_LAB
def test_a_given_key_comes_back_after_a_start(lab: RootLab) -> None:
    key = rng.new_key()
    record = lab.root().wrap(key, fresh())
    assert lab.settings.opens(record)
    assert key.reveal() not in record.blob + record.inner
    assert lab.root().unwrap(record) == key


@EVERY_LAB
def test_two_wraps_of_one_key_differ(lab: RootLab) -> None:
    key, root = rng.new_key(), lab.root()
    first, second = (root.wrap(key, fresh()) for _ in range(2))
    assert (first.blob, first.inner) != (second.blob, second.inner)


@EVERY_LAB
@pytest.mark.parametrize("name", ["installation", "rmk", "wrap"])
def test_a_wrap_opens_in_its_own_context_only(lab: RootLab, name: str) -> None:
    root = lab.root()
    for record in (root.generate_data_key(fresh())[1], root.wrap(rng.new_key(), fresh())):
        elsewhere = replace(record, context={**record.context, name: new_id()})
        with pytest.raises(IntegrityError):
            root.unwrap(elsewhere)


@EVERY_LAB
def test_a_changed_wrap_does_not_open(lab: RootLab) -> None:
    root = lab.root()
    for record in (root.generate_data_key(fresh())[1], root.wrap(rng.new_key(), fresh())):
        changed = [
            replace(record, inner=flipped(record.inner, place))
            for place in ((0, 20, -1) if record.inner else ())
        ]
        if lab.authenticates:
            size = len(record.blob)
            changed += [
                replace(record, blob=flipped(record.blob, at)) for at in (size // 2, size - 1)
            ]
            changed += [replace(record, blob=record.blob[: size // 2])]
        for one in changed:
            with pytest.raises((IntegrityError, RootRefusedError)):
                root.unwrap(one)


@EVERY_LAB
def test_another_key_of_the_same_kind_opens_nothing(lab: RootLab) -> None:
    foreign = lab.root(lab.foreign_settings)
    foreign.check()
    _, record = lab.root().generate_data_key(fresh())
    assert not lab.foreign_settings.opens(record)
    refused = (IntegrityError, RootRefusedError, KeyNotFoundError)
    with pytest.raises(refused):
        foreign.unwrap(record)
    if lab.authenticates:
        _, own = foreign.generate_data_key(fresh())
        with pytest.raises(refused):
            foreign.unwrap(replace(record, root_key_id=own.root_key_id))


@EVERY_LAB
def test_it_says_what_it_is_and_who_asks(lab: RootLab) -> None:
    root = lab.root()
    root.check()
    described = root.describe()
    assert (described.kind, described.root_key_id) == (
        lab.settings.kind,
        lab.settings.root_key_id,
    )
    assert described.online
    assert bool(described.details.get("identity")) is lab.identity
    shown = repr(described)
    for secret in lab.settings.secrets.values():
        assert secret.reveal().decode(errors="replace") not in shown


def _calls(root: RootProvider) -> list[Callable[[], object]]:
    return [
        root.check,
        lambda: root.generate_data_key(fresh()),
        lambda: root.wrap(rng.new_key(), fresh()),
    ]


@LAB_AND_FAULT
def test_a_fault_at_start_is_an_error_of_ours_that_says_what_to_do(
    lab: RootLab, fault: Fault
) -> None:
    with lab.broken(fault):
        root = lab.root()
        described = root.describe()
        for call in _calls(root):
            with pytest.raises(RootError) as caught:
                call()
            _judge(caught.value, lab, fault)
    assert described.root_key_id == lab.settings.root_key_id
    root.check()


@LAB_AND_FAULT
def test_a_fault_in_service_is_told_and_passes(lab: RootLab, fault: Fault) -> None:
    root = lab.root()
    key, record = root.generate_data_key(fresh())
    with lab.broken(fault):
        with pytest.raises(RootError) as caught:
            root.unwrap(record)
        _judge(caught.value, lab, fault)
    assert root.unwrap(record) == key


def _judge(error: StrongroomError, lab: RootLab, fault: Fault) -> None:
    assert type(error) is (RootUnavailableError if fault in PASSING else RootRefusedError)
    said = f"{error.message} / {error.hint}"
    assert lab.settings.root_key_id in said
    assert error.hint
    for words in lab.told.get(fault, ()):
        assert words in said
