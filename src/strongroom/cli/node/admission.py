"""Asks the installation to let a prepared node in, over the address in its bootstrap file (C-22)."""

import http.client
import json
import ssl
from typing import Any
from urllib.parse import urlsplit

from strongroom.errors import AuthenticationError, StateError
from strongroom.joining import admission_request, welcome
from strongroom.joining.admission_request import AdmissionRequest
from strongroom.joining.bootstrap_file import BootstrapFile
from strongroom.joining.node_keys import NodeKeys
from strongroom.joining.welcome import Welcome
from strongroom.services.nodes import join
from strongroom.services.nodes.prepare import Admitted
from strongroom.system import reach

_WAIT_S = 10.0
_ATTEMPTS = 2
"""An answer that was lost is given again (bootstrap-file.md §3.5); what is lost twice is no accident."""
_MOST_BYTES = 64 << 10
_PATH = "/tsm/nodes"


def ask(file: BootstrapFile, own: NodeKeys) -> Admitted:
    """Have the node of a bootstrap file admitted; not if no server answers, or the file has no address or credential.

    Args:
        file: A bootstrap file that was proved.
        own: The node's own keys; with the same ones a second call gets the same admission.

    Raises:
        AuthenticationError: The node is refused: its credential is unknown, used, expired or outdated.
        StateError: The installation answers with something else, or its certificate is not trusted; or this machine
            does not reach a service that the node would need, so that the installation was not asked.
        IntegrityError: The answer names services, and is not of the identity that signed the file.
    """
    if file.credential is None or not file.server:
        return Admitted(is_admitted=False)
    _check_reached(file)
    request = admission_request.make(own, file.credential, file.identity)
    answered = _answered(file, request)
    if answered is None:
        return Admitted(is_admitted=False)
    status, answer = answered
    if status == 200:
        return Admitted(is_admitted=True, welcome=_welcome(answer, request, own, file))
    message = f"{file.server} refuses the node: {answer.get('error', f'status {status}')}"
    hint = str(answer.get("hint", ""))
    if status == AuthenticationError.http_status:
        raise AuthenticationError(message, hint=hint)
    raise StateError(message, hint=hint or "look at the log of that server")


def _welcome(
    answer: dict[str, Any], request: AdmissionRequest, own: NodeKeys, file: BootstrapFile
) -> Welcome | None:
    sealed = welcome.find(answer)
    if sealed is None or file.signer is None:
        return None
    return join.opened(sealed, request, own, file.signer)


def _check_reached(file: BootstrapFile) -> None:
    """Refuse to use the credential up on a machine that could not join: it has to reach what the installation works with.

    Raises:
        StateError: Of a service nothing is reached.
    """
    if file.bearings is None:
        return
    services = {
        "ZooKeeper": file.bearings.addresses.zookeeper,
        "PostgreSQL": file.bearings.addresses.postgres,
    }
    for name, addresses in services.items():
        if told := reach.none_reached(addresses):
            raise StateError(
                f"this machine does not reach {name} ({'; '.join(told)}), so {file.server} was not asked",
                hint="see to names, routes and firewalls; the file is as good as before until it expires",
            )


def _answered(file: BootstrapFile, request: AdmissionRequest) -> tuple[int, dict[str, Any]] | None:
    server = file.server
    for _ in range(_ATTEMPTS):
        try:
            return _post(server, request, _tls(file))
        except ssl.SSLError as error:
            # a server answers, but perhaps another one, so it is no use to wait for an admission
            raise StateError(
                f"{server} was not asked: the TLS connection failed ({error.reason or 'no reason'})",
                hint="its certificate is neither among those that the bootstrap file names, nor trusted by this machine;"
                " or the address is wrong",
            ) from error
        except (OSError, http.client.HTTPException):
            continue
    return None


def _tls(file: BootstrapFile) -> ssl.SSLContext | None:
    """Trust in the certificates that the file names, besides those that the machine trusts; None for plain HTTP.

    What the file names may be the server's own certificate, without the authority that issued it.
    """
    if not file.server.startswith("https:"):
        return None
    made = ssl.create_default_context()
    made.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    for one in file.authorities.web:
        made.load_verify_locations(cadata=one)
    return made


def _post(
    server: str, request: AdmissionRequest, tls: ssl.SSLContext | None
) -> tuple[int, dict[str, Any]]:
    parts = urlsplit(server)
    host = parts.hostname or ""
    connection = (
        http.client.HTTPConnection(host, parts.port, timeout=_WAIT_S)
        if tls is None
        else http.client.HTTPSConnection(host, parts.port, timeout=_WAIT_S, context=tls)
    )
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
