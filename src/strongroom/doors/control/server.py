"""Serves the node's Unix socket from the process that holds the keys.

Only the owner of the data directory may use the socket, not even root; the kernel reports the user of a connection. The
socket is an abstract one, with a name and no file (unix(7)). So a process with another `/tmp` can reach it, the path of
the data directory may be long, and a killed server or a copy of the directory leaves no socket behind.
"""

import contextlib
import logging
import socket
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, ClassVar

from strongroom import ids
from strongroom.doors.control import verbs
from strongroom.doors.control.ports import SocketServices
from strongroom.errors import FormatError, PermissionDeniedError, StrongroomError, UsageError
from strongroom.runtime import running
from strongroom.system import durable, os_users, wire
from strongroom.system.compat import override

_log = logging.getLogger("strongroom.control")
_IDLE_S = 30.0


@contextmanager
def serving(node: SocketServices) -> Iterator[None]:
    """Answer requests from a thread, until the block ends; only for the one process that serves the node."""
    name = f"@strongroom-{ids.new_id()}"
    server = _Server(wire.address(name), node)
    thread = threading.Thread(target=server.serve_forever, name="control", daemon=True)
    thread.start()
    note = running.control_note_path(node.paths)
    durable.write_file(note, name.encode(), durable.PRIVATE)
    try:
        yield
    finally:
        note.unlink(missing_ok=True)
        server.shutdown()
        server.server_close()


class _Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True
    # strangers are refused as soon as they are looked at, and must not fill the line before that (findings S10)
    request_queue_size = 512

    def __init__(self, address: str, node: SocketServices) -> None:
        self.node = node
        self.owner = node.paths.owner()
        super().__init__(address, _Handler)


class _Handler(socketserver.StreamRequestHandler):
    timeout: ClassVar[float | None] = _IDLE_S

    @override
    def handle(self) -> None:
        try:
            actor = _peer(self.connection, self._node_server.owner)
            request = wire.receive(self.rfile)
            if request is None:
                return
            self.connection.settimeout(None)
            result = self._perform(actor, request)
            wire.send(self.wfile, {"result": result})
        except StrongroomError as error:
            self._try_send(wire.error_message(error))
        except OSError as error:
            _log.info("a client of the node's socket went away: %s", error)

    @property
    def _node_server(self) -> _Server:
        assert isinstance(self.server, _Server)  # noqa: S101 for the type checker: it made us
        return self.server

    def _perform(self, actor: str, request: dict[str, Any]) -> object:
        verb, arguments = request.get("verb"), request.get("arguments")
        if not isinstance(verb, str) or not isinstance(arguments, dict):
            raise FormatError("a request names a verb and its arguments")
        _log.info("%s asks for %s", actor, verb)
        try:
            return verbs.perform(
                self._node_server.node,
                actor,
                verb,
                arguments,
                lambda text: wire.send(self.wfile, {"say": text}),
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            _log.exception("the request %s failed", verb)
            raise UsageError(f"the request {verb!r} cannot be carried out as it is") from error

    def _try_send(self, message: dict[str, Any]) -> None:
        with contextlib.suppress(OSError):
            wire.send(self.wfile, message)


def _peer(connection: socket.socket, owner: int) -> str:
    uid = wire.peer_uid(connection)
    if uid != owner:
        raise PermissionDeniedError(
            "the node belongs to another user",
            hint=f"run this as the directory's owner: {os_users.as_user(owner)} ...",
        )
    return f"os:{os_users.user_name(uid)}"
