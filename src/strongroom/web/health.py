"""Health for whoever watches: the process is up (`/healthz`), it is able to do the work now (`/readyz`: a canary decrypts)."""

import asyncio
from functools import partial

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from strongroom.bootstrap import Node
from strongroom.errors import StrongroomError


def routes(node: Node) -> list[Route]:
    """The two probes; open to all, and they tell nothing but yes or no."""
    return [
        Route("/healthz", _alive, methods=["GET"]),
        Route("/readyz", partial(_ready, node), methods=["GET"]),
    ]


async def _alive(_: Request) -> Response:
    return PlainTextResponse("ok\n")


async def _ready(node: Node, _: Request) -> Response:
    is_ready = await asyncio.to_thread(_check, node)
    if is_ready:
        return PlainTextResponse("ready\n")
    return PlainTextResponse("not ready\n", 503)


def _check(node: Node) -> bool:
    try:
        with node.repository.reading() as tx:
            tx.marks.find("ready")
        # by the keys in memory: probes must not become calls to the root (R10, R11)
        node.kms.check_ready()
    except StrongroomError:
        return False
    return True
