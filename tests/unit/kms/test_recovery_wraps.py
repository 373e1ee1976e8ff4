"""Recovery roots of a rotation: which are left out, and what an error says (over whole nodes: `contract/kms/test_drop_root`)."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from strongroom.clock import FixedClock
from strongroom.crypto import rng
from strongroom.errors import (
    NotFoundError,
    RootError,
    RootRefusedError,
    RootUnavailableError,
    StateError,
)
from strongroom.eventlog.events import key_events
from strongroom.ids import InstallationId, new_id
from strongroom.kms import next_store, recovery_wraps
from strongroom.kms.next_store import RootSet
from strongroom.kms.opening import OpenStore
from strongroom.roots.base import Context, RootProvider, WrapRecord
from strongroom.roots.local import LocalRoot

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
KEYS = {new_id(): rng.new_key() for _ in range(3)}
ROOTS = [LocalRoot(name, lambda one: KEYS[one], FixedClock(NOW)) for name in KEYS]


@pytest.fixture
def opened() -> OpenStore:
    """A store with the wrap of its mode and those of two recovery roots."""
    made = next_store.initial(
        InstallationId(new_id()), RootSet("local", ROOTS[0], tuple(ROOTS[1:])), NOW
    )
    return OpenStore(made.store, made.rmk, made.ring)


def find(wrap: WrapRecord) -> RootProvider:
    return next(root for root in ROOTS if root.describe().root_key_id == wrap.root_key_id)


def test_only_the_named_wraps_are_left_out_and_told(opened: OpenStore) -> None:
    mode, first, second = opened.store.wraps
    assert recovery_wraps.without(opened.store, [first.id]).wraps == (mode, second)
    assert recovery_wraps.without(opened.store, []) == opened.store
    [event] = recovery_wraps.removed("os:ada", opened, [first.id])
    assert event == key_events.root_removed("os:ada", first.kind, first.root_key_id)


def test_the_mode_s_root_and_what_is_not_there_are_not_left_out(opened: OpenStore) -> None:
    with pytest.raises(StateError, match="is that of the KMS mode"):
        recovery_wraps.without(opened.store, [opened.store.wraps[0].id])
    with pytest.raises(NotFoundError, match="there is no wrap nobody"):
        recovery_wraps.without(opened.store, ["nobody"])


def test_a_recipient_is_not_left_out_for_it_is_never_asked(opened: OpenStore) -> None:
    mode, first, second = opened.store.wraps
    store = replace(opened.store, wraps=(mode, replace(first, kind="age"), second))
    with pytest.raises(StateError, match="is for a recovery recipient"):
        recovery_wraps.without(store, [first.id])


def test_each_recovery_root_wraps_anew_under_its_own_key(opened: OpenStore) -> None:
    wraps, material = opened.store.wraps[1:], rng.new_key()
    context = Context(opened.store.installation_id, opened.store.rmk_id, new_id())
    for wrap, root in zip(wraps, recovery_wraps.recovery_roots(wraps, find), strict=True):
        again = root.wrap(material, context)
        assert again.root_key_id == wrap.root_key_id
        assert find(wrap).unwrap(again) == material


@pytest.mark.parametrize("kind", [RootUnavailableError, RootRefusedError])
def test_an_error_keeps_its_kind_and_names_the_way_on(
    opened: OpenStore, kind: type[RootError]
) -> None:
    """An outage at the wrong moment must not take a way back from the administrator, nor leave him without a way on."""
    [_, wrap, _] = opened.store.wraps

    def gone(_: WrapRecord) -> RootProvider:
        raise kind("it is gone", hint="wait")

    [root] = recovery_wraps.recovery_roots([wrap], gone)
    context = Context(opened.store.installation_id, opened.store.rmk_id, new_id())
    with pytest.raises(kind, match=r"nothing was changed: .* it is gone") as caught:
        root.wrap(rng.new_key(), context)
    assert caught.value.hint == f"wait; or give it up: --drop-root {wrap.id}"
