"""SCRAM-SHA-256 verifiers: the exchange of RFC 7677 §3, the examples of RFC 4013 §3, and what PostgreSQL stores."""

import base64
import hashlib
import hmac
import re

import pytest

from strongroom.crypto import scram
from strongroom.crypto.secret import SecretBytes

# RFC 7677 §3: user "user", password "pencil"
SALT = base64.b64decode("W22ZaJ0SNY7soEsUEjb6gQ==")
FIRST = "n=user,r=rOprNGfwEbeRWgbNEkqO"
NONCE = "rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"
EXCHANGE = f"{FIRST},r={NONCE},s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096,c=biws,r={NONCE}".encode()
PROOF = base64.b64decode("dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=")
SIGNATURE = "6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="


def test_keys_fit_the_exchange_of_rfc_7677() -> None:
    """RFC 7677 §3: the published proof opens with our StoredKey, the signature comes from our ServerKey."""
    stored, server = scram.keys(SecretBytes(b"pencil"), salt=SALT, iterations=4096)
    signed = hmac.digest(stored, EXCHANGE, "sha256")
    client = bytes(a ^ b for a, b in zip(signed, PROOF, strict=True))
    assert hashlib.sha256(client).digest() == stored
    assert base64.b64encode(hmac.digest(server, EXCHANGE, "sha256")).decode() == SIGNATURE


def test_a_verifier_has_the_form_that_postgresql_stores() -> None:
    text = scram.verifier(SecretBytes(b"pencil"), salt=SALT, iterations=4096).reveal().decode()
    stored, server = scram.keys(SecretBytes(b"pencil"), salt=SALT, iterations=4096)
    found = re.fullmatch(r"SCRAM-SHA-256\$4096:([^$:]+)\$([^$:]+):([^$:]+)", text)
    assert found is not None
    assert [base64.b64decode(part) for part in found.groups()] == [SALT, stored, server]


def test_the_default_iterations_are_those_of_rfc_7677() -> None:
    text = scram.verifier(SecretBytes(b"pencil"), salt=SALT).reveal()
    assert text.startswith(b"SCRAM-SHA-256$15000:")


@pytest.mark.parametrize(("salt", "iterations"), [(b"", 4096), (SALT, 4095)])
def test_weak_parameters_are_refused(salt: bytes, iterations: int) -> None:
    with pytest.raises(ValueError, match="at least 4096"):
        scram.verifier(SecretBytes(b"pencil"), salt=salt, iterations=iterations)


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ("user", "user"),
        ("USER", "USER"),
        ("I\u00adX", "IX"),  # RFC 4013 §3, example 1
        ("\u00aa", "a"),  # example 4
        ("\u2168", "IX"),  # example 5
        ("a\u00a0b", "a b"),
        ("a\u200bb", "a b"),  # in two tables of RFC 3454
        ("\u0627\u0628", "\u0627\u0628"),  # wholly from right to left
        ("e\u0301", "\u00e9"),
    ],
)
def test_passwords_are_prepared(given: str, wanted: str) -> None:
    assert scram.prepared(given.encode()) == wanted.encode()


@pytest.mark.parametrize(
    "password",
    [
        b"\x07",  # RFC 4013 §3, example 6
        "\u06271".encode(),  # example 7: does not end from right to left
        "\u0627a\u0628".encode(),  # both directions
        "\u00e9\u0007".encode(),
        "\u00ad".encode(),  # nothing is left
        "\u0378".encode(),  # unassigned
        "\u00e9\u0340".encode(),
        b"\xff\xfe",
    ],
)
def test_passwords_that_cannot_be_prepared_stay_as_they_are(password: bytes) -> None:
    """PostgreSQL takes the raw bytes where SASLprep refuses, on both sides of a login."""
    assert scram.prepared(password) == password
