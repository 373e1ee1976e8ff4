"""Health for whoever watches: the process is up (`/healthz`), it is able to do the work now (`/readyz`: a canary decrypts)."""

import asyncio
from functools import partial

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from strongroom.doors.http.lanes import BusyError, Threads
from strongroom.doors.http.pools import Pools
from strongroom.doors.http.ports import ProbeServices
from strongroom.errors import StrongroomError


def routes(services: ProbeServices, pools: Pools) -> list[Route]:
    """The two probes; open to all, and they tell nothing but yes or no."""
    return [
        Route("/healthz", _alive, methods=["GET"]),
        Route("/readyz", _Readiness(services, pools.probes).answer, methods=["GET"]),
    ]


async def _alive(_: Request) -> Response:
    return PlainTextResponse("ok\n")


class _Readiness:
    """Asks once for all who ask at the same time; in a thread that nothing else uses (findings R5)."""

    def __init__(self, services: ProbeServices, threads: Threads) -> None:
        self._services = services
        self._threads = threads
        self._asked: asyncio.Future[bool] | None = None

    async def answer(self, _: Request) -> Response:
        """Whether the node is able to work now."""
        asked = self._asked
        if asked is None or asked.done():
            try:
                asked = self._asked = self._threads.start(partial(_check, self._services))
            except BusyError:  # the system gives no thread: nor could anything else be done
                return PlainTextResponse("not ready\n", 503)
        if await asyncio.shield(asked):
            return PlainTextResponse("ready\n")
        return PlainTextResponse("not ready\n", 503)


def _check(services: ProbeServices) -> bool:
    try:
        services.readiness.check()
    except StrongroomError:
        return False
    return True
