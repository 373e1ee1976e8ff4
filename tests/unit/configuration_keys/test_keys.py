"""Configuration keys and their records (C-03, format/configuration-keys.md)."""

import hashlib
import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from strongroom import ids
from strongroom.canonical import ASCII, ASCII_LINE, dumps
from strongroom.configuration_keys import generations
from strongroom.configuration_keys import records as key_records
from strongroom.configuration_keys.generations import Floors, KeyRecords
from strongroom.configuration_keys.keys import ConfigurationKeys
from strongroom.configuration_keys.record_files import FILE_NAME
from strongroom.configuration_keys.records import (
    ConfigurationKeyRecord,
    ConfigurationKeyState,
    KeyWrap,
    WrapKind,
)
from strongroom.crypto import aead, rng
from strongroom.crypto.secret import SecretBytes
from strongroom.errors import (
    ConflictError,
    IntegrityError,
    KeyNotFoundError,
    KeystoreError,
    StateError,
)
from strongroom.keystore.master_key import Keystore, new_master_key
from strongroom.keystore.replicas import KeystoreDirectory

_NOW = datetime(2026, 11, 21, 20, 0, 0, tzinfo=UTC)
_INSTALLATION = ids.new_id()


@pytest.fixture
def directory(tmp_path: Path) -> KeystoreDirectory:
    directory = KeystoreDirectory([tmp_path / "one", tmp_path / "two"], tmp_path / "k" / "password")
    directory.create(new_master_key(_NOW))
    return directory


@pytest.fixture
def keys(directory: KeystoreDirectory) -> ConfigurationKeys:
    return ConfigurationKeys(directory, directory.load(), _INSTALLATION)


def _new(keys: ConfigurationKeys, key: SecretBytes | None = None) -> ConfigurationKeyRecord:
    return keys.wrapping.new_record(
        key or rng.new_key(), key_id=ids.new_id(), created_at=_NOW, alias="master-key-1"
    )


def _reopened(directory: KeystoreDirectory, coming: str = "") -> ConfigurationKeys:
    return ConfigurationKeys(directory, directory.load(), _INSTALLATION, coming=lambda _: coming)


def _exchange(keys: ConfigurationKeys, record: ConfigurationKeyRecord) -> None:
    """As a regeneration does."""
    keys.add_next(record)
    keys.settle(record.id)


def test_a_key_comes_back_from_every_replica(
    keys: ConfigurationKeys, directory: KeystoreDirectory
) -> None:
    key = rng.new_key()
    record = _new(keys, key)
    keys.create(record)
    assert _reopened(directory).open(record.id) == key
    contents = {(folder / FILE_NAME).read_bytes() for folder in directory.folders}
    assert len(contents) == 1
    assert key.reveal() not in contents.pop()
    assert keys.used_aliases == {"master-key-1"}


def test_the_first_record_is_never_replaced(keys: ConfigurationKeys) -> None:
    keys.create(_new(keys))
    with pytest.raises(ConflictError, match="never replaced"):
        keys.create(_new(keys))


def test_records_are_added_once(keys: ConfigurationKeys, directory: KeystoreDirectory) -> None:
    keys.create(_new(keys))
    second = _new(keys)
    keys.add_next(second)
    before = keys.path.read_bytes()
    keys.add_next(second)
    assert keys.path.read_bytes() == before
    assert len(_reopened(directory).records) == 2
    with pytest.raises(ConflictError, match="another configuration key"):
        keys.add_next(second._replace(wraps=_new(keys).wraps))
    with pytest.raises(StateError, match="a regeneration is under way"):
        keys.add_next(_new(keys))


def test_exactly_one_key_is_active(keys: ConfigurationKeys, directory: KeystoreDirectory) -> None:
    first, second = _new(keys), _new(keys)
    keys.create(first)
    assert keys.present.active == first.id
    keys.add_next(second)
    assert (keys.present.active, keys.present.next) == (first.id, second.id)
    with pytest.raises(StateError, match="a regeneration is under way"):
        keys.remove(second.id)
    with pytest.raises(StateError, match="neither active nor the next one"):
        keys.settle(ids.new_id())
    for _ in range(2):
        keys.settle(second.id)
        found = _reopened(directory)
        assert (found.present.active, found.present.next) == (second.id, None)
        assert found.present.generation == 3
        states = {record.id: record.state for record in found.records}
        assert [key for key, state in states.items() if state == "active"] == [second.id]


def test_a_regeneration_that_is_given_up_leaves_its_key_to_decrypt(
    keys: ConfigurationKeys,
) -> None:
    first, second = _new(keys), _new(keys)
    keys.create(first)
    keys.add_next(second)
    keys.settle(first.id)
    assert (keys.present.active, keys.present.next) == (first.id, None)
    assert keys.present.ids == (first.id, second.id)


