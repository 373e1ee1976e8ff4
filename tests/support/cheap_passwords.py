"""Passwords of users at nearly Argon2id's least cost, for tests that sign in often and are not about the cost of it."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from strongroom.access import passwords


@contextmanager
def hashing_costs_little() -> Iterator[None]:
    """Hash so until the end of the block; at the product's own cost a test of pauses computed for seven seconds."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(passwords, "_MEMORY_KIB", 16)  # the least one is that of an older hash
        patch.setattr(passwords, "_PASSES", 1)
        _forget()
        yield
    _forget()


def _forget() -> None:
    passwords._hasher.cache_clear()
    passwords._dummy.cache_clear()
