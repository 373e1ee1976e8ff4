"""Asks a node on this machine for data keys, over its Unix socket, as its directory's owner (format/data-keys.md 3)."""

import base64
import socket
from contextlib import suppress
from pathlib import Path
from typing import Any

from strongroom.client.key_service import header_of, key_of
from strongroom.crypto.secret import SecretBytes
from strongroom.envelope.header import DEFAULT_SEGMENT_BYTES, Header
from strongroom.envelope.pages import serialize
from strongroom.errors import FormatError, KeyServiceError, PermissionDeniedError
from strongroom.system import disk, wire


class NodeKeyService:
    """Asks the process that serves a node; one connection for each request, from any thread.

    Args:
        data_dir: The node's data directory, as `--data-dir` and `STRONGROOM_HOME` name it.
        timeout_s: The number of seconds that each step of a request may take.
    """

    def __init__(self, data_dir: Path | str, *, timeout_s: float = 30.0) -> None:
        self._root, self._timeout_s = Path(data_dir), timeout_s

    def generate(self, *, segment_bytes: int = DEFAULT_SEGMENT_BYTES) -> tuple[Header, SecretBytes]:
        """The header and data key of a new file (`KeyService.generate`)."""
        found = self._ask("data-keys.generate", {"segment_bytes": segment_bytes})
        return header_of(found), key_of(found)

    def unwrap(self, header: Header) -> SecretBytes:
        """The data key of a header (`KeyService.unwrap`)."""
        page = base64.b64encode(serialize(header)).decode()
        return key_of(self._ask("data-keys.unwrap", {"header": page}))

    def _ask(self, verb: str, arguments: dict[str, Any]) -> object:
        try:
            with self._connection() as connection, connection.makefile("rb") as stream:
                # the server refused before it read the request; its answer says why
                with suppress(BrokenPipeError):
                    connection.sendall(wire.line({"verb": verb, "arguments": arguments}))
                answer = wire.receive(stream) or {}
        except OSError as error:
            raise KeyServiceError(
                f"the node {self._root} cannot be asked: {disk.reason(error)}",
                hint="look whether 'strongroom serve' runs, as the owner of the data directory",
            ) from error
        except FormatError as error:
            raise KeyServiceError(error.message) from error
        if "error" in answer:
            raise wire.error_of(answer["error"])
        return answer.get("result")

    def _connection(self) -> socket.socket:
        """A connection to the process that serves the node.

        Raises:
            KeyServiceError: The data directory has no file that names the socket, so no process serves the node.
            PermissionDeniedError: The data directory, or the process behind the socket, belongs to another user.
            OSError: The process does not answer.
        """
        try:
            name = (self._root / "tabsvc" / "control.path").read_text()
            owner = (self._root / "tabsvc" / "coordination").stat().st_uid
        except FileNotFoundError as error:
            raise KeyServiceError(
                f"no process serves a node in {self._root}", hint="start it: strongroom serve"
            ) from error
        except PermissionError as error:
            raise PermissionDeniedError(
                f"the node {self._root} belongs to another user",
                hint="run this as the directory's owner, or ask the node over HTTPS",
            ) from error
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            connection.settimeout(self._timeout_s)
            connection.connect(wire.address(name))
            _check_peer(connection, owner)
        except BaseException:
            connection.close()
            raise
        return connection


def _check_peer(connection: socket.socket, owner: int) -> None:
    """Refuse a socket whose process runs as another user than the node's owner (data-keys.md 3)."""
    if wire.peer_uid(connection) != owner:
        raise PermissionDeniedError(
            "the node's socket belongs to a user who does not own the node",
            hint="restart 'strongroom serve', and find out who that is",
        )
