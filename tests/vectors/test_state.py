"""The published vectors of entries, records, KMS stores, anchors and statements of format 2.

Each is opened by the product and by the independent reader, which was written from docs/format alone (issue 10,
"Must show" 2).
"""

import json
from pathlib import Path
from typing import Any

import pytest

from strongroom.configuration_keys import generations
from strongroom.coordination import anchor
from strongroom.coordination.base import Versioned
from strongroom.coordination.entries import EntryKey, EntryKeys, UnprovedEntry
from strongroom.crypto import fingerprint, statements
from strongroom.crypto.secret import SecretBytes
from strongroom.crypto.statements import Origin, Purpose
from strongroom.errors import StrongroomError
from strongroom.keystore.master_key import Keystore
from strongroom.keystore.pkcs12 import SecretKeyEntry
from strongroom.kms import store as kms_store
from strongroom.kms.closed_stores import ClosedStore
from strongroom.kms.keyring import KeyRing
from strongroom.kms.links import Continuity
from tests.vectors import make_state, reader_format2
from tests.vectors.reader import Means
from tests.vectors.reader_format2 import Proving
from tests.vectors.reader_pkcs12 import RefusedError


def vectors(name: str) -> Any:
    return json.loads(Path(__file__).with_name(f"{name}.json").read_text())


ENTRIES, RECORDS, STORES = vectors("entries"), vectors("key_records"), vectors("linked_store")
ANCHOR, STATEMENTS = vectors("anchor"), vectors("statements")


def unhex(keys: dict[str, str]) -> dict[str, bytes]:
    return {name: bytes.fromhex(key) for name, key in keys.items()}


# ---- entries -----------------------------------------------------------------------------------------


def proved(vector: dict[str, Any]) -> bytes:
    keys = {name: EntryKey(name, SecretBytes(key)) for name, key in unhex(ENTRIES["keys"]).items()}
    by = EntryKeys(
        ENTRIES["installation"],
        ENTRIES["generation"],
        keys[ENTRIES["active"]],
        keys[ENTRIES["next"]],
    )
    stored = Versioned(bytes.fromhex(vector["value"]), vector["version"])
    return UnprovedEntry(vector["name"], stored).prove(by).payload


def read_entry(vector: dict[str, Any]) -> bytes:
    by = Proving(
        ENTRIES["installation"],
        ENTRIES["generation"],
        ENTRIES["active"],
        unhex(ENTRIES["keys"]),
        ENTRIES["next"],
    )
    value = bytes.fromhex(vector["value"])
    return reader_format2.entry(value, vector["name"], vector["version"], by)


@pytest.mark.parametrize("vector", ENTRIES["good"], ids=range(3))
def test_a_good_entry_is_proved(vector: dict[str, Any]) -> None:
    assert proved(vector) == read_entry(vector) == bytes.fromhex(vector["payload"])


@pytest.mark.parametrize("vector", ENTRIES["bad"], ids=lambda vector: vector["why"])
def test_a_bad_entry_is_refused(vector: dict[str, Any]) -> None:
    with pytest.raises(StrongroomError):
        proved(vector)
    with pytest.raises(RefusedError):
        read_entry(vector)


def test_an_entry_is_made_of_these_very_bytes() -> None:
    """A format never changes under a stored value: entries have no random part but the change id."""
    assert make_state.entries() == ENTRIES


# ---- configuration-key records -----------------------------------------------------------------------

MASTERS = unhex(RECORDS["masters"])
[ALIAS] = MASTERS
KEYSTORE = Keystore((SecretKeyEntry(ALIAS, SecretBytes(MASTERS[ALIAS]), make_state.NOW),))


@pytest.mark.parametrize("vector", RECORDS["good"], ids=["both-keys"])
def test_good_records_open(vector: dict[str, Any]) -> None:
    data = vector["records"].encode()
    found = generations.read(data, RECORDS["installation"], KEYSTORE).present
    assert generations.serialize(found, KEYSTORE) == data
    document, keys = reader_format2.key_records(data, MASTERS, ALIAS)
    assert document["generation"] == found.generation == vector["generation"]
    assert keys == unhex(vector["keys"])
    for record in found.records:
        [wrap] = record.wraps
        opened = generations.open_wrap(
            found.installation_id, record.id, wrap, SecretBytes(MASTERS[ALIAS])
        )
        assert opened.reveal() == keys[record.id]


@pytest.mark.parametrize("vector", RECORDS["bad"], ids=lambda vector: vector["why"])
def test_bad_records_are_refused(vector: dict[str, Any]) -> None:
    data = vector["records"].encode()
    with pytest.raises(StrongroomError):
        generations.read(data, RECORDS["installation"], KEYSTORE)
    with pytest.raises(RefusedError):
        reader_format2.key_records(data, MASTERS, ALIAS)


# ---- KMS stores --------------------------------------------------------------------------------------

STORE_KEYS = {STORES["configuration_key_id"]: bytes.fromhex(STORES["configuration_key"])}


def opened_store(raw: bytes, rmk: bytes) -> KeyRing:
    store = kms_store.parse(raw)
    return store.open_ring(store.rmk(SecretBytes(rmk)))


