"""Nearly every test of this door signs in, and none of them is about the cost of it."""

from collections.abc import Iterator

import pytest

from tests.support.cheap_passwords import hashing_costs_little


@pytest.fixture(autouse=True, scope="module")
def cheap_passwords() -> Iterator[None]:
    """At the product's own cost, hashing was a fifth of the time of these tests."""
    with hashing_costs_little():
        yield
