"""Asks the process that serves the node, if there is one."""

import socket
import struct
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, NamedTuple

from strongroom import os_users
from strongroom.control import verbs, wire
from strongroom.control.verbs import Say
from strongroom.errors import PermissionDeniedError, StateError
from strongroom.topology import running
from strongroom.topology.paths import DataPaths

_CONNECT_S = 5.0
_CREDENTIALS = struct.Struct("3i")


def ask(
    paths: DataPaths,
    verb: str,
    arguments: Mapping[str, Any],
    say: Say,
    *,
    warn: Say = lambda _: None,
) -> tuple[bool, object]:
    """Have a verb carried out by the serving process.

    Args:
        paths: The node.
        verb: What is to be done.
        arguments: With what.
        say: Takes what the server says meanwhile.
        warn: Takes why a process that serves was not asked; the caller does it by itself then.

    Returns:
        Whether a process serves the node and was asked, and the result.

    Raises:
        StrongroomError: What the other side raised.
        PermissionDeniedError: The socket is a stranger's.
        StateError: It went away before it answered; the state of the node is then to be looked at. Or it cannot be
            asked what only it may do.
    """
    connection = _connect(paths)
    if isinstance(connection, _Unreached):
        if verbs.is_for_the_server(verb, arguments):
            raise StateError(
                f"{connection.why}: it may have the keys open",
                hint=f"{connection.hint}; to leave the keys behind, stop it first",
            )
        warn(f"{connection.why}; this command works by itself, without the keys in its memory")
        warn(f"hint: {connection.hint}")
        return False, None
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


class _Unreached(NamedTuple):
    """A process serves the node and cannot be asked; the lock of the store keeps it and us apart."""

    why: str
    hint: str


def _connect(paths: DataPaths) -> socket.socket | _Unreached | None:
    server = running.find(paths)
    if server is None:
        return None
    who = f"process {server.pid} serves the node" if server.pid else "a process serves the node"
    try:
        name = running.socket_name(paths)
    except FileNotFoundError:
        note = running.control_note_path(paths)
        return _Unreached(
            f"{who}, and {note} does not say where it can be asked",
            "it is starting or stopping: wait; if that does not end, restart 'strongroom serve'",
        )
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.settimeout(_CONNECT_S)
    try:
        connection.connect(running.socket_address(name))
    except OSError as error:
        connection.close()
        return _Unreached(
            f"{who}, and cannot be reached at {name}: {error.strerror or error}",
            "run this where the server runs, if that is a container or has a network of its own (PrivateNetwork);"
            " else restart 'strongroom serve' and try again",
        )
    connection.settimeout(None)
    _check_server(connection, paths)
    return connection


def _check_server(connection: socket.socket, paths: DataPaths) -> None:
    """Requests may hold secrets of a root: they go to the node's owner only.

    Once a server was killed, anybody may give a socket of his own its name.
    """
    raw = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    _, uid, _ = _CREDENTIALS.unpack(raw)
    if uid != paths.owner():
        connection.close()
        raise PermissionDeniedError(
            f"the node's socket belongs to the user {os_users.user_name(uid)}, who does not own the node",
            hint="restart 'strongroom serve', and find out who that is",
        )
