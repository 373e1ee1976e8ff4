"""Single-shot seals of format 2: each commits to its key and to its place (docs/format/seals.md); pure.

A seal is salt (32) ‖ commitment (32) ‖ ciphertext ‖ tag (16). Key, nonce and commitment come from one derivation with the
salt and the place, so a seal opens under one key and at one place only, and nothing but the salt is random.
"""

import hmac
from typing import NamedTuple

from strongroom.crypto import aead, kdf, labels, rng
from strongroom.crypto.secret import SecretBytes
from strongroom.errors import FormatError, IntegrityError

SALT_BYTES = 32
COMMITMENT_BYTES = 32
OVERHEAD_BYTES = SALT_BYTES + COMMITMENT_BYTES + aead.TAG_BYTES
_KEY_BYTES = 32
_NONCE_END = _KEY_BYTES + aead.NONCE_BYTES
_OKM_BYTES = _NONCE_END + COMMITMENT_BYTES
_CIPHERTEXT = SALT_BYTES + COMMITMENT_BYTES


class Place(NamedTuple):
    """The place of a seal: the purpose, and the ids of what is sealed. `places` makes one for each purpose.

    Attributes:
        label: The label of the purpose, one of `labels.SEALS`.
        fields: The ids and numbers of the place, in the order of that table.
    """

    label: bytes
    fields: tuple[bytes, ...]

    @property
    def info(self) -> bytes:
        """The bytes that stand for this place and for no other (1.2)."""
        return labels.framed(self.label, *self.fields)


class _Derived(NamedTuple):
    """The three parts that one derivation gives (1.1)."""

    key: SecretBytes
    nonce: bytes
    commitment: bytes


def seal(key: SecretBytes, place: Place, plaintext: bytes) -> bytes:
    """Seal a value for a place, with a fresh salt."""
    return seal_with_salt(key, place, plaintext, salt=rng.random_bytes(SALT_BYTES))


def seal_with_salt(key: SecretBytes, place: Place, plaintext: bytes, *, salt: bytes) -> bytes:
    """The deterministic core of `seal`, for vectors; the caller must never use a salt twice with one key and place."""
    parts = _derive(key, place, salt)
    sealed = aead.seal_with_nonce(parts.key, plaintext, aad=b"", nonce=parts.nonce)
    return salt + parts.commitment + sealed[aead.NONCE_BYTES :]


def open_(key: SecretBytes, place: Place, sealed: bytes) -> bytes:
    """Open a value that `seal` sealed; nothing is decrypted before the commitment fits (1.3).

    Raises:
        FormatError: The bytes are too short for a seal.
        IntegrityError: The key or the place is another one, or the bytes were changed. Of the first two the error cannot
            say which: both are in the derived key.
    """
    if len(sealed) < OVERHEAD_BYTES:
        raise FormatError(
            f"a seal is cut short: it has {len(sealed)} bytes, and every seal at least {OVERHEAD_BYTES}"
        )
    parts = _derive(key, place, sealed[:SALT_BYTES])
    if not hmac.compare_digest(parts.commitment, sealed[SALT_BYTES:_CIPHERTEXT]):
        raise IntegrityError("a value was sealed under another key, or for another place")
    try:
        return aead.open_(parts.key, parts.nonce + sealed[_CIPHERTEXT:], aad=b"")
    except IntegrityError:
        raise IntegrityError("a sealed value was changed or cut after it was sealed") from None


def wrap(key: SecretBytes, place: Place, *, kek: SecretBytes) -> bytes:
    """Seal a key by a key-encryption key."""
    return seal(kek, place, key.reveal())


def unwrap(wrapped: bytes, place: Place, *, kek: SecretBytes) -> SecretBytes:
    """Open a key that `wrap` sealed.

    Raises:
        FormatError: The bytes are too short for a seal.
        IntegrityError: The key-encryption key or the place is another one, or the bytes were changed.
    """
    return SecretBytes(open_(kek, place, wrapped))


def _derive(key: SecretBytes, place: Place, salt: bytes) -> _Derived:
    okm = kdf.hkdf(key, salt=salt, info=place.info, length=_OKM_BYTES).reveal()
    return _Derived(
        SecretBytes(okm[:_KEY_BYTES]), okm[_KEY_BYTES:_NONCE_END], okm[_NONCE_END:_OKM_BYTES]
    )
