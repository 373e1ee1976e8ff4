"""Asks the installation to let a prepared node in, over the address in its bootstrap file (C-22)."""

import base64
import http.client
import json
import ssl
from typing import Any
from urllib.parse import urlsplit

from strongroom.errors import AuthenticationError, StateError
from strongroom.topology.bootstrap_file import BootstrapFile, Credential

_WAIT_S = 10.0
_MOST_BYTES = 64 << 10
_PATH = "/tsm/nodes"


def ask(file: BootstrapFile) -> bool:
    """Have the node of a bootstrap file let in; False if nobody answers, or the file has no address or credential.

    Raises:
        AuthenticationError: It is refused: the credential is unknown, used, expired or outdated.
        StateError: The installation answers with something else, or its certificate is not trusted.
    """
    if file.credential is None or not file.server:
        return False
    try:
        status, answer = _post(file, file.credential)
    except ssl.SSLError as error:
        # somebody answers, and perhaps not that server: no reason to wait for an admission
        raise StateError(
            f"{file.server} was not asked: the TLS connection failed ({error.reason or 'no reason'})",
            hint="see that this machine trusts the server's certificate, and that the address is right",
        ) from error
    except (OSError, http.client.HTTPException):
        return False
    if status == 200:
        return True
    message = f"{file.server} refuses the node: {answer.get('error', f'status {status}')}"
    hint = str(answer.get("hint", ""))
    if status == AuthenticationError.http_status:
        raise AuthenticationError(message, hint=hint)
    raise StateError(message, hint=hint or "look at the log of that server")


def _post(file: BootstrapFile, credential: Credential) -> tuple[int, dict[str, Any]]:
    parts = urlsplit(file.server)
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = kind(parts.hostname or "", parts.port, timeout=_WAIT_S)
    body = {
        "installation_id": file.installation_id,
        "node_id": file.node_id,
        "credential_id": credential.id,
        "secret": base64.b64encode(credential.secret.reveal()).decode("ascii"),
    }
    try:
        connection.request("POST", _PATH, json.dumps(body), {"Content-Type": "application/json"})
        response = connection.getresponse()
        data = response.read(_MOST_BYTES)
    finally:
        connection.close()
    try:
        answer = json.loads(data)
    except ValueError:
        answer = None
    return response.status, answer if isinstance(answer, dict) else {}
