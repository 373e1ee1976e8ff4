"""Signed statements: one form for all that an identity, a credential or a node signs (docs/format/statements.md 1); pure.

The signature is over the purpose, the installation and the payload as it was received. A reader says beforehand which
purposes it takes, and looks at nothing else of a statement that has another one.
"""

from collections.abc import Collection
from enum import StrEnum
from typing import NamedTuple

from strongroom.crypto import labels, signing
from strongroom.crypto.signing import SigningKey
from strongroom.errors import FormatError, IntegrityError
from strongroom.ids import id_bytes, id_text

NO_INCARNATION = "00000000-0000-0000-0000-000000000000"
MAX_BYTES = 16 << 20
SIGNATURE_BYTES = 64
_ID_BYTES = 16
_LENGTH_BYTES = 4
_MAX_PURPOSE_BYTES = 64


class Purpose(StrEnum):
    """The purposes of statements; no signature for one is a signature for another."""

    WRAP_RMK = "wrap-rmk"
    WRAP_CONFIGURATION_KEY = "wrap-configuration-key"
    BOOTSTRAP = "bootstrap"
    MANIFEST = "manifest"
    LOG_KEY = "log-key"
    IDENTITY = "identity"
    ADMISSION = "admission"
    NODE_KEYS = "node-keys"
    WELCOME = "welcome"
    PREFLIGHT = "preflight"
    STAGE_DONE = "stage-done"
    REPORT = "report"
    ACKNOWLEDGEMENT = "acknowledgement"
    KEY_BUNDLE = "key-bundle"
    LOG_HEADS = "log-heads"
    CERTIFICATES = "shown-certificates"
    SOFTWARE = "software"
    DRAINED = "drained"


class Origin(NamedTuple):
    """The installation to which a statement belongs.

    Attributes:
        installation_id: The installation.
        incarnation: The id that a restored or copied cluster gets anew; sixteen zero bytes on a single node.
    """

    installation_id: str
    incarnation: str = NO_INCARNATION


class Statement(NamedTuple):
    """A statement without its signature.

    Attributes:
        purpose: The purpose.
        origin: The installation.
        payload: The content, in the bytes of that purpose (1.4).
    """

    purpose: Purpose
    origin: Origin
    payload: bytes

    @property
    def told(self) -> bytes:
        """The bytes before the signature (1.1)."""
        return (
            self.purpose.encode("ascii")
            + b"\0"
            + id_bytes(self.origin.installation_id)
            + id_bytes(self.origin.incarnation)
            + len(self.payload).to_bytes(_LENGTH_BYTES, "big")
            + self.payload
        )

    def signature(self, by: SigningKey) -> bytes:
        """The signature alone, for a place that has the payload already."""
        return by.sign(labels.SIGNED + self.told)

    def signed(self, by: SigningKey) -> bytes:
        """The statement with its signature behind it."""
        return self.told + self.signature(by)

    def check(self, signature: bytes, public: bytes) -> None:
        """Check a signature that stands alone.

        Raises:
            IntegrityError: The signature is not one of this key over this statement.
        """
        signing.verify(public, labels.SIGNED + self.told, signature)


def opened(raw: bytes, public: bytes, origin: Origin, purposes: Collection[Purpose]) -> Statement:
    """The statement of signed bytes, after its purpose, its origin and its signature were checked, in this order (1.3).

    Args:
        raw: The statement with its signature.
        public: The key that must have signed.
        origin: The installation to which the statement must belong.
        purposes: The purposes that are taken here.

    Raises:
        FormatError: The bytes are no statement.
        IntegrityError: The purpose, the installation or the key is another one, or the bytes were changed.
    """
    purpose, rest = _purpose(raw)
    if purpose not in purposes:
        raise IntegrityError("a signed statement is of a purpose that is not taken here")
    if len(rest) < 2 * _ID_BYTES + _LENGTH_BYTES + SIGNATURE_BYTES or len(raw) > MAX_BYTES:
        raise FormatError("a signed statement has a length that none has")
    found = Origin(id_text(rest[:_ID_BYTES]), id_text(rest[_ID_BYTES : 2 * _ID_BYTES]))
    if found != origin:
        raise IntegrityError("a signed statement is of another installation")
    rest = rest[2 * _ID_BYTES :]
    length, payload = int.from_bytes(rest[:_LENGTH_BYTES], "big"), rest[_LENGTH_BYTES:]
    if length != len(payload) - SIGNATURE_BYTES:
        raise FormatError("a signed statement is longer or shorter than it says")
    statement = Statement(Purpose(purpose), origin, payload[:length])
    statement.check(payload[length:], public)
    return statement


def _purpose(raw: bytes) -> tuple[str, bytes]:
    name, end, _ = raw[: _MAX_PURPOSE_BYTES + 1].partition(b"\0")
    if not end or not name.isascii():
        raise FormatError("these bytes are no signed statement")
    return name.decode("ascii"), raw[len(name) + 1 :]
