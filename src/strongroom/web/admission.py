"""`POST /tsm/nodes`: a prepared node asks to be let in, by the one-time credential of its bootstrap file (C-22, S16)."""

import asyncio
import logging
from functools import partial

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from strongroom.bootstrap import Node
from strongroom.errors import AuthenticationError, StrongroomError, UsageError
from strongroom.topology import admission_request

_log = logging.getLogger("strongroom.web")

_LATEST_S = 10.0
"""For a body of some hundred bytes to arrive."""
_INSIDE = "the installation cannot do this now; its log says more"


def routes(node: Node) -> list[Route]:
    """The one route; whoever has no credential is refused by the service."""
    return [Route("/tsm/nodes", partial(_admit, node), methods=["POST"])]


async def _admit(node: Node, request: Request) -> Response:
    try:
        body = await asyncio.wait_for(_body(request), _LATEST_S)
        asked = admission_request.parse(body)
        await asyncio.to_thread(node.topology.admit, asked)
    except TimeoutError:
        return _refusal(UsageError("the request did not arrive in time"))
    except StrongroomError as error:
        return _refusal(error)
    return JSONResponse({"node_id": asked.node_id})


async def _body(request: Request) -> bytes:
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > admission_request.MAX_BYTES:
            raise UsageError(f"a request has at most {admission_request.MAX_BYTES} bytes")
    return body


def _refusal(error: StrongroomError) -> Response:
    if not isinstance(error, (AuthenticationError, UsageError)):
        # names of paths, keys, and of who holds a lock are nobody's business outside
        _log.error("a node could not be admitted: %s", error)
        return JSONResponse({"error": _INSIDE, "hint": ""}, error.http_status)
    return JSONResponse({"error": error.message, "hint": error.hint}, error.http_status)
