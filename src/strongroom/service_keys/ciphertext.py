"""The texts in which versions of service keys give what they made: `vault:v1:…`; pure and strict (service-keys.md 2.2)."""

import base64
import binascii
import re
from typing import NamedTuple

from strongroom.errors import UsageError

PREFIX = "vault:v"
_FORM = re.compile(r"vault:v([1-9][0-9]{0,5}):([A-Za-z0-9+/]*={0,2})")


class Made(NamedTuple):
    """Bytes, and the version that made them."""

    version: int
    data: bytes


def render(version: int, data: bytes) -> str:
    """The text of some bytes."""
    return f"{PREFIX}{version}:{base64.b64encode(data).decode()}"


def parse(text: object, what: str = "ciphertext") -> Made:
    """The bytes of a text, and their version.

    Raises:
        UsageError: The text has another form.
    """
    if not isinstance(text, str) or not text.startswith(PREFIX):
        raise UsageError(f"invalid {what}: no prefix")
    found = _FORM.fullmatch(text)
    if found is None:
        raise UsageError(f"invalid {what}: could not decode it")
    return Made(int(found[1]), decoded(found[2], what))


def decoded(text: object, what: str) -> bytes:
    """The bytes of a text in base64.

    Raises:
        UsageError: The text is no base64.
    """
    if not isinstance(text, str):
        raise UsageError(f"{what} is missing, or no text")
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise UsageError(f"failed to base64-decode {what}") from None


def encoded(data: bytes) -> str:
    """Bytes as base64."""
    return base64.b64encode(data).decode()
