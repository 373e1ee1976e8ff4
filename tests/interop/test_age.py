"""The real age opens what strongroom seals, and the other way round; identities of the real age-keygen are read."""

import subprocess
from pathlib import Path

import pytest

from strongroom.crypto import age, shares
from strongroom.crypto.age import OpenWith, SealTo

pytestmark = pytest.mark.interop


def _run(*words: str, data: bytes = b"") -> bytes:
    return subprocess.run(words, input=data, capture_output=True, check=True).stdout


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    file = tmp_path / "key.txt"
    _run("age-keygen", "-o", str(file))
    return file


def test_identities_of_age_keygen_are_read(key_file: Path) -> None:
    (identity,) = age.parse_identities(key_file.read_bytes())
    assert identity.recipient == _run("age-keygen", "-y", str(key_file)).decode().strip()


def test_age_opens_what_is_sealed_here(key_file: Path) -> None:
    (identity,) = age.parse_identities(key_file.read_bytes())
    sealed = age.seal(b"from strongroom", SealTo((identity.recipient,)))
    assert _run("age", "-d", "-i", str(key_file), data=sealed) == b"from strongroom"


@pytest.mark.parametrize("form", [(), ("--armor",)], ids=["binary", "armored"])
def test_what_age_seals_opens_here(key_file: Path, form: tuple[str, ...]) -> None:
    (identity,) = age.parse_identities(key_file.read_bytes())
    sealed = _run("age", *form, "-r", identity.recipient, data=b"from age")
    assert age.is_sealed(sealed)
    assert age.open_sealed(sealed, OpenWith((identity,))).reveal() == b"from age"


def test_age_takes_a_recombined_identity(tmp_path: Path) -> None:
    """Without strongroom, a SLIP-39 tool and age open what was wrapped: no lock-in."""
    identity = age.new_identity()
    again = shares.combine(shares.split(identity, 2, 3)[1:])
    key_file = tmp_path / "key.txt"
    key_file.write_bytes(again.text.reveal())
    sealed = age.seal(b"x", SealTo((identity.recipient,)))
    assert _run("age", "-d", "-i", str(key_file), data=sealed) == b"x"
