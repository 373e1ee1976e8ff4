"""The sealed transaction: docs/format/pending-changes.md, C-07."""

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from strongroom.config.document import ConfigDocument
from strongroom.config.pending import PendingChanges, key_id_of_pending, open_pending
from strongroom.crypto import aead, kdf
from strongroom.crypto.secret import SecretBytes
from strongroom.errors import FormatError, IntegrityError, KeyNotFoundError

KEY = SecretBytes(bytes(range(32)))
KEY_ID = "1abc23de-f045-4678-9012-345678901234"
INSTALLATION = "8ddd70df-be67-4dbf-9c35-1f0aa2421521"
OTHER = "00000000-0000-4000-8000-000000000000"
CHANGES = PendingChanges(7, {"redis.password": "ENC(abcd)", "gateway.timeout": None})


def open_key(key_id: str) -> SecretBytes:
    if key_id != KEY_ID:
        raise KeyNotFoundError(f"no configuration key {key_id}")
    return KEY


def sealed() -> bytes:
    return CHANGES.seal(KEY, KEY_ID, INSTALLATION)


def sealed_plaintext(plaintext: bytes) -> bytes:
    """A transaction with any contents, sealed as the real one is."""
    head = sealed()[:29]
    aad = b"strongroom/v1/pending" + head[4:5] + bytes.fromhex(INSTALLATION.replace("-", ""))
    subkey = kdf.hkdf(KEY, salt=b"", info=b"strongroom/v1/pending")
    return head + aead.seal(subkey, plaintext, aad=aad + head[5:])


def test_round_trip() -> None:
    assert open_pending(sealed(), open_key, INSTALLATION) == CHANGES
    assert key_id_of_pending(sealed()) == KEY_ID


def test_nothing_is_readable() -> None:
    """§1.2: neither values nor names."""
    data = sealed()
    assert b"redis" not in data
    assert b"ENC" not in data


def test_an_independent_implementation_opens_it() -> None:
    """§2, §3: from the clauses alone."""
    data = sealed()
    subkey = HKDF(SHA256(), 32, None, b"strongroom/v1/pending").derive(KEY.reveal())
    installation = bytes.fromhex(INSTALLATION.replace("-", ""))
    aad = b"strongroom/v1/pending" + data[4:5] + installation + data[5:29]
    opened = AESGCM(subkey).decrypt(data[29:41], data[41:], aad)
    assert opened == b'{"changes":{"gateway.timeout":null,"redis.password":"ENC(abcd)"}}'
    assert data[:5] == b"SRPC\x01"
    assert int.from_bytes(data[21:29], "big") == 7


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
        key_id_of_pending(b"SRPC\x01" + bytes(17 << 20))


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
    """§4.1, §4.2: whatever the version is."""
    document = ConfigDocument(
        INSTALLATION, KEY_ID, {"gateway.timeout": "1", "x.y": "2"}, version=99
    )
    promoted = CHANGES.promote(document)
    assert promoted.values == {"redis.password": "ENC(abcd)", "x.y": "2"}
    assert promoted.version == 100


def test_the_last_change_counts() -> None:
    changes = PendingChanges(1).with_changes({"a": "1"}).with_changes({"a": None, "b": "2"})
    assert changes.changes == {"a": None, "b": "2"}
