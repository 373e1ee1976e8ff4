"""An age file that was sealed to a passphrase, by the specification of age-encryption.org/v1 (C2SP age.md).

pyrage opens such files only if their work factor is low for the machine as it is at that moment, so a busy machine
refuses what it wrote itself; there is nothing to set. What is sealed to a recipient is left to pyrage.
"""

import base64
import hashlib
import hmac

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from tests.vectors.reader_pkcs12 import RefusedError

MOST_WORK = 22
_CHUNK = 64 * 1024 + 16


def open_with_passphrase(sealed: bytes, passphrase: str) -> bytes:
    """What is inside.

    Raises:
        RefusedError: It is no such file, the passphrase is another, or it was changed.
    """
    header, _, rest = sealed.partition(b"\n--- ")
    mac, _, payload = rest.partition(b"\n")
    version, stanza, body = header.split(b"\n")
    words = stanza.split(b" ")
    if version != b"age-encryption.org/v1" or words[:2] != [b"->", b"scrypt"] or len(words) != 4:
        raise RefusedError("not sealed to a passphrase")
    work = int(words[3])
    if not 0 < work <= MOST_WORK:
        raise RefusedError("too much work")
    salt = b"age-encryption.org/v1/scrypt" + _unbase64(words[2])
    size = 1 << work
    key = hashlib.scrypt(passphrase.encode(), salt=salt, n=size, r=8, p=1, maxmem=1100 * size, dklen=32)  # fmt: skip
    file_key = _opened(key, bytes(12), _unbase64(body))
    told = hmac.digest(_derived(file_key, b"", b"header"), header + b"\n---", hashlib.sha256)
    if not hmac.compare_digest(told, _unbase64(mac)):
        raise RefusedError("the header was changed")
    stream = _derived(file_key, payload[:16], b"payload")
    chunks = [payload[i : i + _CHUNK] for i in range(16, len(payload), _CHUNK)]
    return b"".join(
        _opened(stream, number.to_bytes(11, "big") + bytes([number == len(chunks) - 1]), chunk)
        for number, chunk in enumerate(chunks)
    )


def _opened(key: bytes, nonce: bytes, sealed: bytes) -> bytes:
    try:
        return ChaCha20Poly1305(key).decrypt(nonce, sealed, b"")
    except InvalidTag as error:
        raise RefusedError("it does not open") from error


def _derived(key: bytes, salt: bytes, info: bytes) -> bytes:
    return HKDF(hashes.SHA256(), 32, salt=salt, info=info).derive(key)


def _unbase64(text: bytes) -> bytes:
    """Without padding."""
    return base64.b64decode(text + b"=" * (-len(text) % 4), validate=True)
