"""The interface to a service that gives out data keys, and the check of every data key before it is used.

`HttpKeyService` and `NodeKeyService` implement the interface; a program with keys of its own can implement another one.
"""

import base64
import binascii
from typing import Protocol

from strongroom.crypto.rng import KEY_BYTES
from strongroom.crypto.secret import SecretBytes
from strongroom.envelope.header import DEFAULT_SEGMENT_BYTES, Header, check_commitment
from strongroom.envelope.pages import parse_alone
from strongroom.errors import FormatError, KeyServiceError


class KeyService(Protocol):
    """Gives out the data key of one file at a time; the MEKs that wrap data keys never leave the service."""

    def generate(self, *, segment_bytes: int = DEFAULT_SEGMENT_BYTES) -> tuple[Header, SecretBytes]:
        """The header of a new file, and the fresh data key of 32 bytes that it holds.

        Args:
            segment_bytes: The size of the file's segments, a power of two from 4096 to 4194304.

        Raises:
            AuthenticationError: The credentials are wrong.
            PermissionDeniedError: The signed-in user may not have data keys.
            FormatError: The segments' size is not allowed.
            ConflictError: The service's keys changed during the request; ask again.
            KeyServiceError: The service cannot be reached, or its answer cannot be understood.
        """
        ...

    def unwrap(self, header: Header) -> SecretBytes:
        """The data key of 32 bytes that a header holds.

        Raises:
            AuthenticationError: The credentials are wrong.
            PermissionDeniedError: The signed-in user may not have data keys.
            IntegrityError: The header does not authenticate, or belongs to an extract of a site.
            KeyNotFoundError: The service has none of the MEKs that the header names.
            KeyServiceError: The service cannot be reached, or its answer cannot be understood.
        """
        ...


def generated(keys: KeyService, segment_bytes: int) -> tuple[Header, SecretBytes]:
    """The header and key of a new file, checked against each other (data-keys.md 1.6).

    Raises:
        IntegrityError: The header commits to another key, so a file encrypted with this key could never be opened.
        KeyServiceError: The header is for segments of another size.
        StrongroomError: The key service failed or refused.
    """
    header, dek = keys.generate(segment_bytes=segment_bytes)
    check_commitment(header.prelude, dek)
    if header.prelude.segment_bytes != segment_bytes:
        raise KeyServiceError("the key service gave a header for segments of another size")
    return header, dek


def unwrapped(keys: KeyService, header: Header) -> SecretBytes:
    """The key of a file, checked against its header (data-keys.md 1.6).

    Raises:
        IntegrityError: The header commits to another key.
        StrongroomError: The key service failed or refused.
    """
    dek = keys.unwrap(header)
    check_commitment(header.prelude, dek)
    return dek


def header_of(fields: object) -> Header:
    """The header page in an answer (data-keys.md 1.1).

    Raises:
        KeyServiceError: The answer holds no header page.
    """
    try:
        return parse_alone(_bytes(fields, "header"))
    except FormatError as error:
        raise KeyServiceError("the key service's answer holds no header page") from error


def key_of(fields: object) -> SecretBytes:
    """The data key in an answer (data-keys.md 1.1).

    Raises:
        KeyServiceError: The answer holds no data key.
    """
    key = _bytes(fields, "key")
    if len(key) != KEY_BYTES:
        raise KeyServiceError("the key service's answer holds no data key")
    return SecretBytes(key)


def _bytes(fields: object, name: str) -> bytes:
    text = fields.get(name) if isinstance(fields, dict) else None
    try:
        return base64.b64decode(text, validate=True) if isinstance(text, str) else b""
    except (binascii.Error, ValueError):
        return b""  # the text is not repeated in an error: it may be half a key
