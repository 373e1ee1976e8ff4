"""Serves the node's Unix socket from the process that holds the keys.

Who may ask: the owner of the data directory, and nobody else, root included; the kernel says who it is. The
socket lies in the data directory, where every process finds it that may work on the node, whatever its `/tmp` is;
a file beside it says where. If it cannot be there, since its path is too long for one or the file system has none,
it lies in a folder of its own for temporary files.
"""

import contextlib
import logging
import os
import shutil
import socket
import socketserver
import struct
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

from strongroom import durable, os_users
from strongroom.bootstrap import Node
from strongroom.control import verbs, wire
from strongroom.errors import FormatError, PermissionDeniedError, StrongroomError, UsageError
from strongroom.overriding import override
from strongroom.topology.running import control_note_path

_log = logging.getLogger("strongroom.control")
_CREDENTIALS = struct.Struct("3i")
_IDLE_S = 30.0
_SOCKET = "control.sock"
_MAX_PATH = 107
"""Bytes of the path that the kernel takes for a socket: `sun_path` with its final zero has 108."""


@contextmanager
def serving(node: Node) -> Iterator[None]:
    """Answer requests from a thread, until the block ends; only for the one process that serves the node."""
    server, folder = _listen(node)
    thread = threading.Thread(target=server.serve_forever, name="control", daemon=True)
    thread.start()
    note, where = control_note_path(node.paths), server.path if folder else _SOCKET
    durable.write_file(note, where.encode(), durable.PRIVATE)
    try:
        yield
    finally:
        for path in (note, Path(server.path)):
            path.unlink(missing_ok=True)
        server.shutdown()
        server.server_close()
        if folder:
            shutil.rmtree(folder, ignore_errors=True)


def _listen(node: Node) -> tuple["_Server", Path | None]:
    """In the data directory; where no socket can be there, in a folder for temporary files, which is given back."""
    path = (node.paths.tabsvc / _SOCKET).absolute()
    if len(os.fsencode(path)) <= _MAX_PATH:
        try:
            path.unlink(missing_ok=True)  # a killed server's
            return _Server(str(path), node), None
        except OSError as error:
            _log.warning("%s can hold no socket: %s", path.parent, error.strerror)
    folder = Path(tempfile.mkdtemp(prefix="strongroom-"))
    return _Server(str(folder / "s"), node), folder


class _Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True

    def __init__(self, path: str, node: Node) -> None:
        self.path = path
        self.node = node
        self.owner = node.paths.owner()
        super().__init__(path, _Handler)
        Path(path).chmod(0o600)


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
    raw = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    _, uid, _ = _CREDENTIALS.unpack(raw)
    if uid != owner:
        raise PermissionDeniedError(
            "the node belongs to another user",
            hint=f"run this as the directory's owner: {os_users.as_user(owner)} ...",
        )
    return f"os:{os_users.user_name(uid)}"
