"""A library of an extra that is not installed is told with the extra that brings it (issue 9 C)."""

import re
import tomllib
from pathlib import Path

import pytest

from strongroom.errors import ConsumerError, RootError
from strongroom.system.extras import needed

ROOT = Path(__file__).parents[3]


def test_a_missing_library_is_told_with_its_extra() -> None:
    with (
        pytest.raises(RootError, match="the HSM needs x") as caught,
        needed("the HSM needs x", "hsm", RootError),
    ):
        raise ModuleNotFoundError("x")
    assert caught.value.hint == "pip install 'strongroom[hsm]'"
    assert isinstance(caught.value.__cause__, ImportError)


def test_other_errors_pass() -> None:
    with pytest.raises(KeyError), needed("it needs x", "hsm", ConsumerError):
        raise KeyError("x")
    with needed("it needs x", "hsm", ConsumerError):
        pass


def test_every_extra_that_is_named_exists() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"][
        "optional-dependencies"
    ]
    named = [
        extra
        for path in (ROOT / "src").rglob("*.py")
        for extra in re.findall(r'needed\(\s*"[^"]*",\s*"(\w+)"', path.read_text())
    ]
    assert len(named) >= 9
    assert set(named) <= extras.keys()
