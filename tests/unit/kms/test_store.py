"""The KMS store: docs/format/kms-store.md 5; issue 10, part D; review X12; findings B2."""

import base64
import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from strongroom.crypto import rng
from strongroom.errors import FormatError, IntegrityError, StateError
from strongroom.ids import MekId, new_id
from strongroom.kms import links, numbered_meks, store_1, wrap_records
from strongroom.kms import store as kms_store
from strongroom.kms.closed_stores import ClosedStore
from strongroom.kms.keyring import KeyRing
from strongroom.kms.links import Link, Reason
from strongroom.kms.numbered_meks import NumberedMek
from strongroom.kms.states import MekState
from tests.support import linked_stores, older_stores
from tests.support.linked_stores import NOW, Chain

KEY = rng.new_key()


def chain(rotations: int = 1) -> Chain:
    made = linked_stores.first(KEY)
    for _ in range(rotations):
        made = made.rotated()
    return made


def materials(ring: KeyRing) -> list[tuple[str, bytes, str]]:
    return [(mek.id, mek.material.reveal(), mek.state.value) for mek in ring]


def test_a_store_comes_back_from_its_bytes_with_every_key() -> None:
    made = chain(3)
    parsed = kms_store.parse(made.raw)
    assert parsed == made.store
    assert materials(parsed.open_ring(made.rmk)) == materials(made.ring)
    assert parsed.rmk(made.rmk.material) == made.rmk
    assert (parsed.epoch, parsed.sequence, len(parsed.links)) == (4, 4, 3)


def test_no_key_material_stands_in_the_bytes() -> None:
    made = chain()
    secrets = [made.rmk.material, KEY, *(mek.material for mek in made.ring)]
    for secret in secrets:
        assert secret.reveal() not in made.raw
        assert base64.b64encode(secret.reveal()) not in made.raw
        assert secret.reveal().hex().encode() not in made.raw


def change(path: str, value: Any) -> Callable[[dict[str, Any]], None]:
    def apply(document: dict[str, Any]) -> None:
        *parents, last = path.split(".")
        target: Any = document
        for name in parents:
            target = target[int(name) if name.isdigit() else name]
        target[last] = value

    return apply


def refused(made: Chain, act: Callable[[dict[str, Any]], None]) -> str:
    """The class of error by which the changed bytes are refused."""
    document = json.loads(made.raw)
    act(document)
    raw = json.dumps(document, sort_keys=True, separators=(",", ":")).encode()
    with pytest.raises((FormatError, IntegrityError)) as caught:
        kms_store.parse(raw).open_ring(made.rmk)
    return str(caught.value)


ZERO = base64.b64encode(bytes(32)).decode()
FORGERIES: dict[str, tuple[Callable[[dict[str, Any]], None], str]] = {
    "version": (change("v", 1), "version"),
    "another member": (change("more", 1), "member"),
    "another member of rmk": (change("rmk.more", 1), "member"),
    "epoch": (change("epoch", 7), "links do not lead"),
    "installation": (change("installation", new_id()), "another store"),
    "mode": (change("mode", "aws"), "of another store"),
    "unknown mode": (change("mode", "paper"), "mode"),
    "rmk id": (change("rmk.id", new_id()), "another store"),
    "rmk time": (change("rmk.created_at", "2020-01-01T00:00:00Z"), "of another store"),
    "successor": (change("rmk.successor", ZERO), "of another store"),
    "short successor": (change("rmk.successor", "AA=="), "successor key"),
    "no wraps": (change("rmk.wraps", []), "no wrap"),
    "wrap version": (change("rmk.wraps.0.v", 3), "version"),
    "wrap of another store": (change("rmk.wraps.0.context.wrap", new_id()), "another store"),
    "wrap that is long": (change("rmk.wraps.0.region", "a" * 8000), "8192"),
    "mek state": (change("meks.1.state", "decrypt-only"), "of another store"),
    "mek unavailable": (change("meks.0.state", "unavailable"), "unavailable"),
    "active mek retires": (change("meks.1.retire_at", "2027-01-01T00:00:00Z"), "retired"),
    "mek retires": (change("meks.0.retire_at", "2027-01-01T00:00:00Z"), "of another store"),
    "mek number": (change("meks.1.sequence", 1), "numbers"),
    "mek number beyond": (change("meks.1.sequence", 3), "numbers"),
    "mek number zero": (change("meks.0.sequence", 0), "less than 1"),
    "sequence": (change("sequence", 9), "of another store"),
    "former": (change("former", [{"digest": "00" * 32, "epoch": 1, "length": 9}]), "another store"),
    "former of no digest": (change("former", [{"digest": "00", "epoch": 1, "length": 9}]), "hexa"),
    "no links": (change("links", []), "links do not lead"),
    "link key": (change("links.0.key", ZERO), "of another store"),
    "link key length": (change("links.0.key", "AA=="), "length"),
    "link body": (change("links.0.body", "00" * 32), "of another store"),
    "link digest": (change("links.0.digest", "00" * 32), "of another store"),
    "link reason": (change("links.0.reason", "abandoned"), "signed"),
    "link without signature": (change("links.0.signature", ""), "signed"),
    "link signature": (change("links.0.signature", base64.b64encode(bytes(64)).decode()), "MAC"),
    "link to no epoch": (change("links.0.epoch", 2**63), "another length"),
    "link to epoch 1": (change("links.0.epoch", 1), "less than 2"),
    "mac": (change("mac", ZERO), "MAC"),
}


