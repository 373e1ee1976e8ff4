"""`ENC(base64)` of format 2: an encrypted configuration value that commits to its key (docs/format/seals.md 2).

Pure: callers pass the key.
"""

from collections.abc import Callable

from strongroom import ids
from strongroom.crypto import rng, seals
from strongroom.crypto.places import of_value
from strongroom.crypto.secret import SecretBytes
from strongroom.errors import IntegrityError
from strongroom.secrets import enc

_VERSION = 2
_KEY_ID_END = 17
_MIN_PAYLOAD = _KEY_ID_END + seals.OVERHEAD_BYTES


class ValueKey:
    """A configuration key of an installation, for the values that it encrypts."""

    def __init__(self, installation_id: str, key_id: str, key: SecretBytes) -> None:
        self._installation_id = installation_id
        self._key_id = key_id
        self._key = key

    def seal(self, parameter: str, value: bytes) -> str:
        """Encrypt the value of one parameter.

        Raises:
            UsageError: The value is too long.
        """
        return self.seal_with_salt(parameter, value, salt=rng.random_bytes(seals.SALT_BYTES))

    def seal_with_salt(self, parameter: str, value: bytes, *, salt: bytes) -> str:
        """The deterministic core of `seal`, for vectors."""
        enc.check_length(parameter, value)
        place = of_value(self._installation_id, self._key_id, parameter)
        sealed = seals.seal_with_salt(self._key, place, value, salt=salt)
        return enc.text_of(bytes([_VERSION]) + ids.id_bytes(self._key_id) + sealed)

    def open(self, parameter: str, text: str) -> bytes:
        """Decrypt a value that this key encrypted for this parameter of this installation.

        Raises:
            FormatError: The text is no `ENC(...)` of format 2.
            IntegrityError: The text names another key; or it was made by another one or for another parameter or
                installation; or it was changed.
        """
        named = key_id_of(text)
        if named != self._key_id:
            raise IntegrityError(f"a value was encrypted by the configuration key {named}")
        place = of_value(self._installation_id, self._key_id, parameter)
        return seals.open_(self._key, place, _decode(text)[_KEY_ID_END:])


def open_text(
    installation_id: str, open_key: Callable[[str], SecretBytes], parameter: str, text: str
) -> bytes:
    """Decrypt a value by the configuration key that its text names.

    Args:
        installation_id: The installation.
        open_key: Returns the configuration key of an id.
        parameter: The parameter whose value it is.
        text: The encrypted value.

    Raises:
        FormatError: The text is no `ENC(...)` of format 2.
        IntegrityError: The text was made by another key or for another parameter or installation, or was changed.
    """
    key_id = key_id_of(text)
    return ValueKey(installation_id, key_id, open_key(key_id)).open(parameter, text)


def key_id_of(text: str) -> str:
    """The id of the configuration key that a text names; not authenticated.

    Raises:
        FormatError: The text is no `ENC(...)` of format 2.
    """
    return ids.id_text(_decode(text)[1:_KEY_ID_END])


def _decode(text: str) -> bytes:
    return enc.payload_of(text, version=_VERSION, least=_MIN_PAYLOAD)
