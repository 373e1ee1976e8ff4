"""The KMS store after one of format 1: docs/format/kms-store.md 5 to 7; issue 10, part I."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from strongroom.clock import FixedClock
from strongroom.crypto import rng
from strongroom.errors import RootError, StateError
from strongroom.ids import MekId, new_id
from strongroom.kms import any_store, from_format_1, next_store
from strongroom.kms import store as kms_store
from strongroom.kms.keyring import KeyRing
from strongroom.kms.links import Continuity, Known, successor_key
from strongroom.kms.next_store import NextStore
from strongroom.kms.opening import OpenedKeys, open_keys
from strongroom.kms.store_1 import KmsStore1
from strongroom.roots.base import Context, WrapRecord
from strongroom.roots.local import LocalRoot
from tests.support import older_stores

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
KEY, KEY_ID = rng.new_key(), new_id()
ROOT = LocalRoot(KEY_ID, lambda _: KEY, FixedClock(NOW))


def find(wrap: WrapRecord) -> LocalRoot:
    if wrap.root_key_id != KEY_ID:
        raise RootError("away")
    return ROOT


def quiet(*_: str) -> None:
    pass


def old_store(*former: bytes, epoch: int = 7) -> tuple[KmsStore1, bytes]:
    """A store of format 1 with two MEKs, a local wrap and one of a root that is away."""
    store, ring, rmk = older_stores.first(KEY, KEY_ID)
    ring = ring.with_new_active(MekId(new_id()), rng.new_key(), NOW)
    context = Context(store.installation_id, store.rmk_id, new_id())
    away = replace(
        store.wraps[0], id=context.wrap_id, kind="aws", root_key_id="arn:k", context=context.pairs()
    )
    whole = replace(store, epoch=epoch, wraps=(*store.wraps, away), former=former)
    sealed = older_stores.seal_ring(whole, ring, rmk)
    return sealed, older_stores.serialize(sealed)


def upgraded(store: KmsStore1, raw: bytes) -> tuple[NextStore, OpenedKeys]:
    keys = open_keys(store, find, quiet)
    return from_format_1.linked(store, raw, keys, find), keys


def materials(ring: KeyRing) -> list[tuple[str, bytes, str]]:
    return [(mek.id, mek.material.reveal(), mek.state.value) for mek in ring]


def test_the_store_keeps_its_keys_and_follows_from_the_old_bytes() -> None:
    store, raw = old_store()
    made, keys = upgraded(store, raw)
    parsed = kms_store.parse(made.raw)
    assert (parsed.epoch, parsed.rmk_id, parsed.mode) == (8, store.rmk_id, "local")
    opened = open_keys(parsed, find, quiet)
    assert opened.rmk == keys.rmk
    assert materials(opened.ring) == materials(keys.ring)
    assert [mek.sequence for mek in parsed.meks] == [1, 2]
    known = Known(7, kms_store.digest(raw), successor_key(keys.rmk).public)
    assert parsed.continuity(known, made.raw) is Continuity.FOLLOWS


def test_a_root_that_is_away_keeps_its_wrap_and_the_local_one_is_made_anew() -> None:
    """5.4: contexts stay, so a direct wrap of a root outside needs no root."""
    store, raw = old_store()
    made, _ = upgraded(store, raw)
    local, away = kms_store.parse(made.raw).wraps
    assert (local.version, local.id, local.added_at) == (2, store.wraps[0].id, older_stores.AT)
    assert away == store.wraps[1]
    assert away.version == 1


def test_closed_stores_become_references_and_those_in_them_too() -> None:
    """7.1; findings B1: one in the other, each was 2.33 times as long."""
    _, inner = old_store(epoch=2)
    _, outer = old_store(inner, epoch=5)
    store, raw = old_store(outer, inner)
    made, _ = upgraded(store, raw)
    assert made.closes == {any_store.reference(one): one for one in (outer, inner)}
    assert set(kms_store.parse(made.raw).former) == set(made.closes)
    assert {one.epoch for one in made.closes} == {2, 5}


def test_more_closed_stores_than_there_may_be_are_refused() -> None:
    raws = [old_store(epoch=number)[1] for number in range(1, 17)]
    nested = old_store(raws[0], epoch=20)[1]
    store, raw = old_store(*raws[:15], nested)
    assert len(upgraded(store, raw)[0].closes) == 16
    last = old_store(raws[15], epoch=21)[1]
    store, raw = old_store(*raws[:15], last)
    with pytest.raises(StateError, match="no more than 16"):
        upgraded(store, raw)


def test_it_proves_like_any_next_store() -> None:
    store, _, _ = older_stores.first(KEY, KEY_ID)
    made, _ = upgraded(store, older_stores.serialize(store))
    next_store.prove(made, find)
