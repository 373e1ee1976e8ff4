"""AES-256-GCM (NIST SP 800-38D) with random 96-bit nonces: seal and open small values, wrap and unwrap keys.

A sealed value is nonce (12) ‖ ciphertext ‖ tag (16). Every call takes `aad`, none has a default: the aad names what the
ciphertext is, so that it does not open anywhere else.
"""

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from strongroom.crypto import rng
from strongroom.crypto.secret import SecretBytes
from strongroom.errors import IntegrityError

NONCE_BYTES = 12
TAG_BYTES = 16
OVERHEAD_BYTES = NONCE_BYTES + TAG_BYTES


def seal(key: SecretBytes, plaintext: bytes, *, aad: bytes) -> bytes:
    """Encrypt and authenticate under a fresh random nonce."""
    return seal_with_nonce(key, plaintext, aad=aad, nonce=rng.random_bytes(NONCE_BYTES))


def seal_with_nonce(key: SecretBytes, plaintext: bytes, *, aad: bytes, nonce: bytes) -> bytes:
    """The deterministic core of `seal`; the caller must never use a nonce twice with the same key (SP 800-38D section 8)."""
    return nonce + AESGCM(key.reveal()).encrypt(nonce, plaintext, aad)


def open_(key: SecretBytes, sealed: bytes, *, aad: bytes) -> bytes:
    """Decrypt a value that `seal` made.

    Raises:
        IntegrityError: The key or the aad is wrong, or the bytes were changed; the error does not say which.
    """
    if len(sealed) < OVERHEAD_BYTES:
        raise IntegrityError
    try:
        return AESGCM(key.reveal()).decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], aad)
    except InvalidTag:
        raise IntegrityError from None


def wrap(key: SecretBytes, *, kek: SecretBytes, aad: bytes) -> bytes:
    """Encrypt a key by a key-encryption key."""
    return seal(kek, key.reveal(), aad=aad)


def unwrap(wrapped: bytes, *, kek: SecretBytes, aad: bytes) -> SecretBytes:
    """Decrypt a key that `wrap` encrypted.

    Raises:
        IntegrityError: The key or the aad is wrong, or the bytes were changed.
    """
    return SecretBytes(open_(kek, wrapped, aad=aad))
