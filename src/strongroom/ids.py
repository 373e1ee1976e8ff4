"""Identifiers: distinct types over text, so that one kind is not passed for another."""

import os
import time
from typing import NewType

from strongroom.errors import FormatError

InstallationId = NewType("InstallationId", str)
MekId = NewType("MekId", str)
RmkId = NewType("RmkId", str)
SiteId = NewType("SiteId", str)
ExtractId = NewType("ExtractId", str)
JobId = NewType("JobId", str)

_ID_BYTES = 16


def new_id() -> str:
    """A random UUID (version 4) in its canonical lower-case form (K-10)."""
    raw = bytearray(os.urandom(16))
    raw[6] = raw[6] & 0x0F | 0x40
    raw[8] = raw[8] & 0x3F | 0x80
    text = raw.hex()
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def new_ordered_id() -> str:
    """A UUID (version 7) that sorts behind those made before it on this machine.

    RFC 9562, section 6.2, method 3: milliseconds, then 12 bits of their fraction, then chance. For
    rows that must keep their order within one second, such as jobs; the moment in it is no secret.
    """
    millis, rest = divmod(time.time_ns(), 1_000_000)
    raw = bytearray(
        millis.to_bytes(6, "big") + ((rest << 12) // 1_000_000).to_bytes(2, "big") + os.urandom(8)
    )
    raw[6] |= 0x70
    raw[8] = raw[8] & 0x3F | 0x80
    return id_text(bytes(raw))


def is_id(text: str) -> bool:
    """Whether the text is a UUID in canonical form."""
    return _raw(text) is not None


def id_bytes(text: str) -> bytes:
    """The 16 bytes of a UUID, for fixed-width fields.

    Raises:
        FormatError: The text is no UUID in canonical form.
    """
    raw = _raw(text)
    if raw is None:
        message = f"not an id: {text!r}"
        raise FormatError(message)
    return raw


def id_text(raw: bytes) -> str:
    """The canonical text of 16 bytes that `id_bytes` gave."""
    text = raw.hex()
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def _raw(text: str) -> bytes | None:
    try:
        raw = bytes.fromhex(text.replace("-", ""))
    except ValueError:
        return None
    return raw if len(raw) == _ID_BYTES and id_text(raw) == text else None
