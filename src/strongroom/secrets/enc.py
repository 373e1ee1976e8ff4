"""`ENC(base64)`: the stored form of one secret configuration value (docs/format/enc.md).

C-04, C-05, Q-10. Pure: callers pass the key. An error does not say why a value did not open.
"""

import base64
import binascii

from strongroom import ids
from strongroom.crypto import aead, kdf, labels, rng
from strongroom.crypto.secret import SecretBytes
from strongroom.errors import FormatError, UsageError

MAX_VALUE_BYTES = 4 << 20
"""Longest value: some ten thousand MEKs in `kms.persistent_store` (format/enc.md §1.3)."""

_PREFIX, _SUFFIX = "ENC(", ")"
_VERSION = 1
_KEY_ID_END = 17
_MIN_PAYLOAD = _KEY_ID_END + aead.OVERHEAD_BYTES
_FRAME = len(_PREFIX) + len(_SUFFIX)


def seal_value(key: SecretBytes, key_id: str, parameter: str, value: bytes) -> str:
    """Encrypt the value of one parameter under a configuration key.

    Args:
        key: The active configuration key.
        key_id: Id of that key.
        parameter: The parameter's name, to which the ciphertext is bound, so that it does not open as another
            parameter's value (format/enc.md §3.3).
        value: The value to encrypt.

    Raises:
        UsageError: The value is too long.
    """
    nonce = rng.random_bytes(aead.NONCE_BYTES)
    return seal_value_with_nonce(key, key_id, parameter, value, nonce=nonce)


def seal_value_with_nonce(
    key: SecretBytes, key_id: str, parameter: str, value: bytes, *, nonce: bytes
) -> str:
    """The deterministic core of `seal_value`, for vectors."""
    check_length(parameter, value)
    head = bytes([_VERSION]) + ids.id_bytes(key_id)
    sealed = aead.seal_with_nonce(_subkey(key), value, aad=_aad(head, parameter), nonce=nonce)
    return text_of(head + sealed)


def open_value(key: SecretBytes, parameter: str, text: str) -> bytes:
    """Decrypt a value that `seal_value` encrypted for this parameter.

    Raises:
        FormatError: The text is no `ENC(...)` of a known version.
        IntegrityError: Key or parameter are wrong, or bytes were changed (format/enc.md §3.4).
    """
    payload = _decode(text)
    head, sealed = payload[:_KEY_ID_END], payload[_KEY_ID_END:]
    return aead.open_(_subkey(key), sealed, aad=_aad(head, parameter))


def is_enc(text: str) -> bool:
    """Whether a text claims to be encrypted; no ordinary value may (format/enc.md §4.3)."""
    return text.startswith(_PREFIX)


def key_id_of(text: str) -> str:
    """The id of the configuration key that opens the value (format/enc.md §2.2), not authenticated.

    Raises:
        FormatError: The text is no `ENC(...)` of a known version.
    """
    return ids.id_text(_decode(text)[1:_KEY_ID_END])


def check_length(parameter: str, value: bytes) -> None:
    """Refuse a value that is too long, before it is encrypted (format/enc.md §1.3).

    Raises:
        UsageError: The value is too long.
    """
    if len(value) > MAX_VALUE_BYTES:
        raise UsageError(
            f"the value of {parameter!r} is longer than {MAX_VALUE_BYTES} bytes",
            hint="a secret is a password, a key or a certificate",
        )


def text_of(payload: bytes) -> str:
    """The text of a payload (format/enc.md §1.1)."""
    return _PREFIX + base64.b64encode(payload).decode("ascii") + _SUFFIX


def payload_of(text: str, *, version: int, least: int) -> bytes:
    """The payload of a text, of a known version and at least `least` bytes long.

    Raises:
        FormatError: The text is no `ENC(...)` of this version.
    """
    if not (text.startswith(_PREFIX) and text.endswith(_SUFFIX)):
        raise FormatError("not an encrypted value: it has not the form ENC(base64)")
    most = _FRAME + 4 * -(-(least + MAX_VALUE_BYTES) // 3)
    if len(text) > most:
        raise FormatError(f"an encrypted value is longer than {most} characters")
    inner = text[len(_PREFIX) : -len(_SUFFIX)]
    try:
        payload = base64.b64decode(inner, validate=True)
    except (binascii.Error, ValueError) as error:
        raise FormatError("an encrypted value is not base64") from error
    # format/enc.md §1.2: the last character's unused bits could else change unnoticed
    if base64.b64encode(payload).decode("ascii") != inner:
        raise FormatError("an encrypted value is not canonical base64")
    if payload[:1] != bytes([version]):  # format/enc.md §2.1
        raise FormatError(
            "an encrypted value has a version that is not known here",
            hint="it was written by a newer strongroom, or it is damaged",
        )
    if len(payload) < least:
        raise FormatError("an encrypted value is cut short")
    return payload


def _decode(text: str) -> bytes:
    return payload_of(text, version=_VERSION, least=_MIN_PAYLOAD)


def _subkey(key: SecretBytes) -> SecretBytes:
    return kdf.hkdf(key, salt=b"", info=labels.ENC)


def _aad(head: bytes, parameter: str) -> bytes:
    return labels.ENC + head + parameter.encode("utf-8")
