"""The local root: K-05, Q-02."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from typing_extensions import override

from strongroom.clock import FixedClock
from strongroom.crypto import rng
from strongroom.crypto.secret import SecretBytes
from strongroom.errors import IntegrityError, RootError
from strongroom.ids import new_id
from strongroom.roots.base import Context, WrapRecord
from strongroom.roots.local import LocalRoot

CLOCK = FixedClock(datetime(2026, 1, 2, tzinfo=UTC))
CONTEXT = Context(new_id(), new_id(), new_id())


def root_with(keys: Mapping[str, SecretBytes], active: str) -> LocalRoot:
    return LocalRoot(active, lambda key_id: keys[key_id], CLOCK)


def test_a_wrap_opens_by_the_key_it_names_even_after_a_change_of_key() -> None:
    old, new = new_id(), new_id()
    keys = {old: rng.new_key(), new: rng.new_key()}
    key, record = root_with(keys, old).generate_data_key(CONTEXT)
    assert root_with(keys, new).unwrap(record) == key
    assert record.root_key_id == old
    assert record.context == CONTEXT.pairs()


@pytest.mark.parametrize("name", ["installation", "rmk", "wrap"])
def test_a_wrap_is_bound_to_its_place(name: str) -> None:
    key_id = new_id()
    root = root_with({key_id: rng.new_key()}, key_id)
    _, record = root.generate_data_key(CONTEXT)
    with pytest.raises(IntegrityError):
        root.unwrap(replace(record, context={**record.context, name: new_id()}))


@pytest.mark.parametrize("context", [{}, {"installation": new_id()}, {"other": "x"}])
def test_a_context_of_another_shape_does_not_open(context: dict[str, str]) -> None:
    key_id = new_id()
    root = root_with({key_id: rng.new_key()}, key_id)
    _, record = root.generate_data_key(CONTEXT)
    with pytest.raises(IntegrityError):
        root.unwrap(replace(record, context=context))


def test_check_makes_a_real_round_trip() -> None:
    key_id = new_id()
    root = root_with({key_id: rng.new_key()}, key_id)
    root.check()
    assert root.describe().root_key_id == key_id


def test_check_notices_a_key_that_changes_under_it() -> None:
    answers = iter([rng.new_key(), rng.new_key()])
    with pytest.raises(IntegrityError):
        LocalRoot(new_id(), lambda _: next(answers), CLOCK).check()


def test_check_compares_what_comes_back() -> None:
    class Forgetful(LocalRoot):
        @override
        def unwrap(self, record: WrapRecord) -> SecretBytes:
            del record
            return rng.new_key()

    key = rng.new_key()
    with pytest.raises(RootError, match="another key"):
        Forgetful(new_id(), lambda _: key, CLOCK).check()
