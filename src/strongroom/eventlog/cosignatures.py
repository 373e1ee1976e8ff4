"""Cosignatures of checkpoints by a witness (C2SP tlog-cosignature, type 0x04; docs/format/log-heads.md 2.3). Pure."""

import base64
import hashlib
from typing import Final, NamedTuple

from strongroom.crypto import labels, signing
from strongroom.crypto.signing import SigningKey
from strongroom.crypto.statements import SIGNATURE_BYTES
from strongroom.errors import IntegrityError
from strongroom.eventlog import notes

_TYPE: Final = b"\x04"
_KEY_ID_BYTES: Final = 4
_TIME_BYTES: Final = 8
_LINE_BYTES: Final = _KEY_ID_BYTES + _TIME_BYTES + SIGNATURE_BYTES
_LAST: Final = 253_402_300_799
"""The last second of the year 9999: a later one has no text (format/primitives.md 3.1)."""


class Witness(NamedTuple):
    """The name and the public key of a witness.

    Attributes:
        name: The key's name: the origin of the witness's own log.
        public: The key by which the witness signs as a node, 32 bytes, Ed25519.
    """

    name: str
    public: bytes

    @property
    def key_id(self) -> bytes:
        """The four bytes that name the key in a signature line."""
        named = self.name.encode() + b"\n" + _TYPE + self.public
        return hashlib.sha256(named).digest()[:_KEY_ID_BYTES]


def cosigned(note: bytes, name: str, key: SigningKey, seconds: int) -> bytes:
    """A checkpoint's note with the cosignature of a witness behind its signatures.

    Args:
        note: The signed note, which the caller has verified.
        name: The name of the witness.
        key: The key of the witness.
        seconds: The present, in seconds since the epoch.

    Raises:
        FormatError: The bytes are not a signed note.
    """
    text, _ = notes.split(note)
    signature = key.sign(_told(text, seconds))
    line = Witness(name, key.public).key_id + seconds.to_bytes(_TIME_BYTES, "big") + signature
    return note + f"\u2014 {name} {base64.b64encode(line).decode('ascii')}\n".encode()


def check(note: bytes, witness: Witness) -> int:
    """The time at which a witness cosigned a note, in seconds since the epoch.

    Raises:
        FormatError: The bytes are not a signed note.
        IntegrityError: The note has no cosignature of this witness, or one that does not verify.
    """
    text, signatures = notes.split(note)
    for name, line in signatures:
        told, rest = line[:_KEY_ID_BYTES], line[_KEY_ID_BYTES:]
        if name == witness.name and told == witness.key_id:
            seconds = _seconds(rest)
            signing.verify(witness.public, _told(text, seconds), rest[_TIME_BYTES:])
            return seconds
    raise IntegrityError(f"the checkpoint is not cosigned by {witness.name}")


def told_at(note: bytes, name: str) -> int:
    """The time that a cosignature of this name tells, in seconds since the epoch; nothing is verified.

    Raises:
        FormatError: The bytes are not a signed note.
        IntegrityError: The note has no cosignature of that name.
    """
    for found, line in reversed(notes.split(note)[1]):
        if found == name and len(line) == _LINE_BYTES:
            return _seconds(line[_KEY_ID_BYTES:])
    raise IntegrityError(f"the checkpoint is not cosigned by {name}")


def _seconds(rest: bytes) -> int:
    return min(int.from_bytes(rest[:_TIME_BYTES], "big"), _LAST)


def _told(text: str, seconds: int) -> bytes:
    return labels.COSIGNATURE + f"\ntime {seconds}\n{text}".encode()
