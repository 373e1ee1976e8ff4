"""Passphrases that seal: twelve characters at least, or made here (X10 of the review of format 1)."""

import re

import pytest

from strongroom.crypto import age, passphrases
from strongroom.crypto.age import OpenWith, SealTo
from strongroom.crypto.secret import SecretBytes
from strongroom.errors import UsageError


@pytest.mark.parametrize(
    "text", ["Q", "elevenchars", "größer", "   elevenchars   ", " " * 40, "😀" * 11]
)
def test_a_short_passphrase_seals_nothing(text: str) -> None:
    """Characters are counted, not bytes, and blanks around them are none."""
    short = SecretBytes(text.encode())
    for refused in (
        lambda: passphrases.check_new(short),
        lambda: age.seal(b"x", SealTo(passphrase=short)),
    ):
        with pytest.raises(UsageError, match="at least 12 characters") as caught:
            refused()
        assert text.strip() == "" or text not in str(caught.value)


@pytest.mark.parametrize("text", ["twelve chars", "😀" * 12])
def test_twelve_characters_are_enough(text: str) -> None:
    phrase = SecretBytes(text.encode())
    assert passphrases.check_new(phrase) is phrase


@pytest.mark.parametrize(("raw", "says"), [(b"", "is empty"), (b"\xff" * 20, "not UTF-8")])
def test_a_passphrase_is_text(raw: bytes, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        passphrases.check_new(SecretBytes(raw))


def test_a_passphrase_that_is_made_seals_and_is_another_each_time() -> None:
    made = passphrases.make()
    assert re.fullmatch(r"([a-z2-7]{4}-){7}[a-z2-7]{4}", made.reveal().decode())
    assert made != passphrases.make()
    sealed = age.seal(b"content", SealTo(passphrase=made))
    assert age.open_sealed(sealed, OpenWith(passphrase=made)).reveal() == b"content"
