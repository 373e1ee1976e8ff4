"""Passwords of users: Argon2id hashes, and pauses after failures.

For an unknown user the same work is done as for a known one, so that the time of an answer does not tell which users
exist. A stored hash names its algorithm and cost, so that new defaults leave stored hashes valid.
"""

from datetime import datetime, timedelta
from functools import lru_cache
from typing import TYPE_CHECKING

from strongroom.clock import SKEW, parse_utc
from strongroom.crypto.secret import SecretBytes
from strongroom.errors import UsageError

if TYPE_CHECKING:
    from argon2 import PasswordHasher

MIN_CHARACTERS = 8
MAX_BYTES = 1024  # bounds the work of hashing a stranger's password
FREE_FAILURES = 5
MAX_PAUSE_S = 900
# failures of an account from all addresses together before it is paused, except for addresses known to it (findings S9)
FREE_FAILURES_EVERYWHERE = 100
# OWASP's minimum for Argon2id, some 30 ms: every tabcmd command signs in anew and pays for it
_MEMORY_KIB = 19_456
_PASSES = 2
_LANES = 1


def check_new(password: SecretBytes) -> None:
    """Refuse a new password that is not allowed.

    Raises:
        UsageError: The password is too short, too long, or no text.
    """
    if len(password) > MAX_BYTES:
        raise UsageError(f"the password is longer than {MAX_BYTES} bytes")
    try:
        characters = len(password.reveal().decode())
    except UnicodeDecodeError:
        # from None: the cause quotes the bytes
        raise UsageError("the password is not UTF-8 text") from None
    if characters < MIN_CHARACTERS:
        raise UsageError(f"the password is shorter than {MIN_CHARACTERS} characters")


def hash_password(password: SecretBytes) -> str:
    """The text to store for a password."""
    return _hasher().hash(password.reveal())


def verify(stored: str | None, password: SecretBytes) -> bool:
    """Whether the password is the stored one; None for `stored` takes the same time and is always false."""
    from argon2.exceptions import Argon2Error, InvalidHashError

    if len(password) > MAX_BYTES:
        return False
    try:
        _hasher().verify(stored if stored is not None else _dummy(), password.reveal())
    except (Argon2Error, InvalidHashError):
        return False
    return stored is not None


def needs_rehash(stored: str) -> bool:
    """Whether a stored hash has another cost than new ones get."""
    return _hasher().check_needs_rehash(stored)


def pause_s(failures: int, free: int = FREE_FAILURES) -> int:
    """Seconds of pause after a number of failures in a row: zero at first, then doubling."""
    if failures < free:
        return 0
    return min(MAX_PAUSE_S, 1 << min(failures - free, 20))


def is_paused(until: str | None, now: datetime) -> bool:
    """Whether a stored pause is still going on.

    A pause that would last longer than the longest one was stored by a clock that was ahead, and is ignored (findings
    K23): it could lock a user out for years.
    """
    if until is None:
        return False
    left = parse_utc(until) - now
    return timedelta(0) < left <= timedelta(seconds=MAX_PAUSE_S) + SKEW


@lru_cache(maxsize=1)
def _hasher() -> "PasswordHasher":
    from argon2 import PasswordHasher

    return PasswordHasher(time_cost=_PASSES, memory_cost=_MEMORY_KIB, parallelism=_LANES)


@lru_cache(maxsize=1)
def _dummy() -> str:
    return _hasher().hash(b"nobody")
