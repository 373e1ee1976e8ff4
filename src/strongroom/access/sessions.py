"""Session tokens: 256 random bits for the client, their hash for us, and how long they last; pure.

A token does not know the API version it was got by, and survives restarts, as tabcmd needs it.
"""

import base64
import hashlib
from datetime import datetime, timedelta

from strongroom.clock import parse_utc
from strongroom.crypto import rng
from strongroom.crypto.secret import SecretBytes

IDLE_LIMIT = timedelta(minutes=240)
# tabcmd signs in for every command and never signs out: the oldest go
MAX_PER_USER = 100
# a session's use is written at most this often, so that reads stay reads
TOUCH_INTERVAL = timedelta(seconds=60)
TOKEN_BYTES = 32
MAX_TOKEN_CHARACTERS = 512


def new_token() -> SecretBytes:
    """A fresh token as printable text."""
    return SecretBytes(base64.urlsafe_b64encode(rng.random_bytes(TOKEN_BYTES)).rstrip(b"="))


def hash_token(token: SecretBytes) -> str:
    """What is stored of a token; 256 random bits need no slow hash."""
    return hashlib.sha256(b"strongroom/v1/session\0" + token.reveal()).hexdigest()


def is_idle(last_seen_at: str, now: datetime) -> bool:
    """Whether a session was not used for longer than the limit."""
    return now - parse_utc(last_seen_at) > IDLE_LIMIT


def needs_touch(last_seen_at: str, now: datetime) -> bool:
    """Whether it is time to write that a session is in use."""
    return now - parse_utc(last_seen_at) >= TOUCH_INTERVAL
