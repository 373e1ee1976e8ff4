"""Opens the formats of version 2 from docs/format alone, as `reader` opens those of version 1: nothing of ours is imported."""

import hmac
from collections.abc import Sequence

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from tests.vectors.reader import id_of, raw, unbase64
from tests.vectors.reader_pkcs12 import RefusedError

# ---- seals.md ----------------------------------------------------------------------------------------


def unsealed(key: bytes, sealed: bytes, label: str, fields: Sequence[bytes]) -> bytes:
    """What a seal of format 2 holds (1)."""
    if len(sealed) < 80:
        raise RefusedError("too short for a seal")
    salt, commitment, ciphertext = sealed[:32], sealed[32:64], sealed[64:]
    info = label.encode() + b"\0" + bytes([len(fields)])
    for field in fields:
        info += len(field).to_bytes(4, "big") + field
    okm = HKDF(hashes.SHA256(), 76, salt=salt, info=info).derive(key)
    if not hmac.compare_digest(okm[44:], commitment):
        raise RefusedError("the commitment does not fit")
    try:
        return AESGCM(okm[:32]).decrypt(okm[32:44], ciphertext, None)
    except InvalidTag as error:
        raise RefusedError("the tag does not fit") from error


def secret(text: str, parameter: str, installation: str, keys: dict[str, bytes]) -> bytes:
    """The value of an `ENC(…)` text of version 2 (2)."""
    if not (text.startswith("ENC(") and text.endswith(")")):
        raise RefusedError("no ENC text")
    payload = unbase64(text[4:-1])
    if payload[0] != 2:
        raise RefusedError("another version")
    fields = (raw(installation), payload[1:17], parameter.encode())
    return unsealed(keys[id_of(payload[1:17])], payload[17:], "strongroom/v2/seal/enc", fields)
