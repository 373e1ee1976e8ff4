"""`POST /tsm/nodes`: a prepared node asks to be let in, by the one-time credential of its bootstrap file (C-22, S16)."""

import asyncio
import base64
import json
from functools import partial
from typing import NamedTuple

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from strongroom import ids
from strongroom.bootstrap import Node
from strongroom.crypto.secret import SecretBytes
from strongroom.errors import FormatError, StrongroomError, UsageError
from strongroom.topology.bootstrap_file import Credential, check_node_id

_MOST_BYTES = 4096
_LATEST_S = 10.0
"""For a body of some hundred bytes to arrive."""
_INSIDE = "the installation cannot do this now; its log says more"


class _Asked(NamedTuple):
    installation_id: str
    node_id: str
    credential: Credential


def routes(node: Node) -> list[Route]:
    """The one route; whoever has no credential is refused by the service."""
    return [Route("/tsm/nodes", partial(_admit, node), methods=["POST"])]


async def _admit(node: Node, request: Request) -> Response:
    try:
        asked = _asked(await asyncio.wait_for(_body(request), _LATEST_S))
        await asyncio.to_thread(node.topology.admit, *asked)
    except TimeoutError:
        return _refusal(UsageError("the request did not arrive in time"))
    except StrongroomError as error:
        return _refusal(error)
    return JSONResponse({"node_id": asked.node_id})


async def _body(request: Request) -> bytes:
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > _MOST_BYTES:
            raise UsageError(f"a request has at most {_MOST_BYTES} bytes")
    return body


def _asked(body: bytes) -> _Asked:
    try:
        members = json.loads(body)
        for name in ("installation_id", "credential_id"):
            ids.id_bytes(members[name])
        secret = SecretBytes(base64.b64decode(members["secret"], validate=True))
        credential = Credential(members["credential_id"], secret)
        return _Asked(members["installation_id"], check_node_id(members["node_id"]), credential)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError, FormatError):
        # from None: the cause could carry the secret into a log
        raise UsageError("this is no request of a node") from None


def _refusal(error: StrongroomError) -> Response:
    if error.http_status >= 500:  # names of paths and keys are nobody's business outside
        return JSONResponse({"error": _INSIDE, "hint": ""}, error.http_status)
    return JSONResponse({"error": error.message, "hint": error.hint}, error.http_status)
