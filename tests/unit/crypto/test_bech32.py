"""Bech32 against age's own texts, and its checksum against slips."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strongroom.crypto import age, bech32
from strongroom.errors import FormatError


def test_it_reads_and_writes_what_age_does() -> None:
    text = age.new_identity().text.reveal().decode().lower()
    data = bech32.decode(text, "age-secret-key-")
    assert len(data) == 32
    assert bech32.encode("age-secret-key-", data) == text


@given(st.binary(max_size=70))
def test_every_byte_string_comes_back(data: bytes) -> None:
    assert bech32.decode(bech32.encode("x", data), "x") == data


def test_one_wrong_letter_is_always_found() -> None:
    text = bech32.encode("age", bytes(range(32)))
    for place in range(4, len(text)):
        wrong = text[:place] + ("q" if text[place] != "q" else "p") + text[place + 1 :]
        with pytest.raises(FormatError, match="checksum"):
            bech32.decode(wrong, "age")


@pytest.mark.parametrize("text", ["", "age1", "age1bbbbbbbbb", "other1qqqqqqqq"])
def test_other_texts_are_refused(text: str) -> None:
    with pytest.raises(FormatError, match="no bech32"):
        bech32.decode(text, "age")


def test_bits_left_over_are_refused() -> None:
    groups = [0, 1]  # eight bits and two that must be zero
    tail = bech32._polymod([*bech32._expanded("x"), *groups, *[0] * 6]) ^ 1
    checksum = [(tail >> 5 * (5 - place)) & 31 for place in range(6)]
    text = "x1" + "".join(bech32._ALPHABET[group] for group in [*groups, *checksum])
    with pytest.raises(FormatError, match="left over"):
        bech32.decode(text, "x")
