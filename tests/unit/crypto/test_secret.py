"""Secrets that cannot be shown by accident (S17), and fresh randomness."""

import pickle

import pytest

from strongroom.crypto import rng
from strongroom.crypto.secret import SecretBytes


def test_no_text_form_shows_the_material() -> None:
    secret = SecretBytes(b"material")
    for text in (str(secret), repr(secret), f"{secret}", f"{secret!r}", str([secret])):
        assert "material" not in text
    assert secret.reveal() == b"material"
    assert len(secret) == 8


def test_secrets_are_neither_pickled_nor_hashed() -> None:
    with pytest.raises(TypeError, match="not pickled"):
        pickle.dumps(SecretBytes(b"x"))
    with pytest.raises(TypeError):
        hash(SecretBytes(b"x"))


def test_secrets_compare_by_material() -> None:
    assert SecretBytes(b"x") == SecretBytes(b"x")
    assert SecretBytes(b"x") != SecretBytes(b"y")
    assert SecretBytes(b"x") != b"x"


def test_randomness_is_fresh_and_of_its_length() -> None:
    assert len(rng.random_bytes(7)) == 7
    assert rng.new_key() != rng.new_key()
    assert len(rng.new_key()) == 32
    password = rng.new_password().reveal()
    assert len(password) == 43
    assert password.isascii()
    assert password != rng.new_password().reveal()
