"""HPKE (RFC 9180): seals to a public key, base mode, X25519 with HKDF-SHA256 and AES-256-GCM.

A sealed message is the encapsulated key (32) ‖ ciphertext ‖ tag (16). Every call takes `info`, none has a default: it
names what the message is, so that it does not open as anything else. Each message has a key of its own, so there is no
bound on their number.
"""

from typing import TYPE_CHECKING

from strongroom.crypto import rng
from strongroom.crypto.secret import SecretBytes
from strongroom.errors import FormatError, IntegrityError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.hpke import Suite

KEY_BYTES = 32


class SealingKey:
    """A private key, by which its holder opens what was sealed to the public one.

    Attributes:
        public: The 32 bytes of the public key.
    """

    def __init__(self, private: SecretBytes) -> None:
        """Take the private key, 32 random bytes.

        Raises:
            FormatError: The key has another length.
        """
        from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

        if len(private) != KEY_BYTES:
            raise FormatError(f"a key to receive has {KEY_BYTES} bytes, not {len(private)}")
        self._private = X25519PrivateKey.from_private_bytes(private.reveal())
        self.public = self._private.public_key().public_bytes_raw()

    def open(self, sealed: bytes, *, info: bytes) -> SecretBytes:
        """The message that was sealed to this key.

        Raises:
            IntegrityError: The key or the info is another one, or the bytes were changed; the error does not say which.
        """
        from cryptography.exceptions import InvalidTag

        try:
            return SecretBytes(_suite().decrypt(sealed, self._private, info=info))
        except InvalidTag:
            raise IntegrityError from None


def new_private() -> SecretBytes:
    """The bytes of a fresh private key."""
    return SecretBytes(rng.random_bytes(KEY_BYTES))


def seal(public: bytes, message: SecretBytes, *, info: bytes) -> bytes:
    """Seal a message to a public key.

    Raises:
        FormatError: The bytes are no public key, or one of a small order, to which nothing may be sealed.
    """
    from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PublicKey

    try:
        recipient = X25519PublicKey.from_public_bytes(public)
        return _suite().encrypt(message.reveal(), recipient, info=info)
    except ValueError:
        raise FormatError("these bytes are no key to which something can be sealed") from None


def _suite() -> "Suite":
    from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite

    return Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM)
