"""The KMS store of format 1, for reading: docs/format/kms-store.md 1 and 2; K-04, K-09, K-13."""

import base64
import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from strongroom.clock import FixedClock
from strongroom.crypto import rng
from strongroom.crypto.secret import SecretBytes
from strongroom.errors import FormatError, IntegrityError, RootError, StrongroomError
from strongroom.ids import MekId, new_id
from strongroom.kms import any_store, store_1
from strongroom.kms.keyring import KeyRing
from strongroom.kms.keys import Rmk
from strongroom.kms.opening import open_keys
from strongroom.kms.store_1 import KmsStore1
from strongroom.roots.local import LocalRoot
from tests.support import older_stores

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
KEY_ID = new_id()
KEY = rng.new_key()


def local_root(key: SecretBytes = KEY) -> LocalRoot:
    return LocalRoot(KEY_ID, lambda _: key, FixedClock(NOW))


def make_store(count: int = 2) -> tuple[KmsStore1, KeyRing, Rmk]:
    store, ring, rmk = older_stores.first(KEY, KEY_ID)
    for _ in range(count - 1):
        ring = ring.with_new_active(MekId(new_id()), rng.new_key(), NOW)
    return older_stores.seal_ring(store, ring, rmk), ring, rmk


def quiet(channel: str, sentence: str) -> None:
    del channel, sentence


def test_a_store_comes_back_from_its_bytes_with_every_key() -> None:
    store, ring, _ = make_store(3)
    parsed = store_1.parse(older_stores.serialize(store))
    assert parsed == store
    assert parsed.active_mek_id == ring.active.id
    said: list[tuple[str, str]] = []
    opened = open_keys(parsed, lambda _: local_root(), lambda *line: said.append(line))
    assert [(mek.id, mek.material) for mek in opened.ring] == [
        (mek.id, mek.material) for mek in ring
    ]
    assert said == []


def test_no_key_material_stands_in_the_bytes() -> None:
    """K-04, K-13."""
    store, ring, rmk = make_store()
    raw = older_stores.serialize(store)
    for secret in [rmk.material, *(mek.material for mek in ring)]:
        for form in (
            secret.reveal(),
            base64.b64encode(secret.reveal()),
            secret.reveal().hex().encode(),
        ):
            assert form not in raw


def test_another_configuration_key_opens_nothing() -> None:
    store, _, _ = make_store()
    with pytest.raises(IntegrityError):
        open_keys(store, lambda _: local_root(rng.new_key()), quiet)


def test_any_one_wrap_opens_the_store() -> None:
    """The RMK may be wrapped by several roots; a broken wrap does not hide a good one."""
    store, _, rmk = make_store()
    (good,) = store.wraps
    broken = replace(good, id=new_id(), blob=bytes(60))
    both = older_stores.seal_ring(replace(store, wraps=(broken, good)), store.open_ring(rmk), rmk)
    assert open_keys(both, lambda _: local_root(), quiet).rmk.material == rmk.material


def test_a_store_without_wraps_says_so() -> None:
    store, _, _ = make_store()
    with pytest.raises(RootError, match="has no wrap"):
        open_keys(replace(store, wraps=()), lambda _: local_root(), quiet)


def change(path: str, value: Any) -> Callable[[dict[str, Any]], None]:
    def apply(document: dict[str, Any]) -> None:
        *parents, last = path.split(".")
        target: Any = document
        for name in parents:
            target = target[int(name) if name.isdigit() else name]
        target[last] = value

    return apply


#: Every field an attacker could wish to change, with a value that still parses.
FORGERIES = {
    "epoch": change("epoch", 7),
    "installation": change("installation", new_id()),
    "mode": change("mode", "aws"),
    "rmk id": change("rmk.id", new_id()),
    "rmk time": change("rmk.created_at", "2020-01-01T00:00:00Z"),
    "mek id": change("meks.0.id", new_id()),
    "mek state": change("meks.0.state", "encrypt or decrypt"),
    "mek time": change("meks.0.created_at", "2020-01-01T00:00:00Z"),
    "mek wrap": change("meks.0.wrapped", base64.b64encode(bytes(60)).decode()),
    "no meks": change("meks", []),
    "former": change("former", ["AAAA"]),
    "mac": change("mac", base64.b64encode(bytes(32)).decode()),
}


@pytest.mark.parametrize("field", sorted(FORGERIES))
def test_a_changed_field_breaks_the_mac(field: str) -> None:
    """2.3: nothing is believed before the MAC is checked."""
    store, _, _ = make_store()
    document = json.loads(older_stores.serialize(store))
    FORGERIES[field](document)
    raw = json.dumps(document, sort_keys=True, separators=(",", ":")).encode()
    with pytest.raises(StrongroomError):
        open_keys(store_1.parse(raw), lambda _: local_root(), quiet)


