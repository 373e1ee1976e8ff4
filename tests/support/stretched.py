"""Remembers what stretching gave: most nodes of a run are copies of a few, and each opening derives the same keys anew.

PBKDF2 gives the same for the same input, so nothing that a test sees is another; a keystore of ten thousand iterations costs
each opening four milliseconds, a tenth of what a test of a cluster computes.
"""

import hashlib
from functools import lru_cache

_KEPT = 128


def remembered() -> None:
    """Have this process, and its forks, derive each key once."""
    hashlib.pbkdf2_hmac = lru_cache(maxsize=_KEPT)(hashlib.pbkdf2_hmac)  # type: ignore[assignment]
