"""Fixtures of the tests of keys and roots."""

import pytest

from strongroom.crypto import age
from strongroom.crypto.age import Identity
from tests.support.memory_root import Outside


@pytest.fixture
def outside(monkeypatch: pytest.MonkeyPatch) -> Outside:
    found = Outside()
    found.stand_in(monkeypatch)
    return found


@pytest.fixture
def identity() -> Identity:
    return age.new_identity()
