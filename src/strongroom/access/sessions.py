"""Session tokens: 256 random bits for the client, a hash of them for the server, and the rules of their end; pure.

A token is valid for every version of the API, and survives restarts of the server, as tabcmd needs it.
"""

import base64
import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from strongroom.clock import is_future, parse_utc
from strongroom.crypto import labels, rng
from strongroom.crypto.secret import SecretBytes

IDLE_LIMIT = timedelta(minutes=240)
# tabcmd signs in for every command and never signs out. Beyond the first number, a user's sessions end that were not
# used for a while; beyond the second number, any.
MAX_PER_USER = 100
MAX_RECENT_PER_USER = 1000
QUIET = timedelta(minutes=5)
TOKEN_BYTES = 32
MAX_TOKEN_CHARACTERS = 512


def new_token() -> SecretBytes:
    """A fresh token as printable text."""
    return SecretBytes(base64.urlsafe_b64encode(rng.random_bytes(TOKEN_BYTES)).rstrip(b"="))


def hash_token(token: SecretBytes) -> str:
    """The hash that is stored for a token; 256 random bits cannot be guessed, so it need not be slow."""
    return hashlib.sha256(labels.SESSION + token.reveal()).hexdigest()


def has_ended(last_seen_at: str, now: datetime) -> bool:
    """Whether a session has been unused for longer than the limit, or its last use lies in the future.

    A use in the future was stored before the clock was set back; the session would otherwise live until then.
    """
    seen = parse_utc(last_seen_at)
    return now - seen > IDLE_LIMIT or is_future(seen, now)


@dataclass(frozen=True)
class Use:
    """The use of a session, by which its end is decided.

    Attributes:
        token_hash: The hash that identifies the session.
        created_at: When the session began.
        last_seen_at: When the session was last used.
    """

    token_hash: str = field(repr=False)
    created_at: str
    last_seen_at: str


def surplus(of_user: Iterable[Use], now: datetime) -> list[str]:
    """The sessions of a user to end when one more begins; a session in use is kept unless the second bound is reached."""
    # of two sessions that were last used in the same second, keep the one that was used after its sign-in
    order = sorted(
        of_user,
        key=lambda one: (one.last_seen_at, one.last_seen_at > one.created_at, one.created_at),
        reverse=True,
    )
    beyond = order[MAX_PER_USER - 1 :]
    quiet = [one for one in beyond if now - parse_utc(one.last_seen_at) > QUIET]
    return [one.token_hash for one in dict.fromkeys((*quiet, *order[MAX_RECENT_PER_USER - 1 :]))]