@pytest.mark.parametrize("name", FORGERIES)
def test_a_changed_field_is_refused(name: str) -> None:
    """5.3, 5.7: by what it contradicts, or by the MAC."""
    act, words = FORGERIES[name]
    assert words in refused(chain(), act)


def test_another_rmk_opens_nothing() -> None:
    made, other = chain(), chain()
    with pytest.raises(IntegrityError, match="MAC"):
        made.store.open_ring(other.rmk)


def test_two_meks_cannot_be_exchanged() -> None:
    """5.5: even under a MAC that fits."""
    made = chain()
    one, other = made.store.meks
    swapped = replace(
        made.store, meks=(one._replace(wrapped=other.wrapped), other._replace(wrapped=one.wrapped))
    )
    forged = replace(swapped, mac=kms_store._mac(swapped, made.rmk))
    with pytest.raises(IntegrityError, match="another place"):
        forged.open_ring(made.rmk)


def test_a_store_of_the_other_format_is_refused() -> None:
    with pytest.raises(FormatError, match="version"):
        store_1.parse(chain().raw)
    raw = older_stores.serialize(older_stores.first(KEY, new_id())[0])
    with pytest.raises(FormatError, match="version"):
        kms_store.parse(raw)


def test_the_order_is_by_number_and_not_by_the_clock() -> None:
    """design f16: a node whose clock is behind can rotate; nothing is reused after a retirement."""
    made = chain().rotated(NOW - timedelta(days=400))
    assert [mek.sequence for mek in made.store.meks] == [1, 2, 3]
    assert made.store.meks[2].created_at < made.store.meks[0].created_at
    assert kms_store.parse(made.raw).open_ring(made.rmk).active.id == made.store.meks[2].id
    smaller = made.without(made.store.meks[1].id)
    assert [mek.sequence for mek in smaller.store.meks] == [1, 3]
    assert [mek.sequence for mek in smaller.rotated().store.meks] == [1, 3, 4]


def test_adopted_meks_get_the_next_numbers() -> None:
    made, other = chain(), chain()
    ring = made.ring.with_adopted(other.ring, NOW)
    grown = kms_store.succeeding(made.store, ring, made.rmk, made.before)
    assert [mek.sequence for mek in grown.meks] == [1, 2, 3, 4]
    opened = kms_store.parse(kms_store.serialize(grown)).open_ring(made.rmk)
    assert {mek.id for mek in opened} == {mek.id for mek in (*made.ring, *other.ring)}
    assert opened.active.id == made.ring.active.id


def test_a_scheduled_retirement_stays_through_changes() -> None:
    """findings D5"""
    made = chain()
    at = datetime(2027, 1, 1, tzinfo=UTC)
    ring = made.ring.with_retirement(made.store.meks[0].id, at)
    scheduled = kms_store.succeeding(made.store, ring, made.rmk, made.before)
    later = Chain(scheduled, made.rmk, ring, KEY).rotated()
    found = kms_store.parse(later.raw).meks
    assert [mek.retire_at for mek in found] == ["2027-01-01T00:00:00Z", None, None]
    assert [mek.retire_at for mek in later.store.open_ring(later.rmk)] == [at, None, None]


def test_everything_at_its_bound_fits() -> None:
    """findings B2: 4,096 MEKs and 1 MiB contradicted each other; now all bounds together have room."""
    made = chain()
    number = 2**63
    mek = NumberedMek(
        id=MekId(new_id()),
        sequence=number,
        state=MekState.ENCRYPT_OR_DECRYPT,
        created_at="2026-01-02T03:04:05Z",
        encrypting_since="2026-01-02T03:04:05Z",
        decrypt_only_since="2026-01-02T03:04:05Z",
        wrapped=bytes(112),
        retire_at="2026-01-02T03:04:05Z",
    )
    link = Link(number, "0" * 64, "0" * 64, bytes(32), Reason.ABANDONED, bytes(64))
    wrap = made.store.wraps[0]
    spare = kms_store.MAX_WRAP_BYTES - len(kms_store.KIND.dumps(wrap_records.fields(wrap)))
    largest = replace(wrap, region="a" * spare)
    full = replace(
        made.store,
        meks=(mek,) * kms_store.MAX_MEKS,
        wraps=(largest,) * kms_store.MAX_WRAPS,
        former=(ClosedStore("0" * 64, number, number),) * 16,
        links=(link,) * 64,
    )
    assert len(kms_store.serialize(full)) < kms_store.MAX_BYTES
    assert len(kms_store.KIND.dumps(numbered_meks.fields(mek))) <= 450
    assert len(kms_store.KIND.dumps(links.fields(link))) <= 400


def test_a_change_beyond_a_bound_is_refused_beforehand() -> None:
    store = chain().store
    kms_store.check_room(store, meks=4094, wraps=31)
    with pytest.raises(StateError, match="no more than 4096") as caught:
        kms_store.check_room(store, meks=4095)
    assert "retire" in caught.value.hint
    with pytest.raises(StateError, match="no more than 32"):
        kms_store.check_room(store, wraps=32)


@pytest.mark.parametrize(
    ("path", "most"), [("meks", 4096), ("former", 16), ("links", 64), ("rmk.wraps", 32)]
)
def test_a_list_beyond_its_bound_is_refused_before_it_is_read(path: str, most: int) -> None:
    assert f"more than {most}" in refused(chain(), change(path, [0] * (most + 1)))
