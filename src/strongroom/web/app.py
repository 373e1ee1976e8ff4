"""The web application: finds the route, checks who asks, runs the handler in a thread and renders what it gives.

It never logs a query, a body or a token, and never answers an expected failure with a 5xx.
"""

import asyncio
import logging
import re
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route as StarletteRoute
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from strongroom.bootstrap import Node
from strongroom.errors import StrongroomError, UsageError
from strongroom.web import admission, feed, health
from strongroom.web.api import xml
from strongroom.web.api.errors import UNEXPECTED, Fault, Noun, RefusalError, fault_of
from strongroom.web.api.routing import Answer, Call, Download, Route
from strongroom.web.api.table import ROUTES
from strongroom.web.delivery import DownloadResponse, xml_response
from strongroom.web.protocol import EXTENSION

_log = logging.getLogger("strongroom.web")
_access_log = logging.getLogger("strongroom.web.access")

_VERSION = re.compile(r"\d{1,3}\.\d{1,3}")
OLDEST_API = (2, 4)
_HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"cache-control", b"no-store"),
)


@dataclass(frozen=True)
class WebSettings:
    """What may differ between installations and tests.

    Attributes:
        idle_s: A body that sends nothing for so long is given up.
        upload_threads: Uploads that are sealed at the same time; more wait.
    """

    idle_s: float = 60.0
    upload_threads: int = 16


@dataclass(frozen=True)
class _SmallBody:
    content: bytes = field(repr=False)  # of a sign-in: the password

    def read(self) -> bytes:
        return self.content

    def chunks(self) -> Iterator[bytes]:
        yield self.content


def create_app(node: Node, settings: WebSettings | None = None) -> ASGIApp:
    """The ASGI application over one node's services."""
    dispatcher = _Dispatcher(node, settings or WebSettings())
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
        routes=[*health.routes(node), *admission.routes(node), *routes],
        exception_handlers={
            HTTPException: _http_error,
            StrongroomError: _late_error,
            Exception: _unexpected,
        },
    )
    app.router.redirect_slashes = False
    return _Outer(app)


class _Dispatcher:
    def __init__(self, node: Node, settings: WebSettings) -> None:
        self._node = node
        self._settings = settings
        self._uploads = ThreadPoolExecutor(settings.upload_threads, "upload")

    async def serve(self, by_method: dict[str, Route], request: Request) -> Response:
        """One request of a known path."""
        route = by_method["GET" if request.method == "HEAD" else request.method]
        tap = request.scope["extensions"][EXTENSION]["tap"]  # our own protocol puts it there
        body = feed.BodyFeed(request.receive, self._settings.idle_s, tap)
        try:
            _check_version(request.path_params["version"])
            if route.streams:
                result = await self._run_streaming(route, request, body)
            else:
                result = await self._run(route, request, body)
        except (StrongroomError, RefusalError) as error:
            response = _error_response(error, route.noun)
        else:
            response = _response(result, request)
        if not (body.is_complete or body.timed_out or _is_stopping()):
            await body.drain()  # a client that is still sending would not see the answer
        if not body.is_complete:
            response.headers["connection"] = "close"  # what else comes on it is no request
        return response

    async def _run(self, route: Route, request: Request, body: feed.BodyFeed) -> Answer | Download:
        content = await body.collect(xml.MAX_REQUEST_BYTES)
        return await asyncio.to_thread(_handle, route, self._call(request, _SmallBody(content)))

    async def _run_streaming(
        self, route: Route, request: Request, body: feed.BodyFeed
    ) -> Answer | Download:
        if not request.headers.get("content-length", "").isdigit():
            raise RefusalError(411, "411000", "an upload needs a Content-Length")
        call = self._call(request, body)
        worker = asyncio.get_running_loop().run_in_executor(self._uploads, _handle, route, call)
        pump = asyncio.create_task(body.pump())
        try:
            return await worker
        finally:
            pump.cancel()
            await asyncio.gather(pump, return_exceptions=True)
            body.abort()

    def _call(self, request: Request, body: feed.BodyFeed | _SmallBody) -> Call:
        length = request.headers.get("content-length", "")
        return Call(
            node=self._node,
            base_url=f"{request.url.scheme}://{request.headers.get('host', '')}",
            path=request.path_params,
            query=dict(request.query_params),
            content_type=request.headers.get("content-type", ""),
            token=request.headers.get("x-tableau-auth", ""),
            body=body,
            declared_bytes=int(length) if length.isdigit() else 0,
        )


def _is_stopping() -> bool:
    """Whether the server wants this request to end now."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def _handle(route: Route, call: Call) -> Answer | Download:
    """In a worker thread: who asks, then the handler."""
    if not route.is_open:
        if not call.token:
            raise RefusalError(401, "401000", "this needs a signed-in user: no x-tableau-auth")
        call = replace(call, signed_in=call.node.auth.identify(call.token))
    return route.handle(call)


def _response(result: Answer | Download, request: Request) -> Response:
    if isinstance(result, Download):
        return DownloadResponse(result, request.headers.get("range", ""))
    return xml_response(result)


def _check_version(version: str) -> None:
    match = _VERSION.fullmatch(version)
    if match is None or tuple(map(int, version.split("."))) < OLDEST_API:
        raise UsageError(f"no API version: {version[:20]!r}")


def _error_response(error: StrongroomError | RefusalError, noun: Noun) -> Response:
    fault = error.fault if isinstance(error, RefusalError) else fault_of(error, noun)
    if fault.status == 423:
        _log.error("refused, keys or storage unavailable: %s", error)
    return _fault_response(fault)


def _fault_response(fault: Fault) -> Response:
    return Response(fault.render(), fault.status, media_type="application/xml")


async def _http_error(_: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 500
    if status == 404:
        return _fault_response(Fault(404, Noun.NOTHING.missing_code, "no such resource"))
    if status == 405:
        return _fault_response(Fault(405, "405000", "this resource has no such method"))
    return _fault_response(Fault(400, "400000", "bad request"))


async def _late_error(_: Request, error: Exception) -> Response:
    """Of a download whose first piece is damaged; once a piece was sent, the framework cuts the connection instead."""
    if not isinstance(error, StrongroomError):
        return _fault_response(UNEXPECTED)
    return _error_response(error, Noun.NOTHING)


async def _unexpected(_: Request, error: Exception) -> Response:
    # the framework's outermost handler: the exception is logged by it and goes on to the server afterwards
    _log.error("unexpected error", exc_info=error)
    return _fault_response(UNEXPECTED)


class _Outer:
    """Security headers on every answer and one access line for each request, without query and without secrets."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        begun = time.monotonic()
        status = 0
        _access_log.debug("%s %r begins", scope["method"], scope["path"])

        async def send_with_headers(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = _with_security(message.get("headers", ()))
            await send(message)

        try:
            await self._app(scope, receive, send_with_headers)
        finally:
            taken_ms = (time.monotonic() - begun) * 1000
            _access_log.info("%s %r %d %.0f ms", scope["method"], scope["path"], status, taken_ms)


def _with_security(headers: Sequence[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    return [*headers, *_HEADERS]
