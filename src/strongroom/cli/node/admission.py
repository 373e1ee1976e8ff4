"""Asks the installation to let a prepared node in, over the address in its bootstrap file (C-22)."""

import http.client
import json
import ssl
from typing import Any
from urllib.parse import urlsplit

from strongroom.errors import AuthenticationError, StateError
from strongroom.joining import admission_request
from strongroom.joining.admission_request import AdmissionRequest
from strongroom.joining.bootstrap_file import BootstrapFile
from strongroom.joining.node_keys import NodeKeys

_WAIT_S = 10.0
_ATTEMPTS = 2
"""An answer that was lost is given again (bootstrap-file.md §3.5); what is lost twice is no accident."""
_MOST_BYTES = 64 << 10
_PATH = "/tsm/nodes"


def ask(file: BootstrapFile, own: NodeKeys) -> bool:
    """Have the node of a bootstrap file admitted; False if no server answers, or the file has no address or credential.

    Args:
        file: A bootstrap file that was proved.
        own: The node's own keys; with the same ones a second call gets the same admission.

    Raises:
        AuthenticationError: The node is refused: its credential is unknown, used, expired or outdated.
        StateError: The installation answers with something else, or its certificate is not trusted.
    """
    if file.credential is None or not file.server:
        return False
    request = admission_request.make(own, file.credential, file.identity)
    answered = _answered(file.server, request)
    if answered is None:
        return False
    status, answer = answered
    if status == 200:
        return True
    message = f"{file.server} refuses the node: {answer.get('error', f'status {status}')}"
    hint = str(answer.get("hint", ""))
    if status == AuthenticationError.http_status:
        raise AuthenticationError(message, hint=hint)
    raise StateError(message, hint=hint or "look at the log of that server")


def _answered(server: str, request: AdmissionRequest) -> tuple[int, dict[str, Any]] | None:
    for _ in range(_ATTEMPTS):
        try:
            return _post(server, request)
        except ssl.SSLError as error:
            # a server answers, but perhaps another one, so it is no use to wait for an admission
            raise StateError(
                f"{server} was not asked: the TLS connection failed ({error.reason or 'no reason'})",
                hint="see that this machine trusts the server's certificate, and that the address is right",
            ) from error
        except (OSError, http.client.HTTPException):
            continue
    return None


def _post(server: str, request: AdmissionRequest) -> tuple[int, dict[str, Any]]:
    parts = urlsplit(server)
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = kind(parts.hostname or "", parts.port, timeout=_WAIT_S)
    body = admission_request.serialize(request)
    try:
        connection.request("POST", _PATH, body, {"Content-Type": "application/json"})
        response = connection.getresponse()
        data = response.read(_MOST_BYTES)
    finally:
        connection.close()
    try:
        answer = json.loads(data)
    except (ValueError, RecursionError):
        answer = None
    return response.status, answer if isinstance(answer, dict) else {}
