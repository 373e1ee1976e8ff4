"""`ENC(...)` values: clauses of docs/format/enc.md, C-04, C-05, Q-10."""

import base64
import re

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from strongroom.crypto.secret import SecretBytes
from strongroom.errors import FormatError, IntegrityError, UsageError
from strongroom.secrets import enc

KEY = SecretBytes(bytes(range(32)))
KEY_ID = "8ddd70df-be67-4dbf-9c35-1f0aa2421521"
NAME = "pgsql.readonly_password"


def _payload(text: str) -> bytes:
    return base64.b64decode(text[4:-1])


def _text(payload: bytes) -> str:
    return f"ENC({base64.b64encode(payload).decode()})"


def test_round_trip_and_form() -> None:
    """C-04: the text has the seeds' form and opens to the value."""
    text = enc.seal_value(KEY, KEY_ID, NAME, b"password")
    assert re.fullmatch(r"ENC\([A-Za-z0-9+/=]+\)", text)
    assert enc.is_enc(text)
    assert enc.key_id_of(text) == KEY_ID
    assert enc.open_value(KEY, NAME, text) == b"password"


def test_each_encryption_differs() -> None:
    """format/enc.md §4.2."""
    first, second = (enc.seal_value(KEY, KEY_ID, NAME, b"same") for _ in range(2))
    assert first != second


def test_an_independent_implementation_opens_it() -> None:
    """C-05: AES-256-GCM as the format document describes it, from its clauses alone."""
    payload = _payload(enc.seal_value(KEY, KEY_ID, NAME, b"secret"))
    subkey = HKDF(SHA256(), 32, None, b"strongroom/v1/enc").derive(KEY.reveal())
    aad = b"strongroom/v1/enc" + payload[:17] + NAME.encode()
    assert AESGCM(subkey).decrypt(payload[17:29], payload[29:], aad) == b"secret"
    assert payload[0] == 1
    assert payload[1:17].hex() == KEY_ID.replace("-", "")


def test_known_answer() -> None:
    """The format never changes under a stored value."""
    text = enc.seal_value_with_nonce(KEY, KEY_ID, NAME, b"password", nonce=bytes(12))
    assert text == ("ENC(AY3dcN++Z02/nDUfCqJCFSEAAAAAAAAAAAAAAAA6rwlKqz7n7pJhAdfrsrGCr0hGNO47K+Y=)")


def test_moved_to_another_parameter() -> None:
    """Q-10: the parameter's name is bound."""
    text = enc.seal_value(KEY, KEY_ID, NAME, b"x")
    with pytest.raises(IntegrityError):
        enc.open_value(KEY, "pgsql.remote_password", text)


def test_wrong_key_and_other_key_id() -> None:
    """format/enc.md §3.4: one error for both."""
    text = enc.seal_value(KEY, KEY_ID, NAME, b"x")
    with pytest.raises(IntegrityError) as wrong_key:
        enc.open_value(SecretBytes(bytes(32)), NAME, text)
    payload = bytearray(_payload(text))
    payload[1:17] = bytes(16)
    with pytest.raises(IntegrityError) as wrong_id:
        enc.open_value(KEY, NAME, _text(bytes(payload)))
    assert str(wrong_key.value) == str(wrong_id.value)


def test_every_bit_of_the_payload() -> None:
    """No bit can change: 45 bytes of frame and the value."""
    payload = _payload(enc.seal_value(KEY, KEY_ID, NAME, b"abc"))
    for bit in range(len(payload) * 8):
        changed = bytearray(payload)
        changed[bit // 8] ^= 1 << (bit % 8)
        with pytest.raises((IntegrityError, FormatError)):
            enc.open_value(KEY, NAME, _text(bytes(changed)))


def test_truncated_at_every_length() -> None:
    text = enc.seal_value(KEY, KEY_ID, NAME, b"abc")
    for length in range(len(text)):
        with pytest.raises((IntegrityError, FormatError)):
            enc.open_value(KEY, NAME, text[:length])
    payload = _payload(text)
    for length in range(len(payload)):
        with pytest.raises((IntegrityError, FormatError)):
            enc.open_value(KEY, NAME, _text(payload[:length]))


@pytest.mark.parametrize(
    "change",
    [
        lambda text: f" {text}",
        lambda text: f"{text} ",
        lambda text: f"{text}\n",
        lambda text: text.replace("ENC(", "ENC( "),
        lambda text: text.replace("ENC(", "enc("),
        lambda text: f"{text[:20]}\n{text[20:]}",
        lambda text: text[:-1] + "=)",
        lambda text: text.replace("ENC(A", "ENC(\u00e4"),
        lambda text: text.replace("ENC(A", "ENC(-"),
        lambda _: "ENC()",
        lambda _: "ENC(",
        lambda _: "",
        lambda text: "ENC(" + "A" * (8 << 20) + ")" + text[:0],
    ],
    ids=[
        "blank before",
        "blank after",
        "line break after",
        "blank inside",
        "lower case",
        "line break inside",
        "padding too much",
        "no ASCII",
        "URL alphabet",
        "empty",
        "open",
        "nothing",
        "too long",
    ],
)
def test_one_form_only(change) -> None:  # type: ignore[no-untyped-def]  # noqa: ANN001
    """format/enc.md §1.1, §1.2, §1.3."""
    text = change(enc.seal_value(KEY, KEY_ID, NAME, b"abc"))
    with pytest.raises(FormatError):
        enc.open_value(KEY, NAME, text)
    with pytest.raises(FormatError):
        enc.key_id_of(text)


def test_unused_bits_of_the_last_character_are_zero() -> None:
    """format/enc.md §1.2: lax decoders would take these texts for the same value."""
    text = enc.seal_value(KEY, KEY_ID, NAME, b"ab")
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    body, padding = text[4:-1].rstrip("="), "=" * text.count("=", -3)
    assert padding == "="
    twin = alphabet[alphabet.index(body[-1]) + 1]
    with pytest.raises(FormatError, match="canonical"):
        enc.open_value(KEY, NAME, f"ENC({body[:-1]}{twin}{padding})")


def test_too_long_a_value() -> None:
    with pytest.raises(UsageError):
        enc.seal_value(KEY, KEY_ID, NAME, bytes(enc.MAX_VALUE_BYTES + 1))


def test_the_longest_value() -> None:
    text = enc.seal_value(KEY, KEY_ID, NAME, bytes(enc.MAX_VALUE_BYTES))
    assert len(enc.open_value(KEY, NAME, text)) == enc.MAX_VALUE_BYTES


def test_a_bad_key_id() -> None:
    with pytest.raises(FormatError):
        enc.seal_value(KEY, "no id", NAME, b"x")


def test_plain_values_are_not_enc() -> None:
    assert not enc.is_enc("password")


def test_a_value_of_another_version_is_none_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    """format/enc.md §2.1; findings M3: sealed whole and right by a newer version, it is refused."""
    with monkeypatch.context() as newer:
        newer.setattr(enc, "_VERSION", 2)
        text = enc.seal_value(KEY, KEY_ID, NAME, b"password")
        assert enc.open_value(KEY, NAME, text) == b"password"
    for ask in (lambda: enc.open_value(KEY, NAME, text), lambda: enc.key_id_of(text)):
        with pytest.raises(FormatError, match="a version that is not known here"):
            ask()
