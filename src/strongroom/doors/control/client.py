"""Asks the process that serves the node, if there is one."""

import socket
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, NamedTuple

from strongroom.doors.control import verbs
from strongroom.doors.control.verbs import Report
from strongroom.errors import PermissionDeniedError, StateError
from strongroom.runtime import running
from strongroom.runtime.paths import DataPaths
from strongroom.system import disk, os_users, wire

_CONNECT_S = 5.0


def ask(
    paths: DataPaths,
    verb: str,
    arguments: Mapping[str, Any],
    report: Report,
    *,
    warn: Report = lambda _: None,
) -> "Answer | NotServed":
    """Have a verb carried out by the serving process.

    Args:
        paths: The paths of the node.
        verb: The name of the action.
        arguments: The arguments of the action.
        report: Called with each message of progress from the server.
        warn: Called with the reason why a serving process cannot be reached; the caller then does the work itself.

    Returns:
        The answer of the serving process, or `NotServed`, and then the caller does the work itself.

    Raises:
        StrongroomError: The error that the serving process answered with.
        PermissionDeniedError: The socket belongs to another user.
        StateError: The server ended before it answered, so the operator must look at the state of the node. Or the
            server cannot be reached, and no other process may do this.
    """
    connection = _connect(paths)
    if connection is None:
        return NotServed()
    if isinstance(connection, _Unreached):
        if verbs.is_for_the_server(verb, arguments):
            raise StateError(
                f"{connection.why}: it may have the keys open",
                hint=f"{connection.hint}; to leave the keys behind, stop it first",
            )
        warn(f"{connection.why}; this command works by itself, without the keys in its memory")
        warn(f"hint: {connection.hint}")
        return NotServed()
    with connection, connection.makefile("rb") as stream:
        # the server refused before it read the request; its answer says why
        with suppress(BrokenPipeError):
            connection.sendall(wire.line({"verb": verb, "arguments": dict(arguments)}))
        with suppress(ConnectionResetError):
            for message in iter(lambda: wire.receive(stream), None):
                if "result" in message:
                    return Answer(message["result"])
                if "error" in message:
                    raise wire.error_of(message["error"])
                report(message["say"])
    raise StateError(
        f"the server went away before it answered {verb!r}",
        hint="look at 'tsm security kms status', then run the command again",
    )


class Answer(NamedTuple):
    """The answer of the serving process, which has done the work.

    Attributes:
        result: The result of the verb.
    """

    result: object


class NotServed(NamedTuple):
    """No serving process has done the work, so the caller has to."""


class _Unreached(NamedTuple):
    """A process serves the node and cannot be reached; the lock of the KMS store keeps its work and ours apart."""

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
        connection.connect(wire.address(name))
    except OSError as error:
        connection.close()
        return _Unreached(
            f"{who}, and cannot be reached at {name}: {disk.reason(error)}",
            "run this where the server runs, if that is a container or has a network of its own (PrivateNetwork);"
            " else restart 'strongroom serve' and try again",
        )
    connection.settimeout(None)
    _check_server(connection, paths)
    return connection


def _check_server(connection: socket.socket, paths: DataPaths) -> None:
    """Requests may hold secrets of a root: they go to the node's owner only."""
    uid = wire.peer_uid(connection)
    if uid != paths.owner():
        connection.close()
        raise PermissionDeniedError(
            f"the node's socket belongs to the user {os_users.user_name(uid)}, who does not own the node",
            hint="restart 'strongroom serve', and find out who that is",
        )
