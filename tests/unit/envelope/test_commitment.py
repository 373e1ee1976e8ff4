"""The header commits to its data key, which AES-GCM alone does not (format/envelope.md §2.5, envelope-2.md §2.1)."""

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from strongroom.crypto import kdf, rng
from strongroom.envelope import header as headers
from strongroom.envelope.header import FORMATS, body_aad
from strongroom.envelope.reader import EnvelopeReader
from strongroom.errors import IntegrityError
from tests.support.memory_keys import Memory

SEGMENT = 4096


def _multiply(one: int, other: int) -> int:
    """In GF(2^128) as GHASH has it (SP 800-38D section 6.3)."""
    product = 0
    for bit in range(127, -1, -1):
        if one >> bit & 1:
            product ^= other
        other = other >> 1 ^ (0xE1 << 120 if other & 1 else 0)
    return product


def _power(base: int, exponent: int) -> int:
    result = 1 << 127
    while exponent:
        if exponent & 1:
            result = _multiply(result, base)
        base, exponent = _multiply(base, base), exponent >> 1
    return result


def _block(key: bytes, data: bytes) -> int:
    """AES of one block, by GCM's own counter mode: E(k, nonce ‖ counter) with a known plaintext."""
    return int.from_bytes(
        Cipher(algorithms.AES(key), modes.ECB()).encryptor().update(data),
        "big",
    )


def _salamander(first: bytes, second: bytes, nonce: bytes) -> bytes:
    """One ciphertext and tag of 32 bytes that AES-GCM accepts under both keys.

    Block 1 is free, block 2 is solved so that both keys give the same tag: GHASH is linear.
    """
    free, lengths = 0x0123456789ABCDEF << 64, 2 * 128
    h1, h2 = (_block(key, bytes(16)) for key in (first, second))
    mask1, mask2 = (_block(key, nonce + b"\0\0\0\1") for key in (first, second))

    def known(h: int, mask: int) -> int:
        return _multiply(free, _power(h, 3)) ^ _multiply(lengths, h) ^ mask

    difference = known(h1, mask1) ^ known(h2, mask2)
    factor = _power(_power(h1, 2) ^ _power(h2, 2), 2**128 - 2)  # the inverse
    solved = _multiply(difference, factor)
    tag = known(h1, mask1) ^ _multiply(solved, _power(h1, 2))
    return b"".join(value.to_bytes(16, "big") for value in (free, solved, tag))


@pytest.mark.parametrize("version", FORMATS)
def test_two_keys_for_one_body_are_refused_by_the_commitment(version: int) -> None:
    """C7: raw AES-GCM accepts the made body under both keys; the envelope accepts one key only."""
    deks = [rng.new_key(), rng.new_key()]
    prelude = headers.new_prelude(
        deks[0], file_id=rng.random_bytes(16), segment_bytes=SEGMENT, version=version
    )
    salt, prefix = rng.random_bytes(32), rng.random_bytes(7)
    nonce = prefix + bytes(4) + b"\1"
    raw = [kdf.hkdf(dek, salt=salt, info=body_aad(prelude)).reveal() for dek in deks]
    body = _salamander(raw[0], raw[1], nonce)
    plain = [AESGCM(key).decrypt(nonce, body, None) for key in raw]
    assert plain[0] != plain[1]

    stream = b"\x28" + salt + prefix + body
    header = headers.Header(prelude, (None, None))
    source = Memory(bytes(prelude.body_offset) + stream)
    for dek in deks:  # the streaming layer alone is fooled: this is why the header commits
        EnvelopeReader(source, header, dek)
    headers.check_commitment(prelude, deks[0])
    with pytest.raises(IntegrityError):
        headers.check_commitment(prelude, deks[1])
