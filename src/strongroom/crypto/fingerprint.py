"""Fingerprints of an identity and of a node, which people compare with what is printed (docs/format/statements.md 2); pure."""

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
    return _of(labels.IDENTITY, public)


def of_node(signing_key: bytes, sealing_key: bytes) -> str:
    """The fingerprint of a node's two public keys (docs/format/nodes.md 1.3), in the same form.

    Raises:
        FormatError: A public key has another length.
    """
    return _of(labels.NODE_KEYS, signing_key, sealing_key)


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


def _of(label: bytes, *keys: bytes) -> str:
    for public in keys:
        if len(public) != signing.PUBLIC_BYTES:
            raise FormatError(f"a public key has {signing.PUBLIC_BYTES} bytes, not {len(public)}")
    digest = hashlib.sha256(label + b"".join(keys)).digest()
    return _grouped(base64.b32encode(digest).decode("ascii")[:_LETTERS].lower())


def _grouped(letters: str) -> str:
    return "-".join(letters[at : at + _GROUP] for at in range(0, _LETTERS, _GROUP))