def test_records_under_an_older_master_key_need_a_regeneration(
    keys: ConfigurationKeys, directory: KeystoreDirectory
) -> None:
    """format/configuration-keys.md 4.4"""
    keys.create(_new(keys))
    directory.add_alias("master-key-2", rng.new_key(), created_at=_NOW)
    with pytest.raises(IntegrityError, match="'master-key-2' is newer"):
        _reopened(directory).load()
    assert _reopened(directory, coming="master-key-2").load()
    same = _reopened(directory, coming="master-key-2")
    before = same.path.read_bytes()
    same.settle(same.present.active)
    assert same.path.read_bytes() == before, "one generation has one document"


def test_records_of_format_1_are_upgraded_once(
    keys: ConfigurationKeys, directory: KeystoreDirectory
) -> None:
    """format/format-2.md 11: wraps are made anew, and an unfinished regeneration stays one."""
    made = {ids.new_id(): rng.new_key() for _ in range(2)}
    active, coming = made
    old = [_old_record(directory, key_id, key) for key_id, key in made.items()]
    data = key_records.serialize(_INSTALLATION, old)
    directory.spread(FILE_NAME, data, lambda _: None)
    keys.upgrade(active, coming)
    written = keys.path.read_bytes()
    keys.upgrade(active, coming)
    assert keys.path.read_bytes() == written
    found = _reopened(directory)
    assert (found.present.active, found.present.next) == (active, coming)
    assert (found.present.generation, found.present.floors) == (1, Floors())
    assert {key_id: found.open(key_id) for key_id in made} == made
    assert generations.is_older(written)
    found.raise_floors()
    found.raise_floors()
    assert (found.present.generation, found.present.floors) == (2, generations.TARGET)
    assert not generations.is_older(found.path.read_bytes())


def _old_record(
    directory: KeystoreDirectory, key_id: str, key: SecretBytes
) -> ConfigurationKeyRecord:
    wrap_id, entry = ids.new_id(), directory.load().entries[0]
    aad = key_records.wrap_aad(_INSTALLATION, key_id, wrap_id)
    wrapped = aead.wrap(key, kek=key_records.wrap_key(entry.key), aad=aad)
    wrap = KeyWrap(wrap_id, WrapKind.MASTER_KEY, entry.alias, wrapped)
    return ConfigurationKeyRecord(key_id, _NOW, ConfigurationKeyState.DECRYPT_ONLY, (wrap,))


def test_rewrapping_lets_the_old_master_key_go(
    keys: ConfigurationKeys, directory: KeystoreDirectory
) -> None:
    """Order of regenerate-internal-tokens, steps 1, 2 and 6."""
    key = rng.new_key()
    record = _new(keys, key)
    recipient = KeyWrap(ids.new_id(), WrapKind.RECIPIENT, "master-key-1", b"anything")
    keys.create(record._replace(wraps=(*record.wraps, recipient)))
    directory.add_alias("master-key-2", rng.new_key(), created_at=_NOW)
    keys = _reopened(directory, coming="master-key-2")
    keys.rewrap("master-key-2")
    before = keys.path.read_bytes()
    keys.rewrap("master-key-2")
    assert keys.path.read_bytes() == before
    assert keys.used_aliases == {"master-key-2"}
    assert recipient in keys.get(record.id).wraps
    directory.remove_alias("master-key-1")
    reopened = _reopened(directory)
    reopened.verify()
    assert reopened.open(record.id) == key


def test_removing_spares_the_active_key(keys: ConfigurationKeys) -> None:
    first, second = _new(keys), _new(keys)
    keys.create(first)
    _exchange(keys, second)
    with pytest.raises(ConflictError, match="is the active configuration key"):
        keys.remove(second.id)
    keys.remove(first.id)
    keys.remove(first.id)
    assert [record.id for record in keys.records] == [second.id]


def test_an_unknown_key_and_a_lost_master_key_are_told_apart(
    keys: ConfigurationKeys, directory: KeystoreDirectory
) -> None:
    record = _new(keys)
    keys.create(record)
    with pytest.raises(KeyNotFoundError, match="there is no configuration key"):
        keys.open(ids.new_id())
    other = ConfigurationKeys(directory, Keystore((new_master_key(_NOW),)), _INSTALLATION)
    with pytest.raises(KeystoreError, match="no master key of the keystore authenticates"):
        other.open(record.id)


def test_a_wrap_moved_to_another_key_does_not_open(
    keys: ConfigurationKeys, directory: KeystoreDirectory
) -> None:
    """format/configuration-keys.md §2."""
    first, second = _new(keys), _new(keys)
    moved = KeyRecords(_INSTALLATION, first.id, (first._replace(wraps=second.wraps),))
    directory.spread(FILE_NAME, generations.serialize(moved, directory.load()), lambda _: None)
    with pytest.raises(KeystoreError, match="no master key of the keystore opens"):
        keys.open(first.id)
    with pytest.raises(KeystoreError, match="does not open the configuration key"):
        keys.verify()
    with pytest.raises(KeystoreError, match="no replica of the configuration-key records"):
        keys.repair()


def test_what_does_not_open_again_is_not_reported_as_written(keys: ConfigurationKeys) -> None:
    first, second = _new(keys), _new(keys)
    with pytest.raises(KeystoreError, match=r"a wrap of .* does not open"):
        keys.create(first._replace(wraps=second.wraps))


