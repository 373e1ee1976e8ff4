"""Tests of pauses fail to sign in hundreds of times; how often counts, and not what a try costs."""

from collections.abc import Iterator

import pytest

from tests.support.cheap_passwords import hashing_costs_little


@pytest.fixture(autouse=True, scope="module")
def cheap_passwords() -> Iterator[None]:
    """At the product's own cost, hashing was most of the time of these tests."""
    with hashing_costs_little():
        yield