def test_two_meks_cannot_be_exchanged() -> None:
    """2.2: a wrapped MEK is bound to its id; even with a right MAC it does not open elsewhere."""
    store, _, rmk = make_store()
    first, second = store.meks
    swapped = replace(
        store,
        meks=(replace(first, wrapped=second.wrapped), replace(second, wrapped=first.wrapped)),
    )
    forged = replace(swapped, mac=older_stores.mac(swapped, rmk))
    with pytest.raises(IntegrityError):
        forged.open_ring(rmk)


REFUSED: dict[str, Callable[[dict[str, Any]], None]] = {
    "version": change("v", 2),
    "mode": change("mode", "cardboard"),
    "epoch": change("epoch", 0),
    "id": change("installation", "x"),
    "id type": change("installation", 7),
    "time": change("rmk.created_at", "yesterday"),
    "no wraps": change("rmk.wraps", []),
    "wrap of another installation": change("rmk.wraps.0.context.installation", new_id()),
    "wrap of another RMK": change("rmk.wraps.0.context.rmk", new_id()),
    "wrap under another id": change("rmk.wraps.0.id", new_id()),
    "wrap bound to nothing": change("rmk.wraps.0.context", {}),
    "base64": change("mac", "***"),
    "state": change("meks.0.state", "unavailable"),
    "extra field": change("extra", 1),
    "missing field": lambda document: document.pop("meks"),
}


@pytest.mark.parametrize("case", sorted(REFUSED))
def test_a_store_that_breaks_the_format_is_refused(case: str) -> None:
    store, _, _ = make_store()
    document = json.loads(older_stores.serialize(store))
    REFUSED[case](document)
    raw = json.dumps(document, sort_keys=True, separators=(",", ":")).encode()
    with pytest.raises(FormatError):
        store_1.parse(raw)


def _repeated(document: dict[str, Any], path: str, count: int) -> bytes:
    """A store of so many items that are all well formed, so that their number alone can be wrong."""
    *parents, last = path.split(".")
    target: Any = document
    for name in parents:
        target = target[name]
    first: Any = target[last][0] if target[last] else ""
    if path == "meks":  # the shortest MEK that there is: the bound of the bytes is another one
        first = {**first, "encrypting_since": None, "decrypt_only_since": None}
    target[last] = [first] * count
    return json.dumps(document, sort_keys=True, separators=(",", ":")).encode()


@pytest.mark.parametrize(
    ("path", "limit", "words"),
    [("meks", 4096, "MEKs"), ("rmk.wraps", 32, "wraps"), ("former", 16, "former stores")],
)
def test_a_store_has_at_most_so_many(path: str, limit: int, words: str) -> None:
    """1.5; findings M2: 33 empty wraps were refused for being empty, so no bound was tested."""
    store, _, _ = make_store()
    document = json.loads(older_stores.serialize(store))
    store_1.parse(_repeated(document, path, limit))
    with pytest.raises(FormatError, match=f"has {limit + 1} {words}, more than {limit}"):
        store_1.parse(_repeated(document, path, limit + 1))


@pytest.mark.parametrize("raw", [b"", b"{}", b"[]", b"null", b"\xff", b"[" * 100_000])
def test_bytes_that_are_no_store_are_refused(raw: bytes) -> None:
    with pytest.raises(FormatError):
        store_1.parse(raw)


def test_white_space_is_not_canonical() -> None:
    store, _, _ = make_store()
    with pytest.raises(FormatError, match="canonical"):
        store_1.parse(older_stores.serialize(store) + b"\n")


def test_a_store_beyond_its_bound_is_not_read() -> None:
    with pytest.raises(FormatError, match="more than 1048576"):
        store_1.parse(bytes((1 << 20) + 1))


def test_a_short_rmk_is_refused() -> None:
    store, _, _ = make_store()
    with pytest.raises(FormatError, match="instead of 32"):
        store.rmk(SecretBytes(b"short"))


def test_a_store_names_its_format() -> None:
    """Backups and closed stores are of either format."""
    store, _, _ = make_store()
    raw = older_stores.serialize(store)
    assert any_store.parse(raw) == store
    reference = any_store.reference(raw)
    assert (reference.epoch, reference.length) == (1, len(raw))
    with pytest.raises(FormatError, match="not known here"):
        any_store.parse(raw.replace(b'"v":1', b'"v":3'))