@pytest.mark.parametrize("damage", ["changed", "missing"])
def test_a_damaged_primary_is_told_and_repaired(keys: ConfigurationKeys, damage: str) -> None:
    keys.create(_new(keys))
    data = keys.path.read_bytes()
    if damage == "missing":
        keys.path.unlink()
    else:
        keys.path.write_bytes(data.replace(b"master-key-1", b"master-key-7"))
    with pytest.raises(KeystoreError) as caught:
        keys.load()
    assert "tsm security keystore repair" in caught.value.hint
    assert keys.repair() == [keys.path]
    assert keys.path.read_bytes() == data
    assert keys.repair() == []


def test_repair_takes_the_replica_of_the_latest_generation(
    keys: ConfigurationKeys, directory: KeystoreDirectory, tmp_path: Path
) -> None:
    three = KeystoreDirectory([*directory.folders, tmp_path / "three"], directory.password_file)
    three.replicate()
    keys = _reopened(three)
    keys.create(_new(keys))
    old = keys.path.read_bytes()
    keys.add_next(_new(keys))
    newer = keys.path.read_bytes()
    keys.path.write_bytes(b"{}")
    (three.folders[1] / FILE_NAME).write_bytes(old)
    assert keys.repair() == [three.folders[0] / FILE_NAME, three.folders[1] / FILE_NAME]
    assert keys.path.read_bytes() == newer


def test_records_of_another_installation_are_refused(
    keys: ConfigurationKeys, directory: KeystoreDirectory
) -> None:
    keys.create(_new(keys))
    with pytest.raises(KeystoreError, match="another installation"):
        ConfigurationKeys(directory, directory.load(), ids.new_id()).load()


def _document(**changes: object) -> bytes:
    wrap = KeyWrap(ids.new_id(), WrapKind.MASTER_KEY, "master-key-1", b"x" * 60)
    record = ConfigurationKeyRecord(ids.new_id(), _NOW, ConfigurationKeyState.ACTIVE, (wrap,))
    fields = json.loads(key_records.serialize(_INSTALLATION, [record]))
    del fields["checksum"]
    for path, value in changes.items():
        target = fields
        *way, last = path.split("__")
        for step in way:
            target = target[step][0]
        target[last] = value
    fields["checksum"] = hashlib.sha256(dumps(fields, ASCII)).hexdigest()
    return dumps(fields, ASCII_LINE)


def test_a_document_made_by_this_test_is_read() -> None:
    assert len(key_records.parse(_document(), _INSTALLATION)) == 1


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        pytest.param(
            {"format": 2}, "version that is not known here: known here is 1", id="version"
        ),
        pytest.param({"more": 1}, "missing or not known", id="unknown-field"),
        pytest.param({"keys": 5}, "'keys' is no list", id="no-list"),
        pytest.param({"keys": [5]}, "in the place of an object", id="no-objects"),
        pytest.param({"keys__id": "5"}, "'id' is no id", id="id"),
        pytest.param({"keys__id": 5}, "'id' is no id", id="id-number"),
        pytest.param({"keys__state": "lost"}, "'state' is none of the values", id="state"),
        pytest.param({"keys__created_at": "today"}, "'created_at' is no time", id="time"),
        pytest.param({"keys__extra": 1}, "missing or not known", id="record-field"),
        pytest.param({"keys__wraps": []}, "too few or too many", id="no-wraps"),
        pytest.param({"keys__wraps__name": ""}, "names nobody", id="no-name"),
        pytest.param({"keys__wraps__name": 5}, "'name' is no text", id="name-number"),
        pytest.param({"keys__wraps__kind": "x"}, "'kind' is none of the values", id="kind"),
        pytest.param(
            {"keys__wraps__wrapped": "?"}, "'wrapped' is no canonical base64", id="base64"
        ),
    ],
)
def test_a_document_outside_the_format_is_refused(changes: dict[str, object], why: str) -> None:
    """format/configuration-keys.md §1; the checksum fits each time."""
    with pytest.raises(KeystoreError, match=why):
        key_records.parse(_document(**changes), _INSTALLATION)


@pytest.mark.parametrize("data", [b"[]", b"{}", b"5", b"\xff", b"", b"[" * 100_000])
def test_other_json_is_no_document(data: bytes) -> None:
    with pytest.raises(KeystoreError):
        key_records.parse(data, _INSTALLATION)


def test_a_document_that_is_too_large_or_not_canonical_is_refused() -> None:
    with pytest.raises(KeystoreError, match="more than 1048576"):
        key_records.parse(bytes(key_records.MAX_BYTES + 1), _INSTALLATION)
    with pytest.raises(KeystoreError, match="canonical"):
        key_records.parse(_document() + b" ", _INSTALLATION)


def test_ids_stand_once_and_one_key_is_active(keys: ConfigurationKeys) -> None:
    active = ConfigurationKeyState.ACTIVE
    one, two = (_new(keys)._replace(state=active) for _ in range(2))
    for records, why in (((one, one), "stands twice"), ((one, two), "more than one key is active")):
        with pytest.raises(KeystoreError, match=why):
            key_records.parse(key_records.serialize(_INSTALLATION, records), _INSTALLATION)
