"""Nearly every test of this door signs in, and none of them is about the cost of it."""

from collections.abc import Iterator

import pytest

from strongroom.access import passwords


@pytest.fixture(autouse=True, scope="module")
def hashing_costs_little() -> Iterator[None]:
    """Argon2id at its least cost: at the product's own it was a fifth of the time of these tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(passwords, "_MEMORY_KIB", 8)
        patch.setattr(passwords, "_PASSES", 1)
        _forget()
        yield
    _forget()


def _forget() -> None:
    passwords._hasher.cache_clear()
    passwords._dummy.cache_clear()
