"""Shares of a recovery kit, combined from docs/format/recovery.md 2 and SLIP-39; nothing of strongroom's own.

SLIP-39's list of 1,024 words comes in as an argument.
"""

import hashlib
import hmac
from collections.abc import Sequence
from typing import NamedTuple

from tests.vectors.reader_pkcs12 import RefusedError

WORDS = 33
_SECRET_AT, _DIGEST_AT = 255, 254
_GENERATOR = (
    0xE0E040, 0x1C1C080, 0x3838100, 0x7070200, 0xE0E0009, 0x1C0C2412, 0x38086C24, 0x3090FC48,
    0x21B1F890, 0x3F3F120,
)  # fmt: skip
_BECH32 = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"


class Share(NamedTuple):
    """One share: its set, the set's exponent, where it lies on the polynomial, how many are needed, and its bytes."""

    set_id: int
    exponent: int
    place: int
    threshold: int
    value: bytes


def read_share(text: str, words: Sequence[str]) -> Share:
    """The share of a file's text (recovery.md 3)."""
    kept = (line for line in text.splitlines() if not line.startswith("#"))
    tokens = [token.lower() for line in kept for token in line.split()]
    spoken = [token for token in tokens if not token.rstrip(".)").isdigit()]
    if len(spoken) != WORDS or any(word not in words for word in spoken):
        raise RefusedError("no share of 33 words")
    numbers = [words.index(word) for word in spoken]
    if _checksum([*b"shamir_extendable", *numbers]) != 1:
        raise RefusedError("a word is wrong")
    head, body = _joined(numbers[:4]), _joined(numbers[4:-3])
    set_id, extendable, exponent = head >> 25, head >> 24 & 1, head >> 20 & 15
    index, threshold = head >> 16 & 15, (head >> 12 & 15) + 1
    member_threshold = (head & 15) + 1
    if not extendable or member_threshold != 1:
        raise RefusedError("another kind of share")
    return Share(set_id, exponent, index, threshold, body.to_bytes(32, "big"))


def combine(shares: Sequence[Share]) -> str:
    """The age identity of shares of one kit (recovery.md 2.1)."""
    first = shares[0]
    chosen = list({share.place: share for share in shares}.values())[: first.threshold]
    same = {(share.set_id, share.exponent, share.threshold) for share in shares}
    if len(same) != 1 or len(chosen) < first.threshold:
        raise RefusedError("too few shares, or of several kits")
    points = {share.place: share.value for share in chosen}
    if first.threshold == 1:
        secret = first.value
    else:
        secret = _interpolated(points, _SECRET_AT)
        told = _interpolated(points, _DIGEST_AT)
        if hmac.digest(told[4:], secret, hashlib.sha256)[:4] != told[:4]:
            raise RefusedError("the shares do not fit")
    return _bech32("age-secret-key-", _decrypted(secret, first.exponent)).upper()


def _joined(numbers: Sequence[int]) -> int:
    value = 0
    for number in numbers:
        value = value << 10 | number
    return value


def _checksum(values: Sequence[int]) -> int:
    check = 1
    for value in values:
        top = check >> 20
        check = (check & 0xFFFFF) << 10 ^ value
        for bit, term in enumerate(_GENERATOR):
            check ^= term if top >> bit & 1 else 0
    return check


def _product(one: int, other: int) -> int:
    """In GF(256) with Rijndael's polynomial."""
    result = 0
    while other:
        result ^= one if other & 1 else 0
        one = one << 1 ^ (0x11B if one & 0x80 else 0)
        other >>= 1
    return result


def _inverse(one: int) -> int:
    return next(other for other in range(1, 256) if _product(one, other) == 1)


def _interpolated(points: dict[int, bytes], at: int) -> bytes:
    result = bytearray(32)
    for x, value in points.items():
        weight = 1
        for other in points:
            if other != x:
                weight = _product(weight, _product(at ^ other, _inverse(x ^ other)))
        for place, byte in enumerate(value):
            result[place] ^= _product(byte, weight)
    return bytes(result)


def _decrypted(secret: bytes, exponent: int) -> bytes:
    """SLIP-39's four Feistel rounds, without a passphrase; of an extendable set no id is in the salt."""
    left, right = secret[:16], secret[16:]
    for number in (3, 2, 1, 0):
        mask = hashlib.pbkdf2_hmac("sha256", bytes([number]), right, 2500 << exponent, 16)
        left, right = right, bytes(a ^ b for a, b in zip(left, mask, strict=True))
    return right + left


def _bech32(prefix: str, data: bytes) -> str:
    """BIP-173, as age spells an identity."""
    number = int.from_bytes(data, "big") << -8 * len(data) % 5
    values = [number >> 5 * place & 31 for place in reversed(range(-(-8 * len(data) // 5)))]
    expanded = [*(ord(c) >> 5 for c in prefix), 0, *(ord(c) & 31 for c in prefix), *values]
    check = 1
    for value in [*expanded, *[0] * 6]:
        top = check >> 25
        check = (check & 0x1FFFFFF) << 5 ^ value
        for bit, term in enumerate((0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)):
            check ^= term if top >> bit & 1 else 0
    check ^= 1
    tail = [check >> 5 * (5 - place) & 31 for place in range(6)]
    return prefix + "1" + "".join(_BECH32[value] for value in [*values, *tail])
