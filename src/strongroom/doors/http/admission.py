"""`POST /tsm/nodes`: a prepared node asks to be let in, by the one-time credential of its bootstrap file (C-22, S16)."""

import asyncio
import logging
from functools import partial

from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from strongroom.doors.http.lanes import BusyError, ClientGoneError, Lane
from strongroom.doors.http.pools import Pools
from strongroom.doors.http.ports import AdmissionServices
from strongroom.doors.http.protocol import EXTENSION, BodyTap
from strongroom.errors import AuthenticationError, StrongroomError, UsageError
from strongroom.joining import admission_request

_log = logging.getLogger("strongroom.web")

_LATEST_S = 10.0
"""For a body of some hundred bytes to arrive."""
_INSIDE = "the installation cannot do this now; its log says more"


def routes(services: AdmissionServices, pools: Pools) -> list[Route]:
    """The one route; whoever has no credential is refused by the service."""
    return [Route("/tsm/nodes", partial(_admit, services, pools.admission), methods=["POST"])]


async def _admit(services: AdmissionServices, lane: Lane, request: Request) -> Response:
    tap: BodyTap = request.scope["extensions"][EXTENSION]["tap"]
    try:
        body = await asyncio.wait_for(_body(request), _LATEST_S)
        asked = admission_request.parse(body)
        joins = await lane.run(
            tap.peer, partial(services.topology.admit, asked), lambda: tap.is_gone
        )
    except BusyError:
        answer = {"error": "too many nodes ask to be let in", "hint": "try again in some seconds"}
        return JSONResponse(answer, 429, {"retry-after": "5"})
    except (ClientDisconnect, ClientGoneError):
        return Response(status_code=408)  # the client is gone, so this answer is never sent
    except TimeoutError:
        tap.is_hopeless = True
        return _refusal(UsageError("the request did not arrive in time"))
    except StrongroomError as error:
        return _refusal(error)
    return JSONResponse({"node_id": asked.node_id, **(joins.fields() if joins else {})})


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
