"""Entries of format 1 in their present form: what `strongroom upgrade` makes of them (docs/format/format-2.md 11)."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from strongroom import ids
from strongroom.canonical import UTF_8, dumps
from strongroom.config import pending, rotation
from strongroom.config.document import ConfigDocument
from strongroom.config.rotation import RotationJournal
from strongroom.coordination.floors import Point
from strongroom.crypto import aead, kdf, rng
from strongroom.crypto.secret import SecretBytes
from strongroom.errors import FormatError, KeyNotFoundError, StateError
from strongroom.kms import any_store
from strongroom.secrets import committed, enc
from strongroom.services.keys import regeneration
from strongroom.services.nodes.older import Older
from strongroom.services.recovery import journal as recovery_journal

INSTALLATION, ACTIVE, FORMER, RUN = (ids.new_id() for _ in range(4))
KEYS = {ACTIVE: rng.new_key(), FORMER: rng.new_key()}
STORES = Path(__file__).parents[3] / "vectors" / "kms_store.json"
REDIS, STORE = "redis.password", "kms.persistent_store"


class Keys:
    """The configuration keys of the node."""

    def __init__(self, keys: dict[str, SecretBytes] = KEYS) -> None:
        self.keys = keys

    def open(self, key_id: str) -> SecretBytes:
        if key_id not in self.keys:
            raise KeyNotFoundError(f"there is no configuration key {key_id}")
        return self.keys[key_id]


def older(keys: dict[str, SecretBytes] = KEYS) -> Older:
    return Older(lambda _: Keys(keys))


def text(value: bytes, key_id: str = ACTIVE, name: str = REDIS) -> str:
    return enc.seal_value(KEYS[key_id], key_id, name, value)


def document(version: int, **values: str) -> bytes:
    return dumps(
        {
            "format": "strongroom-configuration-1",
            "version": version,
            "installation_id": INSTALLATION,
            "configuration_key_id": ACTIVE,
            "values": {"gateway.timeout": "7200", **values},
        },
        UTF_8,
    )


def opened(found: str, name: str = REDIS) -> bytes:
    return committed.open_text(INSTALLATION, KEYS.__getitem__, name, found)


def test_the_document_names_its_predecessor_and_its_values_open() -> None:
    converted = older().converted(
        {
            "config": document(7, **{REDIS: text(b"now", FORMER)}),
            "config/previous": document(6, **{REDIS: text(b"before")}),
            "restart": b"7",
        }
    )
    found = ConfigDocument.parse(converted["config"])
    before = ConfigDocument.parse(converted["config/previous"])
    assert (found.version, found.pending_floor, before.before) == (7, 0, None)
    assert found.before == hashlib.sha256(converted["config/previous"]).hexdigest()
    assert opened(found.values[REDIS]) == b"now"
    assert committed.key_id_of(found.values[REDIS]) == FORMER, "each stays under its own key"
    assert opened(before.values[REDIS]) == b"before"
    assert found.values["gateway.timeout"] == "7200"
    assert converted["restart"] == b"7"


def pending_of(value: str, key_id: str = ACTIVE) -> bytes:
    head = b"SRPC\x01" + ids.id_bytes(key_id) + (5).to_bytes(8)
    aad = b"strongroom/v1/pending" + head[4:5] + ids.id_bytes(INSTALLATION) + head[5:]
    subkey = kdf.hkdf(KEYS[key_id], salt=b"", info=b"strongroom/v1/pending")
    changes = {"changes": {REDIS: value, "gateway.timeout": None, "x.y": "plain"}}
    return head + aead.seal(subkey, dumps(changes, UTF_8), aad=aad)


def test_pending_changes_stay_pending() -> None:
    converted = older().converted(
        {"config": document(7), "pending": pending_of(text(b"wanted"), FORMER)}
    )
    found = pending.open_pending(converted["pending"], KEYS.__getitem__, INSTALLATION)
    assert (found.base_version, found.number) == (5, 1)
    assert opened(found.changes[REDIS] or "") == b"wanted"
    assert (found.changes["gateway.timeout"], found.changes["x.y"]) == (None, "plain")
    assert pending.key_id_of_pending(converted["pending"]) == ACTIVE


def test_pending_changes_that_do_not_open_end_the_upgrade_with_a_sentence() -> None:
    entries = {"config": document(7), "pending": pending_of(text(b"wanted"), FORMER)}
    with pytest.raises(StateError, match="the pending changes do not open") as caught:
        older({ACTIVE: KEYS[ACTIVE]}).converted(entries)
    assert "discard them with the release that wrote the node" in caught.value.hint


def test_rotations_are_bound_to_the_present_document() -> None:
    journal = {
        "format": "strongroom-rotation-1",
        "consumer": "redis/one",
        "run": RUN,
        "new": {REDIS: text(b"new")},
        "old": {REDIS: text(b"old")},
        "new_logins": {},
        "old_logins": {},
        "step": "intended",
        "attempts": 2,
        "not_before": "",
        "problem": "x",
    }
    records = {REDIS: {"at": "2026-01-01T00:00:00Z", "run": RUN, "consumer": ""}}
    converted = older().converted(
        {
            "config": document(7),
            rotation.PREFIX + REDIS: dumps(journal),
            rotation.RECORDS: dumps(
                {"format": "strongroom-rotation-records-1", "records": records}
            ),
            rotation.KEPT: rotation.serialize_kept({REDIS: [text(b"kept", FORMER)]}),
        }
    )
    found = RotationJournal.parse(converted[rotation.PREFIX + REDIS])
    assert (found.document, found.attempts, found.problem) == (7, 2, "x")
    assert [opened(one[REDIS]) for one in (found.new, found.old)] == [b"new", b"old"]
    assert rotation.parse_records(converted[rotation.RECORDS])[REDIS].point == (RUN, 7)
    (kept,) = rotation.parse_kept(converted[rotation.KEPT])[REDIS]
    assert opened(kept) == b"kept"


JOURNALS: dict[str, tuple[dict[str, Any], Callable[[bytes], Any]]] = {
    regeneration.JOURNAL: (
        {"step": 3, "alias": "master-key-2", "key_id": RUN, "old_key_id": ACTIVE},
        regeneration.Journal.parse,
    ),
    recovery_journal.JOURNAL: (
        {"rmk_id": RUN, "keystore": True, "v": 1},
        recovery_journal.Journal.parse,
    ),
}


@pytest.mark.parametrize("name", JOURNALS)
def test_journals_of_keys_name_the_present_store(name: str) -> None:
    """Those of 0.1.0 had neither a run nor a scope."""
    members, parse = JOURNALS[name]
    raw = json.loads(STORES.read_text())["good"][0]["store"].encode()
    entries = {
        "config": document(7, **{STORE: text(raw, name=STORE)}),
        name: json.dumps(members, sort_keys=True).encode(),
    }
    found = parse(older().converted(entries)[name])
    assert found.old_key_id == ACTIVE
    assert found.store == Point(any_store.parse(raw).epoch, hashlib.sha256(raw).digest())
    with pytest.raises(FormatError, match="journal of a change of keys is damaged"):
        older().converted({**entries, name: b"{"})


def test_a_database_without_a_configuration_is_left_as_it_is() -> None:
    assert older().converted({"restart": b"1"}) == {"restart": b"1"}
