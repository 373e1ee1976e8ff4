"""The web application: finds the route, checks who asks, runs the handler in a thread and renders what it gives, as XML or JSON.

It never logs a query, a body or a token, and never answers an expected failure with a 5xx.
"""

import asyncio
import logging
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from urllib.parse import parse_qsl

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route as StarletteRoute
from starlette.types import ASGIApp

from strongroom.doors.http import admission, feed, front, health
from strongroom.doors.http.delivery import Asked, DownloadResponse, answer_response
from strongroom.doors.http.gate import Gate
from strongroom.doors.http.lanes import BusyError, ClientGoneError
from strongroom.doors.http.outer import Outer
from strongroom.doors.http.pools import Pools
from strongroom.doors.http.ports import AppServices
from strongroom.doors.http.protocol import EXTENSION, BodyTap
from strongroom.doors.http.settings import WebSettings
from strongroom.doors.tableau import shape
from strongroom.doors.tableau.errors import UNEXPECTED, Fault, Noun, RefusalError, fault_of
from strongroom.doors.tableau.form import Form, answer_form
from strongroom.doors.tableau.message import MAX_REQUEST_BYTES
from strongroom.doors.tableau.not_offered import no_such_method, no_such_route
from strongroom.doors.tableau.ports import TableauServices
from strongroom.doors.tableau.routing import Answer, Call, Download, Route
from strongroom.doors.tableau.table import ROUTES
from strongroom.errors import FormatError, StrongroomError, UsageError

_log = logging.getLogger("strongroom.web")

_VERSION = re.compile(r"\d{1,3}\.\d{1,3}")
OLDEST_API = (2, 4)
MAX_PARAMETERS = 100
# of routes that are open to all: a sign-in has some hundred bytes
MAX_OPEN_BODY_BYTES = 32 * 1024
RETRY_AFTER_S = 5
_BUSY = "too many requests of this kind at once; come again in some seconds"


@dataclass(frozen=True)
class _SmallBody:
    content: bytes = field(repr=False)  # of a sign-in: the password

    def read(self) -> bytes:
        return self.content

    def chunks(self) -> Iterator[bytes]:
        yield self.content

    def hurry(self, seconds: float) -> None:
        """Do nothing, since the whole body is in memory."""


def create_app(
    services: AppServices, settings: WebSettings | None = None, gate: Gate | None = None
) -> ASGIApp:
    """The ASGI application over one node's services, behind the gate of that node; by default that is open."""
    settings, gate = settings or WebSettings(), gate or Gate()
    pools = Pools(settings, gate.working)
    dispatcher = _Dispatcher(services, settings, pools)
    paths: dict[str, dict[str, Route]] = {}
    for route in ROUTES:
        paths.setdefault(route.path, {})[route.method] = route
    routes = [
        StarletteRoute(
            "/api/{version}" + path,
            partial(dispatcher.serve, by_method),
            methods=sorted(by_method),
        )
        for path, by_method in paths.items()
    ]
    app = Starlette(
        routes=[
            *front.routes(),
            *health.routes(services, pools, gate),
            *admission.routes(services, pools),
            *routes,
        ],
        exception_handlers={
            HTTPException: _http_error,
            StrongroomError: _late_error,
            Exception: _unexpected,
        },
    )
    app.router.redirect_slashes = False
    return Outer(app, settings.drain, gate)


