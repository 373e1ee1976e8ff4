"""Opens age files that were sealed to a passphrase ("scrypt recipient stanza" and "payload" of its C2SP specification); pure.

Why this is not left to pyrage: the library behind it measures how fast the machine is at that moment, and refuses each
file whose work factor is too high for that speed. There is nothing to set. A backup that was sealed on a fast machine
would not open on a slow one, and a busy machine would refuse what it wrote itself, with the words of a wrong passphrase.
Here the bound is the same on every machine (`age.HIGHEST_WORK_FACTOR`), and is checked before this module is asked.
"""

import base64
import binascii
import hmac
import struct

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from strongroom.crypto.secret import SecretBytes
from strongroom.errors import IntegrityError

_SALT_PREFIX = b"age-encryption.org/v1/scrypt"
_SALT_BYTES = 16
_FILE_KEY_BYTES = 16
_NONCE_BYTES = 16
_TAG_BYTES = 16
_CHUNK_BYTES = 64 * 1024 + _TAG_BYTES
_ZERO_NONCE = bytes(12)


def open_with_passphrase(data: bytes, passphrase: bytes) -> SecretBytes:
    """Open a binary age file whose header has a good form and an allowed work factor.

    Raises:
        IntegrityError: The file is not sealed to a passphrase, or to another one, or it was changed.
    """
    end = data.index(b"\n---")
    mac_end = data.index(b"\n", end + 1)
    header, mac, payload = data[: end + 4], data[end + 5 : mac_end], data[mac_end + 1 :]
    file_key = _file_key(header.split(b"\n")[1:-1], passphrase)
    expected = hmac.digest(_derived(file_key, b"", b"header"), header, "sha256")
    if not hmac.compare_digest(expected, _unbase64(mac)):
        raise IntegrityError
    return _opened(_derived(file_key, payload[:_NONCE_BYTES], b"payload"), payload[_NONCE_BYTES:])


def _file_key(lines: list[bytes], passphrase: bytes) -> bytes:
    """The file key from the only stanza: a passphrase stands alone, or whoever else could open the file could forge it."""
    words, *bodies = lines[0].split(b" "), *lines[1:]
    if len(bodies) != 1 or len(words) != 4 or words[1] != b"scrypt":
        raise IntegrityError
    salt, work = _unbase64(words[2]), int(words[3])
    if len(salt) != _SALT_BYTES:
        raise IntegrityError
    kdf = Scrypt(_SALT_PREFIX + salt, length=32, n=1 << work, r=8, p=1)
    wrapped = _unbase64(bodies[0])
    if len(wrapped) != _FILE_KEY_BYTES + _TAG_BYTES:
        raise IntegrityError
    return _unsealed(ChaCha20Poly1305(kdf.derive(passphrase)), _ZERO_NONCE, wrapped)


def _opened(key: bytes, sealed: bytes) -> SecretBytes:
    """The chunks of STREAM: each nonce has the chunk's number and whether it is the last, so none can go or move."""
    cipher, plaintext = ChaCha20Poly1305(key), bytearray()
    starts = range(0, len(sealed), _CHUNK_BYTES)
    for number, start in enumerate(starts):
        is_last = number == len(starts) - 1
        nonce = struct.pack(">3xQ?", number, is_last)
        chunk = _unsealed(cipher, nonce, sealed[start : start + _CHUNK_BYTES])
        if not chunk and number:  # an empty last chunk is allowed in an empty file only
            raise IntegrityError
        plaintext += chunk
    return SecretBytes(bytes(plaintext))


def _unsealed(cipher: ChaCha20Poly1305, nonce: bytes, sealed: bytes) -> bytes:
    try:
        return cipher.decrypt(nonce, sealed, None)
    except InvalidTag:
        raise IntegrityError from None


def _derived(key: bytes, salt: bytes, info: bytes) -> bytes:
    return HKDF(hashes.SHA256(), 32, salt=salt, info=info).derive(key)


def _unbase64(text: bytes) -> bytes:
    """Decode canonical base64 without padding, the only form that age has."""
    try:
        raw = base64.b64decode(text + b"=" * (-len(text) % 4), validate=True)
    except binascii.Error:
        raise IntegrityError from None
    if base64.b64encode(raw).rstrip(b"=") != text:
        raise IntegrityError
    return raw
