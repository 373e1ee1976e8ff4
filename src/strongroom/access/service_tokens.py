"""Tokens of services and secret ids of their roles: 192 random bits and more, of which only a hash is stored; pure."""

import base64
import hashlib
import re
from datetime import timedelta

from strongroom.crypto import labels, rng
from strongroom.crypto.secret import SecretBytes
from strongroom.errors import UsageError

PREFIX = b"hvs."
"""How a token of Vault begins, so that secret scanners find one that was published by mistake."""
BYTES = 32
MAX_CHARACTERS = 512
DEFAULT_TTL = timedelta(days=32)
MAX_TTL = timedelta(days=32)
_NUMBER = re.compile(r"[0-9]{1,15}")
_DURATION = re.compile(r"(?:[0-9]{1,9}(?:d|h|m|s)){1,8}")
_PART = re.compile(r"([0-9]{1,9})(d|h|m|s)")
_SECONDS = {"d": 86_400, "h": 3600, "m": 60, "s": 1}
LONGEST_S = 100 * 365 * 86_400


def new_token() -> SecretBytes:
    """A fresh token as printable text."""
    return SecretBytes(PREFIX + _text())


def new_secret_id() -> SecretBytes:
    """A fresh secret id: a token without the prefix, since alone it opens nothing."""
    return SecretBytes(_text())


def hash_of(secret: SecretBytes) -> str:
    """The hash that is stored; random bits cannot be guessed, so it need not be slow."""
    return hashlib.sha256(labels.SERVICE_TOKEN + secret.reveal()).hexdigest()


def seconds(value: object, what: str = "ttl") -> int:
    """A duration as clients write one: `1h`, `90m`, `2h30m`, `30d`, or seconds as a number or text; empty is 0.

    Raises:
        UsageError: The value is no duration.
    """
    if isinstance(value, bool) or not isinstance(value, int | str | None):
        raise UsageError(f"{what} is no duration", hint="write 1h, 90m, or seconds")
    if isinstance(value, int) or not value or _NUMBER.fullmatch(value):
        found = int(value or 0)
    elif _DURATION.fullmatch(value):
        found = sum(int(count) * _SECONDS[unit] for count, unit in _PART.findall(value))
    else:
        raise UsageError(f"{what} is no duration: {value[:40]!r}", hint="write 1h, 90m, or seconds")
    if not 0 <= found <= LONGEST_S:
        raise UsageError(f"{what} is no duration: {str(value)[:40]!r}")
    return found


def _text() -> bytes:
    return base64.urlsafe_b64encode(rng.random_bytes(BYTES)).rstrip(b"=")