class _Dispatcher:
    def __init__(self, services: TableauServices, settings: WebSettings, pools: Pools) -> None:
        self._services = services
        self._settings = settings
        self._pools = pools

    async def serve(self, by_method: dict[str, Route], request: Request) -> Response:
        """Serve a request for a known path."""
        route = by_method["GET" if request.method == "HEAD" else request.method]
        tap: BodyTap = request.scope["extensions"][EXTENSION]["tap"]  # our own protocol's
        try:
            return await self._answer(route, request, tap)
        except (BusyError, MemoryError):
            busy = RefusalError(429, "429000", _BUSY, retry_after_s=RETRY_AFTER_S)
            return _error_response(busy, route.noun, request)
        except ClientGoneError:
            return Response(status_code=408)  # the client is gone, so this answer is never sent
        except (StrongroomError, RefusalError) as error:
            return _error_response(error, route.noun, request)

    async def _answer(self, route: Route, request: Request, tap: BodyTap) -> Response:
        """Identify the user before any of the body is read, then run the request in the lane of its route."""
        _check_version(request.path_params["version"])
        call = self._call(request, tap.peer)
        if not route.is_open:
            call = await self._identified(call, tap)
            if route.check_first is not None:
                route.check_first(call.identity)
        shape.check_query(route.query, call.query)
        call = replace(call, takes=route.takes)
        if route.streams:
            return _response(await self._stream(request, call, route, tap), request)
        limit = MAX_OPEN_BODY_BYTES if route.is_open else MAX_REQUEST_BYTES
        body = feed.BodyFeed(request.receive, self._settings.small_body, tap)
        call = replace(call, body=_SmallBody(await body.collect(limit)))
        if route.downloads:
            return await self._download(request, route, call, tap)
        work = partial(_handle, route, call)
        lane = self._pools.lane_of(route)
        return _response(await lane.run(_key(call), work, lambda: tap.is_gone), request)

    async def _identified(self, call: Call, tap: BodyTap) -> Call:
        if not call.token:
            raise RefusalError(401, "401000", "this needs a signed-in user: no x-tableau-auth")
        identify = partial(self._services.auth.identify, call.token)
        found = await self._pools.gate.run(call.peer, identify, lambda: tap.is_gone)
        return replace(call, signed_in=found)

    async def _download(
        self,
        request: Request,
        route: Route,
        call: Call,
        tap: BodyTap,
    ) -> Response:
        """A place is held until the last byte has left; a thread only while a piece is decrypted."""
        pools, key = self._pools, _key(call)
        asked = Asked(request.method, request.headers)
        asking = replace(call, first_bytes=asked.first_bytes)
        work = partial(_handle, route, asking)
        await pools.downloads.enter(key, lambda: tap.is_gone)
        try:
            result = await pools.pieces.run(work)
            if not isinstance(result, Download):
                raise UsageError("this route sends no file")  # noqa: TRY301 the place is given back below
            return DownloadResponse(result, asked, pools.pieces, lambda: pools.downloads.leave(key))
        except BaseException:
            pools.downloads.leave(key)
            raise

    async def _stream(
        self, request: Request, call: Call, route: Route, tap: BodyTap
    ) -> Answer | Download:
        if not request.headers.get("content-length", "").isdigit():
            raise RefusalError(411, "411000", "an upload needs a Content-Length")
        key, lane = _key(call), self._pools.uploads
        await lane.line.enter(key, lambda: tap.is_gone)
        body = feed.BodyFeed(request.receive, self._settings.upload_body, tap)
        work = partial(route.handle, replace(call, body=body))
        worker = lane.start(key, work)
        pump = asyncio.create_task(body.pump())
        try:
            return await worker
        finally:
            # first of all: whoever ends us may not wait for what comes after it (findings R1)
            body.abort()
            pump.cancel()
            await asyncio.gather(pump, return_exceptions=True)

    def _call(self, request: Request, peer: str) -> Call:
        length = request.headers.get("content-length", "")
        return Call(
            services=self._services,
            base_url=f"{request.url.scheme}://{request.headers.get('host', '')}",
            path=request.path_params,
            query=_query(request.scope["query_string"]),
            content_type=request.headers.get("content-type", ""),
            token=request.headers.get("x-tableau-auth", ""),
            body=_SmallBody(b""),
            declared_bytes=int(length) if length.isdigit() else 0,
            peer=peer,
        )


def _key(call: Call) -> str:
    """The key by which lanes take turns: the signed-in user, at any address, or else the client's address."""
    return call.peer if call.signed_in is None else f"user:{call.identity.user.id}"


def _query(raw: bytes) -> dict[str, str]:
    try:
        pairs = parse_qsl(
            raw.decode("latin-1"), keep_blank_values=True, max_num_fields=MAX_PARAMETERS
        )
    except ValueError as error:
        raise FormatError(f"a query has at most {MAX_PARAMETERS} parameters") from error
    sent: dict[str, str] = {}
    for name, value in pairs:
        if sent.setdefault(name, value) != value:
            raise UsageError(f"parameter {name[:60]!r} is sent twice with different values")
    return sent


def _handle(route: Route, call: Call) -> Answer | Download:
    """In a worker thread."""
    if route.has_message:
        # also for handlers that read none: what is sent to them would be dropped
        call = replace(call, sent=call.request())
    return route.handle(call)


def _response(result: Answer | Download, request: Request) -> Response:
    if isinstance(result, Download):
        raise UsageError("this route sends no file")
    return answer_response(result, _form(request))


def _form(request: Request) -> Form:
    return answer_form(request.headers.get("accept", ""))


def _check_version(version: str) -> None:
    match = _VERSION.fullmatch(version)
    if match is None or tuple(map(int, version.split("."))) < OLDEST_API:
        raise UsageError(f"no API version: {version[:20]!r}")


def _error_response(
    error: StrongroomError | RefusalError, noun: Noun, request: Request
) -> Response:
    fault = error.fault if isinstance(error, RefusalError) else fault_of(error, noun)
    if fault.status == 423:
        _log.error("refused, keys or storage unavailable: %s", error)
    return _fault_response(fault, request)


def _fault_response(
    fault: Fault, request: Request, headers: Mapping[str, str] | None = None
) -> Response:
    form = _form(request)
    sent = {"vary": "Accept", **(headers or {})}
    if fault.retry_after_s:
        sent["retry-after"] = str(fault.retry_after_s)
    return Response(form.render(fault.message), fault.status, sent, media_type=form.value)


async def _http_error(request: Request, error: Exception) -> Response:
    found = error if isinstance(error, HTTPException) else HTTPException(500)
    if found.status_code == 404:
        return _fault_response(no_such_route(request.url.path), request)
    if found.status_code == 405:
        fault = no_such_method(request.method, request.url.path)
        return _fault_response(fault, request, found.headers)
    return _fault_response(Fault(400, "400000", "bad request"), request)


async def _late_error(request: Request, error: Exception) -> Response:
    """Of a download whose first piece is damaged; once a piece was sent, the framework cuts the connection instead."""
    if not isinstance(error, StrongroomError):
        return _fault_response(UNEXPECTED, request)
    return _error_response(error, Noun.NOTHING, request)


async def _unexpected(request: Request, error: Exception) -> Response:
    # the framework's outermost handler: the exception is logged by it and goes on to the server afterwards
    _log.error("unexpected error", exc_info=error)
    return _fault_response(UNEXPECTED, request)
