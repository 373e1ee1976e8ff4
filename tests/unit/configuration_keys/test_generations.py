"""Configuration-key records of format 2: docs/format/configuration-keys.md 4; issue 10, part B; review X4 (b), (d)."""

import base64
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from strongroom.canonical import ASCII_LINE, dumps
from strongroom.configuration_keys import generations
from strongroom.configuration_keys import records as key_records
from strongroom.configuration_keys.generations import Floors, KeyRecords
from strongroom.configuration_keys.records import (
    ConfigurationKeyRecord,
    ConfigurationKeyState,
    KeyWrap,
    WrapKind,
)
from strongroom.crypto import rng
from strongroom.crypto.secret import SecretBytes
from strongroom.errors import FormatError, IntegrityError, KeystoreError, StateError
from strongroom.ids import new_id
from strongroom.keystore.master_key import Keystore, new_master_key

NOW = datetime(2026, 11, 21, 20, 0, 0, tzinfo=UTC)
INSTALLATION = new_id()
FIRST = new_master_key(NOW)
SECOND = new_master_key(NOW + timedelta(days=1), [FIRST.alias])
KEYSTORE = Keystore((FIRST,))
BOTH = Keystore((FIRST, SECOND))


def record(key: SecretBytes | None = None) -> ConfigurationKeyRecord:
    key_id = new_id()
    wrap = generations.wrap_key(INSTALLATION, key_id, key or rng.new_key(), FIRST.alias, FIRST.key)
    return ConfigurationKeyRecord(key_id, NOW, ConfigurationKeyState.DECRYPT_ONLY, (wrap,))


def first() -> KeyRecords:
    one = record()._replace(state=ConfigurationKeyState.ACTIVE)
    return KeyRecords(INSTALLATION, one.id, (one,))


def test_records_come_back_from_their_bytes() -> None:
    records = first().with_next(record()).with_floors(entries=2, kms=2)
    raw = generations.serialize(records, KEYSTORE)
    found = generations.read(raw, INSTALLATION, KEYSTORE)
    assert found.present == records
    assert (found.format, found.alias) == (2, FIRST.alias)
    assert generations.serialize(found.present, KEYSTORE) == raw
    assert b"state" not in raw


def test_both_formats_are_read() -> None:
    old = record()._replace(state=ConfigurationKeyState.ACTIVE)
    raw = key_records.serialize(INSTALLATION, [old])
    found = generations.read(raw, INSTALLATION, KEYSTORE)
    assert found.present == KeyRecords(INSTALLATION, old.id, (old,), generation=0)
    assert (found.format, found.alias, found.present.floors) == (1, "", Floors())
    idle = key_records.serialize(INSTALLATION, [record()])
    assert generations.read(idle, INSTALLATION, KEYSTORE).present.active == ""
    with pytest.raises(KeystoreError, match="checksum"):
        generations.read(raw.replace(b'"active"', b'"decrypt-only"'), INSTALLATION, KEYSTORE)


def test_a_reader_of_format_1_refuses_format_2() -> None:
    """Issue 10, part I: by a sentence."""
    with pytest.raises(KeystoreError, match="version that is not known here"):
        key_records.parse(generations.serialize(first(), KEYSTORE), INSTALLATION)


def changed(raw: bytes, **members: object) -> bytes:
    return dumps({**json.loads(raw), **members}, ASCII_LINE)


def test_no_member_can_be_changed_without_a_master_key() -> None:
    """review X4 (b): the state had a checksum only, which everybody can make."""
    records = first().with_next(record())
    raw = generations.serialize(records, KEYSTORE)
    members: dict[str, Any] = json.loads(raw)
    keys = members["keys"]
    forged: list[dict[str, object]] = [
        {"active": keys[1]["id"], "next": None},
        {"next": None},
        {"generation": 9},
        {"floors": {**members["floors"], "entries": 2}},
        {"keys": [keys[0], {**keys[1], "created_at": "2020-01-01T00:00:00Z"}]},
        {"mac": base64.b64encode(bytes(32)).decode()},
        {"mac": ""},
    ]
    for change in forged:
        with pytest.raises(KeystoreError, match="no master key of the keystore authenticates"):
            generations.read(changed(raw, **change), INSTALLATION, KEYSTORE)


UNKNOWN = (
    "00000000-0000-4000-8000-000000000000"  # the same in every process that collects the cases
)


@pytest.mark.parametrize(
    "change",
    [
        {"format": 3},
        {"active": "nobody"},
        {"active": UNKNOWN},
        {"next": UNKNOWN},
        {"generation": 0},
        {"checksum": "0"},
        {"installation_id": UNKNOWN},
        {"floors": {"entries": 1, "kms": 1, "records": 1}},
        {"floors": {"entries": 0, "kms": 1, "records": 1, "recipients": 1}},
        {"floors": {"entries": 3, "kms": 1, "records": 1, "recipients": 1}},
        {"keys": []},
        {"keys": [{}]},
    ],
    ids=str,
)
def test_what_breaks_a_rule_is_refused(change: dict[str, object]) -> None:
    raw = generations.serialize(first(), KEYSTORE)
    with pytest.raises(KeystoreError):
        generations.read(changed(raw, **change), INSTALLATION, KEYSTORE)


