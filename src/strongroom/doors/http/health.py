"""Health for whoever watches: the process is up (`/healthz`), it is able to do the work now (`/readyz`: a canary decrypts)."""

import asyncio
from functools import partial

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from strongroom.doors.http.gate import RETRY_AFTER_S, Gate
from strongroom.doors.http.lanes import BusyError, Threads
from strongroom.doors.http.pools import Pools
from strongroom.doors.http.ports import ProbeServices
from strongroom.errors import StrongroomError


def routes(services: ProbeServices, pools: Pools, gate: Gate | None = None) -> list[Route]:
    """The two probes; open to all, and they tell nothing but yes or no, and whether the node is out of service."""
    gate, readiness = gate or Gate(), _Readiness(services, pools.probes)

    async def alive(_: Request) -> Response:
        # a supervisor restarts a process that is not alive, and must leave this one alone (maintenance.md 3.2)
        return PlainTextResponse("ok, in maintenance\n" if gate.is_closed else "ok\n")

    async def ready(request: Request) -> Response:
        if gate.is_closed:
            headers = {"retry-after": str(RETRY_AFTER_S)}
            return PlainTextResponse("in maintenance\n", 503, headers)
        return await readiness.answer(request)

    return [
        Route("/healthz", alive, methods=["GET"]),
        Route("/readyz", ready, methods=["GET"]),
    ]


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
