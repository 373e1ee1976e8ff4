"""Passwords of users: Argon2id hashes, the same work for unknown users, and pauses after failures.

A hash is a text that names its own algorithm and cost, so a later default changes no stored hash.
"""

from functools import lru_cache
from typing import TYPE_CHECKING

from strongroom.crypto.secret import SecretBytes
from strongroom.errors import UsageError

if TYPE_CHECKING:
    from argon2 import PasswordHasher

MIN_CHARACTERS = 8
MAX_BYTES = 1024  # nobody's password is longer; bounds the work of a request
FREE_FAILURES = 5
MAX_PAUSE_S = 900
# OWASP's minimum for Argon2id; some 30 ms. Every tabcmd command signs in anew and pays it.
_MEMORY_KIB = 19_456
_PASSES = 2
_LANES = 1


def check_new(password: SecretBytes) -> None:
    """Whether a password may be set.

    Raises:
        UsageError: It is too short, too long, or not text.
    """
    if len(password) > MAX_BYTES:
        raise UsageError(f"the password is longer than {MAX_BYTES} bytes")
    try:
        characters = len(password.reveal().decode())
    except UnicodeDecodeError:
        raise UsageError("the password is not UTF-8 text") from None  # the cause would show it
    if characters < MIN_CHARACTERS:
        raise UsageError(f"the password is shorter than {MIN_CHARACTERS} characters")


def hash_password(password: SecretBytes) -> str:
    """The text to store for a password."""
    return _hasher().hash(password.reveal())


def verify(stored: str | None, password: SecretBytes) -> bool:
    """Whether the password is the stored one; without a stored one the same work ends in no."""
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


def pause_s(failures: int) -> int:
    """Seconds without a sign-in after failures in a row: none at first, then doubling."""
    if failures < FREE_FAILURES:
        return 0
    return min(MAX_PAUSE_S, 1 << min(failures - FREE_FAILURES, 20))


@lru_cache(maxsize=1)
def _hasher() -> "PasswordHasher":
    from argon2 import PasswordHasher

    return PasswordHasher(time_cost=_PASSES, memory_cost=_MEMORY_KIB, parallelism=_LANES)


@lru_cache(maxsize=1)
def _dummy() -> str:
    return _hasher().hash(b"nobody")
