"""Opens the header of an encrypted file of format 2, from docs/format/envelope-2.md alone.

Nothing of strongroom's own is imported, as in `reader.py`.
"""

import hashlib
import hmac
from collections.abc import Mapping
from typing import NamedTuple

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from tests.vectors.reader_pkcs12 import RefusedError

_BLOCK = 4096
_MAGIC = b"\x89STRONG\n"


class Opened(NamedTuple):
    """What the body needs."""

    dek: bytes
    segment: int
    context: bytes
    body: bytes


def is_format_2(data: bytes) -> bool:
    """Whether one of the two blocks is intact (1.5)."""
    return any(_is_intact(block) for block in _blocks(data))


def opened_header(
    data: bytes, meks: Mapping[bytes, bytes], place: bytes, dek: bytes = b""
) -> Opened:
    """The data key and the rest, by MEKs whose ids are bytes; or with a data key that is known already."""
    whole = [block for block in _blocks(data) if _is_intact(block)]
    prelude = whole[0][:64]
    if prelude[10:12] != b"\0\1":
        raise RefusedError("another suite")
    segment = int.from_bytes(prelude[12:16], "big")
    if not 4096 <= segment <= 4194304 or segment & (segment - 1):
        raise RefusedError("a segment size that is not allowed")
    slots = [block[64:4064] for block in whole if block[:64] == prelude]
    slots = [slot for slot in slots if slot[8:10] == b"\0\2" and _is_slot(slot)]
    slots.sort(key=lambda slot: -int.from_bytes(slot[:8], "big"))
    found = dek or next(filter(None, (_dek(slot, prelude, place, meks) for slot in slots)), b"")
    if not found:
        raise RefusedError("no slot opens")
    context = b"strongroom/v2/stream" + hashlib.sha256(b"strongroom/v2/body" + prelude[8:]).digest()
    return Opened(found, segment, context, data[2 * _BLOCK :])


def _blocks(data: bytes) -> tuple[bytes, bytes]:
    return data[:_BLOCK], data[_BLOCK : 2 * _BLOCK]


def _is_intact(block: bytes) -> bool:
    """Magic, format and digest (1.4)."""
    return (
        len(block) == _BLOCK
        and block[:10] == _MAGIC + b"\0\2"
        and hashlib.sha256(block[:4064]).digest() == block[4064:]
    )


def _is_slot(slot: bytes) -> bool:
    """Sequence and zeros (3.4)."""
    return any(slot[:8]) and not any(slot[10:16]) and not any(slot[144:])


def _dek(slot: bytes, prelude: bytes, place: bytes, meks: Mapping[bytes, bytes]) -> bytes:
    """The data key of a slot; empty if it does not open (3.1, 3.2, 3.6, 2.1)."""
    mek = meks.get(slot[16:32])
    if mek is None or slot[32:64] != place:
        return b""
    fields = (prelude, slot[:8], slot[8:10], slot[16:32], slot[32:64])
    info = b"strongroom/v2/slot\0\5"
    info += b"".join(len(field).to_bytes(4, "big") + field for field in fields)
    made = HKDF(hashes.SHA256(), 44, salt=slot[64:96], info=info).derive(mek)
    try:
        dek = AESGCM(made[:32]).decrypt(made[32:], slot[96:144], b"")
    except InvalidTag:
        return b""
    label = b"strongroom/v2/commit" + prelude[16:32]
    commitment = HKDF(hashes.SHA256(), 32, salt=None, info=label).derive(dek)
    return dek if hmac.compare_digest(commitment, prelude[32:]) else b""
