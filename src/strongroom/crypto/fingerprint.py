"""The fingerprint of an identity, which people compare with what is printed (docs/format/statements.md 2); pure."""

import base64
import hashlib
import re

from strongroom.crypto import labels, signing
from strongroom.errors import FormatError, UsageError

_LETTERS = 20
_GROUP = 4


def of_identity(public: bytes) -> str:
    """The fingerprint of a public key: five groups of four letters and digits.

    Raises:
        FormatError: The public key has another length.
    """
    if len(public) != signing.PUBLIC_BYTES:
        raise FormatError(f"a public key has {signing.PUBLIC_BYTES} bytes, not {len(public)}")
    digest = hashlib.sha256(labels.IDENTITY + public).digest()
    return _grouped(base64.b32encode(digest).decode("ascii")[:_LETTERS].lower())


def parse(text: str) -> str:
    """The fingerprint that a person typed: capitals, and blanks or nothing instead of hyphens, mean the same.

    Raises:
        UsageError: The text is no whole fingerprint.
    """
    letters = re.sub(r"[\s-]", "", text).lower()
    if not re.fullmatch(rf"[a-z2-7]{{{_LETTERS}}}", letters):
        raise UsageError(
            "this is no fingerprint of an installation",
            hint="it has five groups of four letters and digits, as 'strongroom status' prints it",
        )
    return _grouped(letters)


def _grouped(letters: str) -> str:
    return "-".join(letters[at : at + _GROUP] for at in range(0, _LETTERS, _GROUP))
