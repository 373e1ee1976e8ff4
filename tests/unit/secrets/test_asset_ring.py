"""Asset keys: C-08, docs/format/asset-keys.md."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from strongroom.crypto import rng
from strongroom.errors import FormatError, IntegrityError, KeyNotFoundError
from strongroom.ids import new_id
from strongroom.secrets import asset_ring
from strongroom.secrets.asset_ring import AssetKey, AssetRing

CONTENT = new_id()


def new_key() -> AssetKey:
    return AssetKey(new_id(), "2026-01-02T03:04:05Z", rng.new_key())


def ring_of(count: int) -> AssetRing:
    first = new_key()
    ring = AssetRing(first.id, (first,))
    for _ in range(count - 1):
        ring = ring.with_new_active(new_key())
    return ring


def test_a_ring_comes_back_from_its_bytes() -> None:
    ring = ring_of(3)
    assert asset_ring.parse(asset_ring.serialize(ring)) == ring


def test_the_active_key_seals_and_older_keys_still_open() -> None:
    old = ring_of(1)
    key_id, sealed = old.seal(b"hunter2", content_id=CONTENT)
    new = old.with_new_active(new_key())
    assert new.open_(key_id, sealed, content_id=CONTENT).reveal() == b"hunter2"
    assert new.seal(b"x", content_id=CONTENT)[0] == new.active_id != key_id
    with pytest.raises(KeyNotFoundError, match=key_id):
        new.only_active().open_(key_id, sealed, content_id=CONTENT)


def test_a_credential_moved_to_other_content_does_not_open() -> None:
    ring = ring_of(1)
    key_id, sealed = ring.seal(b"hunter2", content_id=CONTENT)
    with pytest.raises(IntegrityError):
        ring.open_(key_id, sealed, content_id=new_id())
    with pytest.raises(FormatError):
        ring.open_(key_id, "*" + sealed, content_id=CONTENT)


def broken(change: Callable[[dict[str, Any]], object]) -> bytes:
    document = json.loads(asset_ring.serialize(ring_of(2)))
    change(document)
    return json.dumps(document, sort_keys=True, separators=(",", ":")).encode()


CASES: dict[str, Callable[[dict[str, Any]], object]] = {
    "version": lambda d: d.update(v=2),
    "active unknown": lambda d: d.update(active=new_id()),
    "one id twice": lambda d: d["keys"].append(d["keys"][0]),
    "too many": lambda d: d.update(
        keys=[*d["keys"], *({**d["keys"][0], "id": new_id()} for _ in range(64))]
    ),
    "short key": lambda d: d["keys"][0].update(key="AAAA"),
    "no id": lambda d: d["keys"][0].update(id="x"),
    "no time": lambda d: d["keys"][0].update(created_at="x"),
    "extra": lambda d: d.update(extra=1),
    "missing": lambda d: d.pop("keys"),
}


@pytest.mark.parametrize("case", sorted(CASES))
def test_a_broken_ring_is_refused(case: str) -> None:
    with pytest.raises(FormatError):
        asset_ring.parse(broken(CASES[case]))


def test_what_is_no_json_is_refused_without_its_text() -> None:
    with pytest.raises(FormatError) as caught:
        asset_ring.parse(b'{"keys": "topsecret')
    assert caught.value.__cause__ is None
    assert "topsecret" not in str(caught.value)
