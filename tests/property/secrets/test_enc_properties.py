"""ENC values: round trip, tampering, moving, truncation (style rule 37; docs/format/enc.md §3.3, §3.4)."""

import base64

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from strongroom.crypto.secret import SecretBytes
from strongroom.errors import FormatError, IntegrityError
from strongroom.secrets import enc

keys = st.binary(min_size=32, max_size=32).map(SecretBytes)
key_ids = st.uuids().map(str)
names = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,40}", fullmatch=True)
values = st.binary(max_size=300)


@given(keys, key_ids, names, values)
def test_round_trip(key: SecretBytes, key_id: str, name: str, value: bytes) -> None:
    text = enc.seal_value(key, key_id, name, value)
    assert enc.is_enc(text)
    assert enc.key_id_of(text) == key_id
    assert enc.open_value(key, name, text) == value


@given(keys, key_ids, names, values, st.data())
def test_a_flipped_bit(
    key: SecretBytes, key_id: str, name: str, value: bytes, data: st.DataObject
) -> None:
    payload = bytearray(base64.b64decode(enc.seal_value(key, key_id, name, value)[4:-1]))
    bit = data.draw(st.integers(0, len(payload) * 8 - 1))
    payload[bit // 8] ^= 1 << (bit % 8)
    with pytest.raises((IntegrityError, FormatError)):
        enc.open_value(key, name, f"ENC({base64.b64encode(payload).decode()})")


@given(keys, key_ids, names, values, st.data())
def test_a_changed_character(
    key: SecretBytes, key_id: str, name: str, value: bytes, data: st.DataObject
) -> None:
    text = enc.seal_value(key, key_id, name, value)
    place = data.draw(st.integers(0, len(text) - 1))
    other = data.draw(st.characters())
    assume(other != text[place])
    with pytest.raises((IntegrityError, FormatError)):
        enc.open_value(key, name, text[:place] + other + text[place + 1 :])


@given(keys, key_ids, names, names, values)
def test_moved_to_another_name(
    key: SecretBytes, key_id: str, name: str, other: str, value: bytes
) -> None:
    assume(name != other)
    with pytest.raises(IntegrityError):
        enc.open_value(key, other, enc.seal_value(key, key_id, name, value))


@given(keys, key_ids, key_ids, names, values)
def test_moved_to_another_key_id(
    key: SecretBytes, key_id: str, other: str, name: str, value: bytes
) -> None:
    assume(key_id != other)
    payload = bytearray(base64.b64decode(enc.seal_value(key, key_id, name, value)[4:-1]))
    payload[1:17] = bytes.fromhex(other.replace("-", ""))
    text = f"ENC({base64.b64encode(payload).decode()})"
    assert enc.key_id_of(text) == other
    with pytest.raises(IntegrityError):
        enc.open_value(key, name, text)


@given(keys, key_ids, names, values, st.data())
def test_truncated(
    key: SecretBytes, key_id: str, name: str, value: bytes, data: st.DataObject
) -> None:
    text = enc.seal_value(key, key_id, name, value)
    length = data.draw(st.integers(0, len(text) - 6))
    with pytest.raises((IntegrityError, FormatError)):
        enc.open_value(key, name, f"{text[: 4 + length]})")


@given(keys, key_ids, names, values, st.data())
def test_white_space(
    key: SecretBytes, key_id: str, name: str, value: bytes, data: st.DataObject
) -> None:
    text = enc.seal_value(key, key_id, name, value)
    place = data.draw(st.integers(0, len(text)))
    blank = data.draw(st.sampled_from(" \t\r\n\u00a0\u200b"))
    with pytest.raises(FormatError):
        enc.open_value(key, name, text[:place] + blank + text[place:])


@given(st.text(max_size=200))
def test_any_text(text: str) -> None:
    """Whatever is read, it ends in one of our errors."""
    with pytest.raises(FormatError):
        enc.open_value(SecretBytes(bytes(32)), "redis.password", text)
    with pytest.raises(FormatError):
        enc.key_id_of(f"ENC({text})")
