"""The identity of an installation: what it has signed, and the fingerprint by which people know it again; pure.

docs/format/statements.md. The public half is no secret, and anybody may write it beside anything: whose it is, a reader
learns from the fingerprint that was noted elsewhere.
"""

from typing import NamedTuple

from strongroom.crypto import fingerprint
from strongroom.crypto.secret import SecretBytes
from strongroom.crypto.signing import SigningKey
from strongroom.crypto.statements import Origin, Purpose, Statement


class InstallationIdentity(NamedTuple):
    """The public half of an identity.

    Attributes:
        origin: The installation.
        public: The public key, 32 bytes.
    """

    origin: Origin
    public: bytes

    @property
    def fingerprint(self) -> str:
        """The fingerprint, as it is printed.

        Raises:
            FormatError: The public key has another length.
        """
        return fingerprint.of_identity(self.public)

    def check(self, purpose: Purpose, payload: bytes, signature: bytes) -> None:
        """Check that this identity has signed a payload for a purpose.

        Raises:
            IntegrityError: The signature is not by this identity, or for another purpose, payload or installation.
        """
        Statement(purpose, self.origin, payload).check(signature, self.public)


class IdentityKey:
    """The private half of an identity.

    Attributes:
        identity: The public half.
    """

    def __init__(self, origin: Origin, seed: SecretBytes) -> None:
        """Take the seed.

        Raises:
            FormatError: The seed has another length.
        """
        self._key = SigningKey(seed)
        self.identity = InstallationIdentity(origin, self._key.public)

    @property
    def fingerprint(self) -> str:
        """The fingerprint of the public half."""
        return self.identity.fingerprint

    def sign(self, purpose: Purpose, payload: bytes) -> bytes:
        """The signature of a payload for a purpose, 64 bytes."""
        return Statement(purpose, self.identity.origin, payload).signature(self._key)
