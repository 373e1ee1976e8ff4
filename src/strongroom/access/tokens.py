"""Personal access tokens: a secret of 256 random bits, shown once, of which the hash is stored; pure."""

import base64
import hashlib
from datetime import datetime, timedelta

from strongroom.clock import is_future, parse_utc
from strongroom.crypto import labels, rng
from strongroom.crypto.secret import SecretBytes

PREFIX = b"srpat_"  # lets secret scanners find a token that was published by mistake
SECRET_BYTES = 32
DEFAULT_LIFETIME = timedelta(days=365)
MAX_LIFETIME = timedelta(days=3650)


def new_secret() -> SecretBytes:
    """A fresh secret as printable text."""
    random = base64.urlsafe_b64encode(rng.random_bytes(SECRET_BYTES)).rstrip(b"=")
    return SecretBytes(PREFIX + random)


def hash_secret(secret: SecretBytes) -> str:
    """The hash that is stored for a secret; 256 random bits cannot be guessed, so it need not be slow."""
    return hashlib.sha256(labels.ACCESS_TOKEN + secret.reveal()).hexdigest()


def why_invalid(created_at: str, expires_at: str | None, now: datetime) -> str:
    """The reason why a token is not valid now; empty if it is valid. A token without `expires_at` never expires.

    A token whose creation lies in the future was made while the clock was ahead, and would be valid for longer than its
    user was told.
    """
    if expires_at is not None and now >= parse_utc(expires_at):
        return "expired token"
    return "token of the future" if is_future(parse_utc(created_at), now) else ""
