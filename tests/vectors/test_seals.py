"""The published vectors of docs/format/seals.md, opened by the product and by the independent reader."""

import json
from pathlib import Path
from typing import Any

import pytest

from strongroom.crypto import labels, seals
from strongroom.crypto.seals import Place
from strongroom.crypto.secret import SecretBytes
from strongroom.errors import StrongroomError
from strongroom.secrets.committed import ValueKey
from tests.support import derivations
from tests.vectors import make_seals, reader_format2
from tests.vectors.reader_pkcs12 import RefusedError

VECTORS: dict[str, Any] = json.loads(Path(__file__).with_name("seals.json").read_text())
KEY = bytes.fromhex(VECTORS["key"])


def parts(vector: dict[str, Any]) -> tuple[bytes, str, tuple[bytes, ...]]:
    fields = tuple(bytes.fromhex(field) for field in vector["fields"])
    return bytes.fromhex(vector["seal"]), vector["label"], fields


def test_there_is_a_vector_of_each_label() -> None:
    assert [vector["label"].encode() for vector in VECTORS["good"]] == [
        use.label for use in labels.SEALS
    ]


@pytest.mark.parametrize("vector", VECTORS["good"], ids=lambda vector: vector["label"])
def test_a_good_vector_opens(vector: dict[str, Any]) -> None:
    sealed, label, fields = parts(vector)
    plaintext = bytes.fromhex(vector["plaintext"])
    assert seals.open_(SecretBytes(KEY), Place(label.encode(), fields), sealed) == plaintext
    assert reader_format2.unsealed(KEY, sealed, label, fields) == plaintext


@pytest.mark.parametrize("vector", VECTORS["bad"], ids=lambda vector: vector["why"])
def test_a_bad_vector_is_refused(vector: dict[str, Any]) -> None:
    sealed, label, fields = parts(vector)
    with pytest.raises(StrongroomError):
        seals.open_(SecretBytes(KEY), Place(label.encode(), fields), sealed)
    with pytest.raises(RefusedError):
        reader_format2.unsealed(KEY, sealed, label, fields)


def test_the_text_of_a_value_opens() -> None:
    """seals.md 2"""
    told = VECTORS["enc"]
    value = bytes.fromhex(told["value"])
    key = ValueKey(told["installation"], told["key_id"], SecretBytes(KEY))
    assert key.open(told["parameter"], told["text"]) == value
    keys = {told["key_id"]: KEY}
    given = (told["text"], told["parameter"], told["installation"], keys)
    assert reader_format2.secret(*given) == value


def test_the_product_makes_these_very_bytes() -> None:
    """A format never changes under a stored value."""
    with derivations.fixed_randomness():
        made = [make_seals.seal(name) for name in make_seals.PLACES]
    assert made == VECTORS["good"]
