"""The sealed transaction: docs/format/pending-changes.md, C-07."""

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from strongroom import ids
from strongroom.config.document import ConfigDocument
from strongroom.config.pending import (
    PendingChanges,
    key_id_of_pending,
    open_older,
    open_pending,
    point_of_pending,
)
from strongroom.crypto import aead, kdf, places, seals
from strongroom.crypto.secret import SecretBytes
from strongroom.errors import FormatError, IntegrityError, KeyNotFoundError

KEY = SecretBytes(bytes(range(32)))
KEY_ID = "1abc23de-f045-4678-9012-345678901234"
INSTALLATION = "8ddd70df-be67-4dbf-9c35-1f0aa2421521"
OTHER = "00000000-0000-4000-8000-000000000000"
CHANGES = PendingChanges(7, 3, {"redis.password": "ENC(abcd)", "gateway.timeout": None})


def open_key(key_id: str) -> SecretBytes:
    if key_id != KEY_ID:
        raise KeyNotFoundError(f"no configuration key {key_id}")
    return KEY


def sealed() -> bytes:
    return CHANGES.seal(KEY, KEY_ID, INSTALLATION)


def sealed_plaintext(plaintext: bytes) -> bytes:
    """A transaction with any contents, sealed as the real one is."""
    place = places.of_pending(INSTALLATION, KEY_ID, 7, 3)
    return sealed()[:37] + seals.seal(KEY, place, plaintext)


def sealed_older(plaintext: bytes) -> bytes:
    """A transaction of format 1."""
    head = b"SRPC\x01" + ids.id_bytes(KEY_ID) + (7).to_bytes(8)
    aad = b"strongroom/v1/pending" + head[4:5] + ids.id_bytes(INSTALLATION) + head[5:]
    subkey = kdf.hkdf(KEY, salt=b"", info=b"strongroom/v1/pending")
    return head + aead.seal(subkey, plaintext, aad=aad)


def test_round_trip() -> None:
    assert open_pending(sealed(), open_key, INSTALLATION) == CHANGES
    assert key_id_of_pending(sealed()) == KEY_ID
    assert point_of_pending(sealed()) == (3, 7)


def test_format_1_is_read_by_the_upgrade_only() -> None:
    older = sealed_older(b'{"changes":{"gateway.timeout":null,"redis.password":"ENC(abcd)"}}')
    assert open_older(older, open_key, INSTALLATION) == PendingChanges(7, 1, CHANGES.changes)
    with pytest.raises(FormatError, match="not known here"):
        open_pending(older, open_key, INSTALLATION)
    with pytest.raises(FormatError, match="not known here"):
        open_older(sealed(), open_key, INSTALLATION)
    with pytest.raises(IntegrityError):
        open_older(older, open_key, OTHER)


def test_nothing_is_readable() -> None:
    """§1.2: neither values nor names."""
    data = sealed()
    assert b"redis" not in data
    assert b"ENC" not in data


def test_an_independent_implementation_opens_it() -> None:
    """§2, §3: from the clauses alone."""
    data = sealed()
    fields = (ids.id_bytes(INSTALLATION), data[5:21], data[21:29], data[29:37])
    info = b"strongroom/v2/seal/pending\0\x04"
    info += b"".join(len(one).to_bytes(4) + one for one in fields)
    okm = HKDF(SHA256(), 76, data[37:69], info).derive(KEY.reveal())
    assert okm[44:] == data[69:101]
    opened = AESGCM(okm[:32]).decrypt(okm[32:44], data[101:], b"")
    assert opened == b'{"changes":{"gateway.timeout":null,"redis.password":"ENC(abcd)"}}'
    assert data[:5] == b"SRPC\x02"
    assert (int.from_bytes(data[21:29]), int.from_bytes(data[29:37])) == (7, 3)


def test_of_another_installation() -> None:
    with pytest.raises(IntegrityError):
        open_pending(sealed(), open_key, OTHER)


def test_key_unknown() -> None:
    data = CHANGES.seal(KEY, OTHER, INSTALLATION)
    with pytest.raises(KeyNotFoundError):
        open_pending(data, open_key, INSTALLATION)


def test_every_bit() -> None:
    data = sealed()
    for bit in range(len(data) * 8):
        changed = bytearray(data)
        changed[bit // 8] ^= 1 << (bit % 8)
        with pytest.raises((IntegrityError, FormatError, KeyNotFoundError)):
            open_pending(bytes(changed), open_key, INSTALLATION)


def test_every_length() -> None:
    data = sealed()
    for length in range(len(data)):
        with pytest.raises((IntegrityError, FormatError)):
            open_pending(data[:length], open_key, INSTALLATION)


def test_too_long() -> None:
    """§2.1."""
    with pytest.raises(FormatError):
        key_id_of_pending(b"SRPC\x02" + bytes(17 << 20))


@pytest.mark.parametrize(
    "plaintext",
    [
        b"{}",
        b"[]",
        b'{"changes":{}}',
        b'{"changes":[]}',
        b'{"changes":{"a":1}}',
        b'{"changes":{"a":"b"},"more":1}',
        b'{"changes": {"a":"b"}}',
        b"no json",
    ],
)
def test_wrong_contents(plaintext: bytes) -> None:
    """§2.2, though sealed with the right key."""
    with pytest.raises(FormatError):
        open_pending(sealed_plaintext(plaintext), open_key, INSTALLATION)


def test_promotion_passes_the_texts_on() -> None:
    """§4.1, §4.4: whatever the version is; and the document remembers that it was."""
    document = ConfigDocument(
        INSTALLATION, KEY_ID, {"gateway.timeout": "1", "x.y": "2"}, version=99
    )
    promoted = CHANGES.promote(document)
    assert promoted.values == {"redis.password": "ENC(abcd)", "x.y": "2"}
    assert (promoted.version, promoted.pending_floor) == (100, 3)


def test_the_last_change_counts() -> None:
    changes = PendingChanges(1, 4).with_changes({"a": "1"}).with_changes({"a": None, "b": "2"})
    assert changes.changes == {"a": None, "b": "2"}
    assert changes.number == 6
