"""Ed25519 signatures (RFC 8032), for the checkpoints of the event log."""

from strongroom.crypto.secret import SecretBytes
from strongroom.errors import FormatError, IntegrityError

SEED_BYTES = 32
PUBLIC_BYTES = 32


class SigningKey:
    """A private key.

    Attributes:
        public: The 32 bytes of the public key.
    """

    def __init__(self, seed: SecretBytes) -> None:
        """Take a seed of 32 random bytes.

        Raises:
            FormatError: The seed has another length.
        """
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

        if len(seed) != SEED_BYTES:
            raise FormatError(f"a signing key has {SEED_BYTES} bytes, not {len(seed)}")
        self._private = Ed25519PrivateKey.from_private_bytes(seed.reveal())
        self.public = self._private.public_key().public_bytes_raw()

    def sign(self, message: bytes) -> bytes:
        """The 64 bytes of the signature."""
        return self._private.sign(message)


def verify(public: bytes, message: bytes, signature: bytes) -> None:
    """Check a signature.

    Raises:
        IntegrityError: The signature is not one of this key over this message.
    """
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, message)
    except (InvalidSignature, ValueError) as error:
        raise IntegrityError("the signature does not verify") from error
