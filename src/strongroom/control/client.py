"""Asks the process that serves the node, if there is one."""

import socket
import struct
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from strongroom import os_users
from strongroom.control import wire
from strongroom.control.verbs import Say
from strongroom.errors import PermissionDeniedError, StateError
from strongroom.topology import running
from strongroom.topology.paths import DataPaths

_CONNECT_S = 5.0
_CREDENTIALS = struct.Struct("3i")


def ask(paths: DataPaths, verb: str, arguments: Mapping[str, Any], say: Say) -> tuple[bool, object]:
    """Have a verb carried out by the serving process.

    Returns:
        Whether a process serves the node, and the result.

    Raises:
        StrongroomError: What the other side raised.
        PermissionDeniedError: The socket is a stranger's.
        StateError: It went away before it answered; the state of the node is then to be looked at.
    """
    connection = _connect(paths)
    if connection is None:
        return False, None
    with connection, connection.makefile("rb") as stream:
        with suppress(BrokenPipeError):  # refused before it was read: the answer says why
            connection.sendall(wire.line({"verb": verb, "arguments": dict(arguments)}))
        with suppress(ConnectionResetError):
            while (message := wire.receive(stream)) is not None:
                if "say" in message:
                    say(message["say"])
                elif "error" in message:
                    raise wire.error_of(message["error"])
                else:
                    return True, message["result"]
    raise StateError(
        f"the server went away before it answered {verb!r}",
        hint="look at 'tsm security kms status', then run the command again",
    )


def _connect(paths: DataPaths) -> socket.socket | None:
    if running.find(paths) is None:
        return None
    try:
        path = running.control_note_path(paths).read_text()
    except FileNotFoundError:
        return None
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.settimeout(_CONNECT_S)
    try:
        connection.connect(path)
    except OSError:
        # it is starting or stopping: the lock of the store keeps both of us apart
        connection.close()
        return None
    connection.settimeout(None)
    _check_server(connection, paths)
    return connection


def _check_server(connection: socket.socket, paths: DataPaths) -> None:
    """Requests may hold secrets of a root: they go to the node's owner only.

    The socket lies in a folder for temporary files: once a cleaner has removed it, anybody may make another one of its name.
    """
    raw = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    _, uid, _ = _CREDENTIALS.unpack(raw)
    if uid != paths.owner():
        connection.close()
        raise PermissionDeniedError(
            f"the node's socket belongs to the user {os_users.user_name(uid)}, who does not own the node",
            hint="restart 'strongroom serve', and find out who that is",
        )
