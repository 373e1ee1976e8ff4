"""Key material of Parquet files, and where a footer says that it lies (docs/format/parquet-keys.md 1)."""

import contextlib
import json
import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strongroom.errors import FormatError
from strongroom.service_keys import parquet_material
from strongroom.service_keys.parquet_material import Keeping, Wrapped, keeping, parse


def material(**members: Any) -> dict[str, Any]:
    base = {"keyMaterialType": "PKMT1", "isFooterKey": False, "masterKeyID": "k"}
    return {**base, "wrappedDEK": "vault:v1:AAAA", "doubleWrapping": False, **members}


DOUBLE = material(doubleWrapping=True, keyEncryptionKeyID="id", wrappedKEK="vault:v1:BBBB")


def stored(**entries: dict[str, Any]) -> bytes:
    return json.dumps({name: json.dumps(one) for name, one in entries.items()}).encode()


def test_what_a_master_key_wrapped_is_the_key_itself_or_the_key_between() -> None:
    found = parse(stored(a=material(), b=DOUBLE, c=material()))
    assert found.wrapped == {Wrapped("k", "vault:v1:AAAA"), Wrapped("k", "vault:v1:BBBB")}


def test_only_what_is_wrapped_anew_changes_and_all_else_stays_in_its_order() -> None:
    raw = stored(b={**DOUBLE, "later": [1]}, a=material())
    changed = {Wrapped("k", "vault:v1:BBBB"): Wrapped("n", "vault:v2:CCCC")}
    again = json.loads(parse(raw).with_wrapped(changed).serialize())
    assert list(again) == ["b", "a"]
    assert json.loads(again["a"]) == material()
    expected = {**DOUBLE, "later": [1], "masterKeyID": "n", "wrappedKEK": "vault:v2:CCCC"}
    assert json.loads(again["b"]) == expected
    assert list(json.loads(again["b"])) == list(expected)


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"[]",
        b"{}",
        b"[" * 100_000,
        b'{"a": 1}',
        b'{"a": "[]"}',
        b'{"a": "no"}',
        stored(a=material(keyMaterialType="PKMT2")),
        stored(a=material(masterKeyID=1)),
        stored(a=material(wrappedDEK=None)),
        stored(a=material(doubleWrapping=True)),
    ],
)
def test_what_is_no_key_material_is_refused(raw: bytes) -> None:
    with pytest.raises(FormatError):
        parse(raw)


# ---- footers -------------------------------------------------------------------------------------


def varint(number: int) -> bytes:
    found = bytearray()
    while number > 127:
        found.append(number & 127 | 128)
        number >>= 7
    return bytes([*found, number])


def text(data: bytes) -> bytes:
    return varint(len(data)) + data


INSIDE = text(json.dumps({"keyMaterialType": "PKMT1", "internalStorage": True}).encode())
BESIDE = text(json.dumps({"keyMaterialType": "PKMT1", "internalStorage": False}).encode())
ALGORITHM = b"\x1c\x1c\x00\x00"  # member 1: a structure with an empty one
#: Every kind of value, as members of an outermost structure before member 9.
VALUES = (
    *(b"\x11", b"\x12", b"\x13\x07", b"\x14\x02", b"\x15\x03", b"\x16\x84\x01"),
    b"\x17" + struct.pack("<d", 1.5),
    *(
        b"\x18\x02ab",
        b"\x19\x25\x02\x04",
        b"\x1a\x38\x01a\x00\x01b",
        b"\x19\xf5\x0f" + b"\x02" * 15,
    ),
    *(b"\x1b\x00", b"\x1b\x01\x88\x01a\x01b", b"\x1c\x15\x02\x00", b"\x19\x21\x01\x02"),
)


@pytest.mark.parametrize(
    ("key", "place"), [(BESIDE, Keeping.BESIDE), (INSIDE, Keeping.INSIDE), (text(b"own"), "inside")]
)
def test_a_footer_says_where_the_keys_lie(key: bytes, place: str) -> None:
    assert keeping(ALGORITHM + b"\x18" + key + b"\x00", b"PARE") == place
    assert keeping(b"\x15\x02\x08\x12" + key + b"\x00", b"PAR1") == place  # member 9, by its number


def test_a_footer_without_is_of_a_plain_file() -> None:
    assert keeping(b"\x15\x02\x00", b"PAR1") is Keeping.NONE
    assert keeping(ALGORITHM + b"\x00", b"PARE") is Keeping.INSIDE


@pytest.mark.parametrize("value", VALUES)
def test_a_member_of_any_kind_is_skipped(value: bytes) -> None:
    assert keeping(value + b"\x08\x12" + BESIDE + b"\x00", b"PAR1") is Keeping.BESIDE


@pytest.mark.parametrize(
    "footer",
    [
        b"",
        b"\x18\x05ab",
        b"\x1d",
        b"\x15" + b"\xff" * 12,
        b"\x19\xf5\xff\xff\xff\x0f",
        b"\x1c" * 100,
        b"\x18" + b"\xff" * 8 + b"\x7f",
    ],
)
def test_what_is_no_footer_is_refused(footer: bytes) -> None:
    with pytest.raises(FormatError):
        keeping(footer, b"PAR1")


@given(st.binary(max_size=200))
def test_any_bytes_are_judged_or_refused(footer: bytes) -> None:
    for magic in (parquet_material.MAGIC, parquet_material.SEALED_MAGIC):
        with contextlib.suppress(FormatError):
            assert keeping(footer, magic) in Keeping
