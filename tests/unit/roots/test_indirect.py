"""The indirect form of a wrap, of both versions: docs/format/kms-store.md 3.3, 5.4."""

from dataclasses import replace

import pytest

from strongroom.crypto import aead, labels, rng
from strongroom.crypto.kdf import hkdf
from strongroom.errors import IntegrityError
from strongroom.ids import new_id
from strongroom.roots import indirect
from strongroom.roots.base import Context, WrapRecord

AT = "2026-01-02T03:04:05Z"
CONTEXT = Context(new_id(), new_id(), new_id())
KEY, DATA_KEY = rng.new_key(), rng.new_key()


def record(version: int) -> WrapRecord:
    if version == 1:
        kek = hkdf(DATA_KEY, salt=b"", info=labels.ROOT_INDIRECT)
        aad = labels.ROOT_INDIRECT + indirect.context_bytes(CONTEXT.pairs())
        inner = aead.wrap(KEY, kek=kek, aad=aad)
    else:
        inner = indirect.seal(KEY, DATA_KEY, CONTEXT)
    pairs = CONTEXT.pairs()
    return WrapRecord(
        CONTEXT.wrap_id, "azure", "indirect", "k", "", b"b", inner, pairs, AT, AT, version
    )


@pytest.mark.parametrize("version", [1, 2])
def test_a_wrap_opens_by_its_data_key_and_in_its_context_only(version: int) -> None:
    one = record(version)
    assert indirect.open_(one, DATA_KEY) == KEY
    elsewhere = replace(one, context={**one.context, "rmk": new_id()})
    for changed, key in (
        (one, rng.new_key()),
        (elsewhere, DATA_KEY),
        (replace(one, inner=one.inner[:-1]), DATA_KEY),
        (replace(one, inner=b""), DATA_KEY),
        (replace(one, version=3 - version), DATA_KEY),
    ):
        with pytest.raises(IntegrityError):
            indirect.open_(changed, key)


def test_a_context_of_other_pairs_is_none() -> None:
    with pytest.raises(IntegrityError):
        indirect.open_(replace(record(2), context={"rmk": new_id()}), DATA_KEY)
