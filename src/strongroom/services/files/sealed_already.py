"""Refuses to encrypt a file that is encrypted already, unless the user asks for a second layer (findings K19)."""

from pathlib import Path

from strongroom.envelope.header import MAX_HEADER_BYTES
from strongroom.envelope.pages import is_envelope
from strongroom.errors import ConflictError
from strongroom.filestore.blockfile import OpenedFile


def check_not_sealed(source: str) -> None:
    """Refuse a file that is an envelope: a second layer hides which key the inner one needs, from users and from `retire`.

    Raises:
        ConflictError: The file is an envelope.
    """
    with OpenedFile(Path(source)) as file:
        refuse_sealed(file, source)


def refuse_sealed(file: OpenedFile, name: str) -> None:
    """As `check_not_sealed`, for an open file.

    Raises:
        ConflictError: The file is an envelope.
    """
    head = bytearray(MAX_HEADER_BYTES)
    count = file.read_into_at(0, memoryview(head))
    if is_envelope(bytes(head[:count])):
        raise sealed_already(name)


def sealed_already(name: str) -> ConflictError:
    """The error of a file that is encrypted already."""
    return ConflictError(
        f"{name} is encrypted already",
        hint="'strongroom rewrap' brings it under the active key; --again encrypts it once more",
    )
