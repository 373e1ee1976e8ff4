"""The node's socket: its address, the user at its other end, and lines of JSON over it.

A connection carries a request, then any number of progress messages, then a result or an error.
"""

import json
import socket
import struct
from io import BufferedIOBase
from typing import Any

from strongroom import errors
from strongroom.errors import FormatError, StrongroomError

MAX_LINE_BYTES = 1 << 20
_CREDENTIALS = struct.Struct("3i")
"""`struct ucred` of unix(7): process, user and group."""


def address(name: str) -> str:
    """The address of an abstract socket whose name is written with `@`: the kernel has a zero byte in its place."""
    return "\0" + name.removeprefix("@")


def peer_uid(connection: socket.socket) -> int:
    """The user id of the process at the other end, as the kernel noted it when the connection was made.

    Both ends compare it with the owner of the node. A killed server leaves the name of its socket free, and any user of
    the machine can take the name: such a process could learn what is sent to it, and answer as it likes.
    """
    raw = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    uid: int = _CREDENTIALS.unpack(raw)[1]
    return uid


def line(message: dict[str, Any]) -> bytes:
    """A message as the bytes that are sent."""
    return json.dumps(message).encode() + b"\n"


def send(stream: BufferedIOBase, message: dict[str, Any]) -> None:
    """Write one message."""
    stream.write(line(message))
    stream.flush()


def receive(stream: BufferedIOBase) -> dict[str, Any] | None:
    """Read one message; None at the end.

    Raises:
        FormatError: The line is too long, or holds no JSON object.
    """
    raw = stream.readline(MAX_LINE_BYTES + 1)
    if not raw:
        return None
    try:
        message = json.loads(raw) if raw.endswith(b"\n") else None
    except (ValueError, RecursionError):
        message = None
    if not isinstance(message, dict):
        raise FormatError("the other side of the node's socket sent something else than a message")
    return message


def error_message(error: StrongroomError) -> dict[str, Any]:
    """An error as a message."""
    kind = type(error).__name__
    return {"error": {"kind": kind, "message": error.message, "hint": error.hint}}


def error_of(fields: dict[str, str]) -> StrongroomError:
    """The exception that a message describes; StrongroomError itself for a kind that this version does not know."""
    kind = getattr(errors, fields["kind"], StrongroomError)
    if not (isinstance(kind, type) and issubclass(kind, StrongroomError)):
        kind = StrongroomError
    found: StrongroomError = kind(fields["message"], hint=fields["hint"])
    return found
