"""The opened keystore."""

from datetime import UTC, datetime, timedelta

import pytest

from strongroom.crypto import rng
from strongroom.errors import ConflictError, KeystoreError
from strongroom.keystore.master_key import Keystore, new_master_key
from strongroom.keystore.pkcs12 import SecretKeyEntry

_NOW = datetime(2026, 11, 21, 20, 0, 0, tzinfo=UTC)


def test_aliases_are_numbered_and_never_used_twice() -> None:
    assert new_master_key(_NOW).alias == "master-key-1"
    assert (
        new_master_key(_NOW, ["master-key-9", "imported", "master-key-x"]).alias == "master-key-10"
    )


def test_the_newest_is_the_one_created_last_then_the_later_in_the_file() -> None:
    late = SecretKeyEntry("a", rng.new_key(), _NOW + timedelta(seconds=1))
    first, second = (SecretKeyEntry(name, rng.new_key(), _NOW) for name in "bc")
    assert Keystore((late, first, second)).newest == "a"
    assert Keystore((first, second)).newest == "c"
    with pytest.raises(KeystoreError, match="no master key"):
        _ = Keystore(()).newest


def test_a_missing_alias_is_a_keystore_error() -> None:
    with pytest.raises(KeystoreError, match="no master key 'x'") as caught:
        Keystore((new_master_key(_NOW),)).master_key("x")
    assert "backup" in caught.value.hint


def test_adding_twice_is_harmless_and_another_key_is_a_conflict() -> None:
    entry = new_master_key(_NOW)
    keystore = Keystore((entry,))
    assert keystore.with_entry(entry) is keystore
    with pytest.raises(ConflictError, match="another master key"):
        keystore.with_entry(new_master_key(_NOW))


def test_the_last_master_key_stays() -> None:
    one = new_master_key(_NOW)
    two = new_master_key(_NOW, [one.alias])
    keystore = Keystore((one, two)).without(one.alias)
    assert keystore.aliases == (two.alias,)
    assert keystore.without("unknown").aliases == (two.alias,)
    with pytest.raises(ConflictError, match="the last master key"):
        keystore.without(two.alias)


def test_a_further_master_key_is_the_newest_whatever_the_clock_of_another_node_said() -> None:
    """docs/format/configuration-keys.md 4.4."""
    ahead = SecretKeyEntry("a", rng.new_key(), _NOW + timedelta(minutes=5))
    keystore = Keystore((ahead, SecretKeyEntry("b", rng.new_key(), _NOW)))
    later = SecretKeyEntry("c", rng.new_key(), keystore.after(_NOW))
    assert keystore.with_entry(later).newest == "c"
    much_later = _NOW + timedelta(days=1)
    assert keystore.after(much_later) == much_later
