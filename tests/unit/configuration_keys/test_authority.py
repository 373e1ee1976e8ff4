"""Where the keys of entries are from: keystore and records as they are now (docs/format/entries.md 2.2)."""

import hashlib
from datetime import UTC, datetime
from pathlib import Path

import pytest

from strongroom.configuration_keys import records as key_records
from strongroom.configuration_keys.authority import RecordsAuthority
from strongroom.configuration_keys.keys import ConfigurationKeys
from strongroom.configuration_keys.record_files import FILE_NAME
from strongroom.coordination.entries import EntryKey, EntryKeys
from strongroom.crypto import rng
from strongroom.errors import IntegrityError, KeystoreError
from strongroom.ids import new_id
from strongroom.keystore.master_key import new_master_key
from strongroom.keystore.replicas import FILE_NAME as KEYSTORE
from strongroom.keystore.replicas import KeystoreDirectory

NOW = datetime(2026, 11, 21, 20, 0, 0, tzinfo=UTC)
INSTALLATION = new_id()
KEY = rng.new_key()


@pytest.fixture
def directory(tmp_path: Path) -> KeystoreDirectory:
    made = KeystoreDirectory(
        [tmp_path / "one", tmp_path / "two", tmp_path / "three"], tmp_path / "pw" / "password"
    )
    made.create(new_master_key(NOW))
    return made


@pytest.fixture
def keys(directory: KeystoreDirectory) -> ConfigurationKeys:
    made = ConfigurationKeys(directory, directory.load(), INSTALLATION)
    made.create(
        made.wrapping.new_record(KEY, key_id=new_id(), created_at=NOW, alias="master-key-1")
    )
    return made


def authority(directory: KeystoreDirectory, coming: str = "") -> RecordsAuthority:
    return RecordsAuthority(directory, lambda _: coming)


def test_the_keys_are_those_of_the_records(
    directory: KeystoreDirectory, keys: ConfigurationKeys
) -> None:
    found = authority(directory)
    digest = hashlib.sha256((directory.folders[0] / FILE_NAME).read_bytes()).digest()
    expected = EntryKeys(INSTALLATION, 1, EntryKey(keys.present.active, KEY), digest=digest)
    assert found.present() == found.present() == expected
    other = rng.new_key()
    keys.add_next(
        keys.wrapping.new_record(other, key_id=new_id(), created_at=NOW, alias="master-key-1")
    )
    later = found.present()
    assert (later.generation, later.next) == (2, EntryKey(keys.present.next or "", other))


def test_they_are_read_once_as_long_as_the_records_are_the_same(
    directory: KeystoreDirectory, keys: ConfigurationKeys, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = authority(directory)
    first = found.present()
    monkeypatch.setattr(directory, "load", lambda: pytest.fail("read again"))
    assert found.present() is first


@pytest.mark.parametrize("name", [FILE_NAME, KEYSTORE])
def test_another_folder_helps_out(
    directory: KeystoreDirectory, keys: ConfigurationKeys, name: str
) -> None:
    """findings B4: a damaged file is repaired while the node works."""
    (directory.folders[0] / name).write_bytes(b"damaged")
    (directory.folders[1] / (FILE_NAME if name == KEYSTORE else KEYSTORE)).unlink()
    assert authority(directory).present().active.key == KEY


def test_an_older_pair_in_the_first_folder_gives_way_to_newer_records(
    directory: KeystoreDirectory, keys: ConfigurationKeys
) -> None:
    """findings K7: an older pair of one folder proves itself, and not what is stored; asked again, the newest count."""
    older = {name: (directory.folders[0] / name).read_bytes() for name in (KEYSTORE, FILE_NAME)}
    keys.add_next(
        keys.wrapping.new_record(
            rng.new_key(), key_id=new_id(), created_at=NOW, alias="master-key-1"
        )
    )
    for name, data in older.items():
        (directory.folders[0] / name).write_bytes(data)
    found = authority(directory)
    assert found.present().generation == 1
    found.renew()
    assert found.present().generation == 2
    for folder in directory.folders:
        (folder / FILE_NAME).write_bytes(b"damaged")
    found.renew()
    assert found.present().generation == 2, "it goes on with what it knows"


def test_a_process_goes_on_with_what_it_knows(
    directory: KeystoreDirectory, keys: ConfigurationKeys
) -> None:
    found = authority(directory)
    known = found.present()
    for folder in directory.folders:
        (folder / FILE_NAME).unlink()
    assert found.present() == known
    with pytest.raises(KeystoreError, match="is missing"):
        authority(directory).present()


def test_a_recovery_gives_keys_where_there_are_none(
    directory: KeystoreDirectory, keys: ConfigurationKeys
) -> None:
    given = EntryKeys(INSTALLATION, 9, EntryKey(new_id(), rng.new_key()))
    found = authority(directory)
    found.adopt(given)
    assert found.present().active.key == KEY, "the files count as long as they can be used"
    found = authority(directory)
    found.adopt(given)
    for folder in directory.folders:
        (folder / KEYSTORE).unlink()
    assert found.present() == given


def test_records_without_a_mac_are_refused(
    directory: KeystoreDirectory, keys: ConfigurationKeys
) -> None:
    """configuration-keys.md 4.5: taking the MAC off does not lead back to format 1."""
    older = key_records.serialize(INSTALLATION, keys.records)
    directory.spread(FILE_NAME, older, lambda _: None)
    with pytest.raises(IntegrityError, match="an older file was put back"):
        authority(directory).present()


def test_records_of_before_a_regeneration_are_refused(
    directory: KeystoreDirectory, keys: ConfigurationKeys
) -> None:
    """configuration-keys.md 4.4"""
    directory.add_alias("master-key-2", rng.new_key(), created_at=NOW)
    with pytest.raises(IntegrityError, match="'master-key-2' is newer"):
        authority(directory).present()
    assert authority(directory, "master-key-2").present().active.key == KEY


def test_a_key_that_no_master_key_opens_is_none(
    directory: KeystoreDirectory, keys: ConfigurationKeys
) -> None:
    (record,) = keys.records
    bare = record._replace(wraps=(record.wraps[0]._replace(name="master-key-9"),))
    keys.restore(keys.present.replaced((bare,), record.id))
    with pytest.raises(KeystoreError, match=f"opens the configuration key {record.id}"):
        authority(directory).present()
