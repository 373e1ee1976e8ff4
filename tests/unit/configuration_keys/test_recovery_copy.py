"""Configuration keys for recovery recipients: their wraps, the copy that outlives the keystore, what differs."""

from pathlib import Path

import pytest

from strongroom import ids
from strongroom.clock import SystemClock
from strongroom.configuration_keys import records as key_records
from strongroom.configuration_keys import recovery_copy
from strongroom.configuration_keys.keys import ConfigurationKeys
from strongroom.configuration_keys.record_files import FILE_NAME
from strongroom.configuration_keys.records import ConfigurationKeyRecord, WrapKind
from strongroom.crypto import age, rng
from strongroom.crypto.secret import SecretBytes
from strongroom.errors import StorageError
from strongroom.keystore.master_key import new_master_key
from strongroom.keystore.replicas import KeystoreDirectory

_NOW = SystemClock().now()
_INSTALLATION = ids.new_id()
ALIAS = "master-key-1"


@pytest.fixture
def directory(tmp_path: Path) -> KeystoreDirectory:
    made = KeystoreDirectory([tmp_path / "one", tmp_path / "two"], tmp_path / "pw" / "password")
    made.create(new_master_key(_NOW))
    return made


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    return tmp_path / "recovery" / FILE_NAME


@pytest.fixture
def keys(directory: KeystoreDirectory, copy: Path) -> ConfigurationKeys:
    made = ConfigurationKeys(directory, directory.load(), _INSTALLATION, copy)
    made.create(_new(made, rng.new_key()))
    return made


def exchange(keys: ConfigurationKeys, record: ConfigurationKeyRecord) -> None:
    """As a regeneration does."""
    keys.add_next(record)
    keys.settle(record.id)


def _new(keys: ConfigurationKeys, key: SecretBytes) -> ConfigurationKeyRecord:
    return keys.wrapping.new_record(key, key_id=ids.new_id(), created_at=_NOW, alias=ALIAS)


def test_every_key_is_wrapped_for_every_recipient_and_the_copy_opens(
    keys: ConfigurationKeys, copy: Path
) -> None:
    one, two = age.new_identity(), age.new_identity()
    exchange(keys, _new(keys, rng.new_key()))
    assert not copy.exists()
    assert keys.set_recipients((one.recipient, two.recipient))
    assert not keys.set_recipients((one.recipient, two.recipient))
    assert copy.stat().st_mode & 0o777 == 0o600
    found = recovery_copy.collect([copy], _INSTALLATION)
    assert found
    assert found == keys.present._replace(records=found.records)
    assert len(found.records) == 2
    for record in found.records:
        assert record.of_kind(WrapKind.MASTER_KEY) == ()
        for identity in (one, two):
            opened = recovery_copy.open_by(record, (identity,), _INSTALLATION)
            assert opened == keys.open(record.id)
        assert recovery_copy.open_by(record, (age.new_identity(),), _INSTALLATION) is None
        assert recovery_copy.open_by(record, (one,), ids.new_id()) is None


def test_a_wrap_that_is_there_stays_as_it_is(keys: ConfigurationKeys) -> None:
    one, two = (age.new_identity().recipient for _ in range(2))
    keys.set_recipients((one,))
    before = recovery_copy.recipients_in(keys.load())
    keys.set_recipients((one, two))
    assert recovery_copy.recipients_in(keys.load())[:1] == before
    keys.set_recipients((two,))
    assert [wrap.name for wrap in recovery_copy.recipients_in(keys.load())] == [two]


def test_without_recipients_there_is_no_copy(keys: ConfigurationKeys, copy: Path) -> None:
    keys.set_recipients((age.new_identity().recipient,))
    assert copy.exists()
    keys.set_recipients(())
    assert not copy.exists()
    assert keys.drift(()) == ()


def test_every_change_keeps_the_copy_current(
    keys: ConfigurationKeys, directory: KeystoreDirectory, copy: Path
) -> None:
    """M1: a rotation calls nobody in."""
    identity = age.new_identity()
    keys.set_recipients((identity.recipient,))
    key = rng.new_key()
    record = keys.wrapping.for_recipients(_new(keys, key), key, (identity.recipient,))
    keys.add_next(record)
    assert keys.drift((identity.recipient,)) == ()
    keys.settle(record.id)
    directory.add_alias("master-key-2", rng.new_key(), created_at=_NOW)
    coming = ConfigurationKeys(
        directory, directory.load(), _INSTALLATION, copy, lambda _: "master-key-2"
    )
    assert coming.drift((identity.recipient,)) == (), (
        "the copy is under the same key as the records"
    )
    again = coming
    again.rewrap("master-key-2")
    again.remove(next(item.id for item in again.records if item.id != record.id))
    assert again.drift((identity.recipient,)) == ()
    found = recovery_copy.collect([copy], _INSTALLATION)
    assert found
    (kept,) = found.records
    assert kept.state == "active"
    assert recovery_copy.open_by(kept, (identity,), _INSTALLATION) == key


def test_what_differs_is_told_and_repaired(keys: ConfigurationKeys, copy: Path) -> None:
    one, two = (age.new_identity().recipient for _ in range(2))
    keys.set_recipients((one,))
    told = {drift.recipient: drift.problem for drift in keys.drift((two,))}
    assert "is not wrapped for it" in told[two]
    assert "the RMK is not" in told[one]
    copy.write_bytes(b"{}")
    assert "out of date" in keys.drift((one,))[0].problem
    copy.unlink()
    assert "missing" in keys.drift((one,))[0].problem
    assert keys.repair() == [copy]
    assert keys.drift((one,)) == ()
    copy.chmod(0o644)
    assert "out of date" in keys.drift((one,))[0].problem
    assert keys.set_recipients((one,))
    assert copy.stat().st_mode & 0o777 == 0o600


def test_a_copy_that_cannot_be_removed_is_told(keys: ConfigurationKeys, copy: Path) -> None:
    copy.mkdir(parents=True)
    with pytest.raises(StorageError, match="cannot remove"):
        recovery_copy.RecoveryCopy(copy, _INSTALLATION).write(
            keys.present, rng.new_key(), lambda _: None
        )


def test_records_are_collected_from_wherever_they_are(
    keys: ConfigurationKeys, directory: KeystoreDirectory, copy: Path, tmp_path: Path
) -> None:
    identity = age.new_identity()
    keys.set_recipients((identity.recipient,))
    (directory.folders[1] / FILE_NAME).write_bytes(b"damaged")
    files = [tmp_path / "absent", *(folder / FILE_NAME for folder in directory.folders), copy]
    assert recovery_copy.collect(files, _INSTALLATION) == keys.present
    assert recovery_copy.collect(files, ids.new_id()) is None
    old = tmp_path / "old"
    old.write_bytes(key_records.serialize(_INSTALLATION, keys.records))
    old.chmod(0o600)
    assert recovery_copy.collect([old], _INSTALLATION) is None, "format 1 has no MAC"


def test_recovered_records_replace_what_is_there(
    keys: ConfigurationKeys, directory: KeystoreDirectory
) -> None:
    key = rng.new_key()
    record = _new(keys, key)
    keys.restore(keys.present.replaced((record,), record.id))
    again = ConfigurationKeys(directory, directory.load(), _INSTALLATION)
    assert [item.id for item in again.records] == [record.id]
    assert again.open(record.id) == key
