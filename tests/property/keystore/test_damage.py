"""Every damage to keystore files ends in a KeystoreError, never in a key and never in a crash."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strongroom import ids
from strongroom.configuration_keys import records
from strongroom.configuration_keys.records import (
    ConfigurationKeyRecord,
    ConfigurationKeyState,
    KeyWrap,
    WrapKind,
)
from strongroom.crypto import rng
from strongroom.crypto.secret import SecretBytes
from strongroom.errors import KeystoreError
from strongroom.keystore import pkcs12
from strongroom.keystore.pkcs12 import SecretKeyEntry

_NOW = datetime(2026, 11, 21, 20, 0, 0, tzinfo=UTC)
_PASSWORD = SecretBytes(b"a password of the tests")
_ALIASES = st.text(st.characters(categories=["Ll", "Nd"]), min_size=1, max_size=20).filter(
    lambda text: text == text.lower()
)


def _keystore_file() -> bytes:
    entries = [SecretKeyEntry(f"master-key-{n}", rng.new_key(), _NOW) for n in (1, 2)]
    return pkcs12.serialize(entries, _PASSWORD, iterations=1)


def _records_file(installation_id: str) -> bytes:
    wrap = KeyWrap(ids.new_id(), WrapKind.MASTER_KEY, "master-key-1", rng.random_bytes(60))
    record = ConfigurationKeyRecord(ids.new_id(), _NOW, ConfigurationKeyState.ACTIVE, (wrap,))
    return records.serialize(installation_id, [record])


def test_every_flipped_bit_of_a_keystore_is_found() -> None:
    data = _keystore_file()
    for position in range(len(data)):
        for bit in range(8):
            damaged = bytearray(data)
            damaged[position] ^= 1 << bit
            with pytest.raises(KeystoreError):
                pkcs12.parse(bytes(damaged), _PASSWORD)


def test_a_keystore_cut_at_every_length_or_longer_is_found() -> None:
    data = _keystore_file()
    for length in range(len(data)):
        with pytest.raises(KeystoreError):
            pkcs12.parse(data[:length], _PASSWORD)
    with pytest.raises(KeystoreError):
        pkcs12.parse(data + b"\x00", _PASSWORD)


def test_every_flipped_bit_and_every_cut_of_the_records_is_found() -> None:
    installation_id = ids.new_id()
    data = _records_file(installation_id)
    for position in range(len(data)):
        with pytest.raises(KeystoreError):
            records.parse(data[:position], installation_id)
        for bit in range(8):
            damaged = bytearray(data)
            damaged[position] ^= 1 << bit
            with pytest.raises(KeystoreError):
                records.parse(bytes(damaged), installation_id)


@given(st.binary(max_size=600))
def test_foreign_bytes_are_no_keystore(data: bytes) -> None:
    with pytest.raises(KeystoreError):
        pkcs12.parse(data, _PASSWORD)
    with pytest.raises(KeystoreError):
        records.parse(data, ids.new_id())


@given(
    st.lists(_ALIASES, unique=True, max_size=5),
    st.integers(min_value=0, max_value=2**33),
)
def test_every_keystore_comes_back(aliases: list[str], created: int) -> None:
    moment = datetime.fromtimestamp(created, UTC)
    entries = tuple(SecretKeyEntry(alias, rng.new_key(), moment) for alias in aliases)
    assert pkcs12.parse(pkcs12.serialize(entries, _PASSWORD, iterations=1), _PASSWORD) == entries
