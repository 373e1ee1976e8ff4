"""Lines of JSON over the socket: a request, then any number of sayings, then a result or an error."""

import json
from io import BufferedIOBase
from typing import Any

from strongroom import errors
from strongroom.errors import FormatError, StrongroomError

MAX_LINE_BYTES = 1 << 20


def line(message: dict[str, Any]) -> bytes:
    """One message as it is sent."""
    return json.dumps(message).encode() + b"\n"


def send(stream: BufferedIOBase, message: dict[str, Any]) -> None:
    """Write one message."""
    stream.write(line(message))
    stream.flush()


def receive(stream: BufferedIOBase) -> dict[str, Any] | None:
    """Read one message; None at the end.

    Raises:
        FormatError: It is too long, or no JSON object.
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
    """The error of a message; kinds that are not known here become the base."""
    kind = getattr(errors, fields["kind"], StrongroomError)
    if not (isinstance(kind, type) and issubclass(kind, StrongroomError)):
        kind = StrongroomError
    found: StrongroomError = kind(fields["message"], hint=fields["hint"])
    return found
