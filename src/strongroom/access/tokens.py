"""Personal access tokens: a secret of 256 random bits, shown once; its hash is kept; pure."""

import base64
import hashlib
from datetime import datetime, timedelta

from strongroom.clock import parse_utc
from strongroom.crypto import rng
from strongroom.crypto.secret import SecretBytes

PREFIX = b"srpat_"  # lets secret scanners find one that was published by mistake
SECRET_BYTES = 32
DEFAULT_LIFETIME = timedelta(days=365)
MAX_LIFETIME = timedelta(days=3650)


def new_secret() -> SecretBytes:
    """A fresh secret as printable text."""
    random = base64.urlsafe_b64encode(rng.random_bytes(SECRET_BYTES)).rstrip(b"=")
    return SecretBytes(PREFIX + random)


def hash_secret(secret: SecretBytes) -> str:
    """What is stored of a secret; 256 random bits need no slow hash."""
    return hashlib.sha256(b"strongroom/v1/access-token\0" + secret.reveal()).hexdigest()


def is_expired(expires_at: str | None, now: datetime) -> bool:
    """Whether a token's time is over; without one it has no end."""
    return expires_at is not None and now >= parse_utc(expires_at)