def test_the_next_key_is_not_the_active_one() -> None:
    records = first()
    with pytest.raises(FormatError, match="is the active one"):
        generations.serialize(records._replace(next=records.active), KEYSTORE)
    with pytest.raises(FormatError, match="no record"):
        records.with_records((record(),))


def test_every_change_is_a_generation() -> None:
    records = first()
    other = record()
    begun = records.with_next(other)
    assert (begun.generation, begun.next, begun.active) == (2, other.id, records.active)
    with pytest.raises(StateError, match="under way"):
        begun.with_next(record())
    with pytest.raises(StateError, match="under way"):
        begun.with_records(begun.records[:1])
    ended = begun.settled(other.id)
    assert (ended.generation, ended.next, ended.active) == (3, None, other.id)
    assert [one.state.value for one in ended.records] == ["decrypt-only", "active"]
    assert ended.settled(other.id) is ended
    with pytest.raises(StateError, match="neither active nor the next one"):
        ended.settled(records.active)
    given_up = begun.settled(records.active)
    assert (given_up.generation, given_up.next, len(given_up.records)) == (3, None, 2)
    assert ended.with_records((ended.records[1],)).generation == 4
    assert ended.with_records(ended.records) is ended
    assert ended.with_floors(entries=1) is ended


def test_a_floor_never_sinks() -> None:
    """4.5"""
    records = first().with_floors(entries=2, records=2)
    assert records.floors == Floors(2, 1, 2, 1)
    with pytest.raises(StateError, match="never sinks"):
        records.with_floors(entries=1)
    records.floors.check("entries", 2)
    records.floors.check("kms", 1)
    with pytest.raises(IntegrityError, match="entries of format 1 are refused"):
        records.floors.check("entries", 1)


def test_the_newest_master_key_authenticates() -> None:
    """4.4: an older one only while a regeneration is under way."""
    old = generations.read(generations.serialize(first(), KEYSTORE), INSTALLATION, BOTH)
    assert old.alias == FIRST.alias
    generations.check_alias(old, BOTH, coming=SECOND.alias)
    with pytest.raises(IntegrityError, match=f"{SECOND.alias!r} is newer"):
        generations.check_alias(old, BOTH)
    new = generations.read(generations.serialize(first(), BOTH), INSTALLATION, BOTH)
    assert new.alias == SECOND.alias
    generations.check_alias(new, BOTH)
    generations.check_alias(old._replace(alias=""), BOTH)
    with pytest.raises(KeystoreError, match="no master key"):
        generations.read(
            generations.serialize(first(), Keystore((SECOND,))), INSTALLATION, KEYSTORE
        )


def test_the_same_keys_under_a_later_generation() -> None:
    """docs/format/key-changes.md 4.8: what an attempt of a regeneration begins with."""
    settled, coming = first(), record()
    under_way = settled.with_next(coming)
    begun = settled.advanced(2049, settled.active, new_id())
    assert begun == settled._replace(generation=2049)
    assert generations.serialize(begun, KEYSTORE)
    # the put was not made, and it was
    kept = under_way.advanced(2050, settled.active, coming.id)
    assert kept == under_way._replace(generation=2050)
    put = under_way.advanced(2050, coming.id, coming.id)
    assert (put.active, put.next, put.ids) == (coming.id, None, under_way.ids)
    # the next key of an attempt that was given up goes
    dropped = under_way.advanced(2050, settled.active, new_id())
    assert (dropped.next, dropped.records) == (None, settled.records)
    with pytest.raises(StateError, match="not above"):
        settled.advanced(1, settled.active, coming.id)
    with pytest.raises(StateError, match="neither active"):
        settled.advanced(2049, coming.id, coming.id)


def test_the_keys_of_entries_are_those_of_the_records() -> None:
    keys = {name: rng.new_key() for name in ("active", "next")}
    one, other = record(keys["active"]), record(keys["next"])
    by_id = {one.id: keys["active"], other.id: keys["next"]}
    records = KeyRecords(INSTALLATION, one.id, (one,))
    found = records.entry_keys(by_id.__getitem__)
    assert (found.generation, found.active.id, found.next) == (1, one.id, None)
    found = records.with_next(other).entry_keys(by_id.__getitem__)
    assert found.next
    assert (found.generation, found.next.id, found.next.key) == (2, other.id, keys["next"])


def test_wraps_of_format_2() -> None:
    """4.6"""
    key, key_id = rng.new_key(), new_id()
    wrap = generations.wrap_key(INSTALLATION, key_id, key, FIRST.alias, FIRST.key)
    assert (wrap.kind, wrap.name) == (WrapKind.MASTER_KEY, FIRST.alias)
    assert generations.open_wrap(INSTALLATION, key_id, wrap, FIRST.key) == key
    moved: list[tuple[str, str, KeyWrap, SecretBytes]] = [
        (new_id(), key_id, wrap, FIRST.key),
        (INSTALLATION, new_id(), wrap, FIRST.key),
        (INSTALLATION, key_id, wrap._replace(id=new_id()), FIRST.key),
        (INSTALLATION, key_id, wrap, SECOND.key),
    ]
    for given in moved:
        with pytest.raises(IntegrityError, match="another key, or for another place"):
            generations.open_wrap(*given)
