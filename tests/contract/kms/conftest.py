"""Fixtures of the tests of keys and roots; a test that has its own `outside` says what is different."""

import pytest

from strongroom import bootstrap_roots
from strongroom.crypto import age
from strongroom.crypto.age import Identity
from strongroom.roots.settings import RootSettings
from tests.outside import Outside


@pytest.fixture
def outside(monkeypatch: pytest.MonkeyPatch) -> Outside:
    found = Outside()
    real = bootstrap_roots.Roots.build

    def build(roots: bootstrap_roots.Roots, settings: RootSettings) -> object:
        inside = settings.kind in {"age", "shares"}
        return real(roots, settings) if inside else found.provider(settings)

    monkeypatch.setattr(bootstrap_roots.Roots, "build", build)
    return found


@pytest.fixture
def identity() -> Identity:
    return age.new_identity()
