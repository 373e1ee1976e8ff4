"""The published vectors of the KMS store of format 1: docs/format/kms-store.md 1 to 3; K-13."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from strongroom.clock import FixedClock
from strongroom.crypto.secret import SecretBytes
from strongroom.errors import FormatError, StrongroomError
from strongroom.kms import store_1
from strongroom.kms.opening import OpenedKeys, open_keys
from strongroom.roots.local import LocalRoot
from tests.support import older_stores

VECTORS: dict[str, Any] = json.loads(Path(__file__).with_name("kms_store.json").read_text())


def opened(text: str) -> OpenedKeys:
    key = SecretBytes(bytes.fromhex(VECTORS["configuration_key"]))
    clock = FixedClock(datetime(2026, 1, 2, tzinfo=UTC))
    root = LocalRoot(VECTORS["configuration_key_id"], lambda _: key, clock)
    return open_keys(store_1.parse(text.encode()), lambda _: root, lambda *_: None)


@pytest.mark.parametrize("vector", VECTORS["good"], ids=lambda vector: vector["active"])
def test_a_good_vector_opens(vector: dict[str, Any]) -> None:
    found = opened(vector["store"])
    assert found.rmk.material.reveal().hex() == vector["rmk"]
    assert {mek.id: mek.material.reveal().hex() for mek in found.ring} == vector["meks"]
    assert found.ring.active.id == vector["active"]
    assert (
        older_stores.serialize(store_1.parse(vector["store"].encode())).decode() == vector["store"]
    )


@pytest.mark.parametrize("vector", VECTORS["bad"], ids=lambda vector: vector["why"])
def test_a_bad_vector_is_refused(vector: dict[str, Any]) -> None:
    error = FormatError if vector.get("error") == "format" else StrongroomError
    with pytest.raises(error):
        opened(vector["store"])