@pytest.mark.parametrize("vector", STORES["chain"], ids=range(1, 4))
def test_good_stores_open(vector: dict[str, Any]) -> None:
    raw = vector["store"].encode()
    found = reader_format2.kms(raw, Means(STORE_KEYS))
    assert found.rmk.hex() == vector["rmk"]
    assert found.meks == unhex(vector["meks"])
    assert found.active == vector["active"]
    assert reader_format2.successor_key(found).hex() == vector["successor"]
    ring = opened_store(raw, found.rmk)
    assert {mek.id: mek.material.reveal() for mek in ring} == found.meks
    assert kms_store.serialize(kms_store.parse(raw)) == raw


@pytest.mark.parametrize("vector", STORES["bad"], ids=lambda vector: vector["why"])
def test_bad_stores_are_refused(vector: dict[str, Any]) -> None:
    raw = vector["store"].encode()
    rmk = bytes.fromhex(STORES["chain"][2]["rmk"])
    with pytest.raises(StrongroomError):
        opened_store(raw, rmk)
    with pytest.raises(RefusedError):
        reader_format2.kms(raw, Means(STORE_KEYS))


def test_each_store_follows_from_those_before_it() -> None:
    chain = STORES["chain"]
    for at, one in enumerate(chain):
        before = one["store"].encode()
        known = kms_store.parse(before).known(before)
        for later in chain[at + 1 :]:
            raw = later["store"].encode()
            reader_format2.follows(raw, before, bytes.fromhex(one["successor"]))
            assert kms_store.parse(raw).continuity(known, raw) is Continuity.FOLLOWS


def test_a_forged_store_opens_and_does_not_follow() -> None:
    """review X5: made with the configuration key alone."""
    raw, before = STORES["forged"].encode(), STORES["chain"][0]["store"].encode()
    assert reader_format2.kms(raw, Means(STORE_KEYS))
    with pytest.raises(RefusedError, match="signature"):
        reader_format2.follows(raw, before, bytes.fromhex(STORES["chain"][0]["successor"]))
    known = kms_store.parse(before).known(before)
    assert kms_store.parse(raw).continuity(known, raw) is Continuity.FORGED


def test_a_closed_store_opens() -> None:
    told, first = STORES["closed"], STORES["chain"][0]["store"].encode()
    sealed = bytes.fromhex(told["payload"])
    [key] = STORE_KEYS.values()
    installation = json.loads(first)["installation"]
    assert reader_format2.closed(sealed, told["reference"], installation, STORE_KEYS) == first
    reference = ClosedStore(**told["reference"])
    assert reference.open(sealed, installation, SecretBytes(key)) == first


# ---- anchor ------------------------------------------------------------------------------------------

ANCHOR_KEYS = unhex(ANCHOR["keys"])


def opened_row(row: str) -> anchor.Anchor:
    keys = {name: EntryKey(name, SecretBytes(key)) for name, key in ANCHOR_KEYS.items()}
    return anchor.open_row(bytes.fromhex(row), ANCHOR["installation"], keys)


def test_the_anchor_opens() -> None:
    document = ANCHOR["document"].encode()
    assert opened_row(ANCHOR["row"]) == anchor.parse(document)
    assert anchor.parse(document).serialize() == document
    told = reader_format2.anchor(document)
    row = bytes.fromhex(ANCHOR["row"])
    assert reader_format2.anchor_row(row, ANCHOR["installation"], ANCHOR_KEYS) == told
    assert (told["n"], told["kms"]["epoch"], told["logs"]["node1"]["size"]) == (9, 3, 41)
    assert make_state.anchor() == ANCHOR


@pytest.mark.parametrize("vector", ANCHOR["bad"], ids=lambda vector: vector["why"])
def test_a_bad_row_is_refused(vector: dict[str, Any]) -> None:
    with pytest.raises(StrongroomError):
        opened_row(vector["row"])
    row = bytes.fromhex(vector["row"])
    with pytest.raises(RefusedError):
        reader_format2.anchor_row(row, ANCHOR["installation"], ANCHOR_KEYS)


# ---- statements --------------------------------------------------------------------------------------

PUBLIC = bytes.fromhex(STATEMENTS["public"])


def opened_statement(vector: dict[str, Any]) -> bytes:
    raw, origin = bytes.fromhex(vector["statement"]), Origin(STATEMENTS["installation"])
    return statements.opened(raw, PUBLIC, origin, [Purpose(vector["purpose"])]).payload


def read_statement(vector: dict[str, Any]) -> bytes:
    given = (PUBLIC, STATEMENTS["installation"], vector["purpose"])
    return reader_format2.statement(bytes.fromhex(vector["statement"]), *given)


@pytest.mark.parametrize("vector", STATEMENTS["good"], ids=lambda vector: vector["purpose"])
def test_a_good_statement_is_taken(vector: dict[str, Any]) -> None:
    payload = bytes.fromhex(vector["payload"])
    assert opened_statement(vector) == read_statement(vector) == payload


@pytest.mark.parametrize("vector", STATEMENTS["bad"], ids=lambda vector: vector["why"])
def test_a_bad_statement_is_refused(vector: dict[str, Any]) -> None:
    with pytest.raises(StrongroomError):
        opened_statement(vector)
    with pytest.raises(RefusedError):
        read_statement(vector)


def test_the_fingerprint() -> None:
    told = STATEMENTS["fingerprint"]
    assert fingerprint.of_identity(PUBLIC) == reader_format2.fingerprint(PUBLIC) == told
    assert make_state.statements() == STATEMENTS
    assert {one["purpose"] for one in STATEMENTS["good"]} == set(Purpose)
