"""The outermost layer of the application, for every request: security headers, the unread rest of a body, and a log line.

A route that answers before it has read the body, or a path without a route, leaves unread bytes on the connection. The
answer is sent at once, and then the bytes are read and dropped within a bound, before the connection is closed: if it
were closed while the client still sends, the client would lose the answer (findings S7).
"""

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from strongroom.doors.http.gate import PROBES, RETRY_AFTER_S, WORDS, Gate
from strongroom.doors.http.protocol import EXTENSION, BodyTap

_access_log = logging.getLogger("strongroom.web.access")
HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"cache-control", b"no-store"),
)
# for the next year this host is to be asked by HTTPS only; said by HTTPS alone, as RFC 6797 section 7.2 wants it
HSTS = (b"strict-transport-security", b"max-age=31536000")
_CLOSE = (b"connection", b"close")
# a client chooses the path, and could fill the log with long ones, so the log shows this much of it (findings ST)
SHOWN_PATH_CHARACTERS = 200
_LAST_WORD_S = 0.5
_STOPPED = b"text/plain; charset=utf-8", b"the server is stopping; try again\n"


@dataclass(frozen=True)
class Drain:
    """The bounds on reading and dropping the rest of a body after an early answer.

    Attributes:
        seconds: The longest time.
        most_bytes: The most bytes.
    """

    seconds: float = 30.0
    most_bytes: int = 256 * 1024 * 1024


class Outer:
    """The outermost layer, an ASGI application around the application."""

    def __init__(
        self,
        app: ASGIApp,
        drain: Drain,
        gate: Gate | None = None,
        turned_away: tuple[bytes, bytes] = (b"text/plain; charset=utf-8", f"{WORDS}\n".encode()),
    ) -> None:
        """Take the application.

        Args:
            app: The application.
            drain: The bounds on the rest of a body after an early answer.
            gate: The gate of the node; by default one that is always open.
            turned_away: The media type, and the body, for whom the gate turns away.
        """
        self._app = app
        self._drain = drain
        self._gate = gate or Gate()
        self._turned_away = turned_away

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        begun = time.monotonic()
        path = shown(scope["path"])
        _access_log.debug("%s %s begins", scope["method"], path)
        exchange = _Exchange(scope, receive, send, self._drain)
        is_probe = scope["path"] in PROBES
        inside = None if is_probe else self._gate.enter(_end_of_this_task())
        try:
            if inside is None and not is_probe:
                await exchange.turn_away(*self._turned_away)
            else:
                await self._app(scope, exchange.receive, exchange.send)
        except asyncio.CancelledError:
            # cancelled by the gate, or by the end of the server
            await exchange.stop(self._turned_away if self._gate.is_closed else _STOPPED)
        finally:
            self._gate.leave(inside)
            taken_ms = (time.monotonic() - begun) * 1000
            _access_log.info("%s %s %d %.0f ms", scope["method"], path, exchange.status, taken_ms)


class _Exchange:
    """A request and its answer while they are under way."""

    def __init__(self, scope: Scope, receive: Receive, send: Send, drain: Drain) -> None:
        self._receive = receive
        self._send = send
        self._drain = drain
        self._tap: BodyTap = scope["extensions"][EXTENSION]["tap"]  # our own protocol puts it there
        self._is_https = scope["scheme"] == "https"
        # a client with "Expect: 100-continue" gets the answer before it sends the body
        self._asks_first = _expects_to_go_on(scope["headers"])
        self._is_early = False  # whether the answer began before the whole request was read
        self.status = 0

    async def receive(self) -> Message:
        """For the application."""
        self._asks_first = False  # the server says "100 Continue" now
        return await self._receive()

    async def send(self, message: Message) -> None:
        """From the application."""
        if message["type"] == "http.response.start":
            headers = [*message.get("headers", ()), *HEADERS]
            if self._is_https:
                headers.append(HSTS)
            self._is_early = not self._tap.is_whole
            if self._is_early:
                headers = [one for one in headers if one[0] != b"connection"]
                # the next bytes on this connection are the rest of a body, not a request
                headers.append(_CLOSE)
            self.status = message["status"]
            message["headers"] = headers
        elif self._is_early and not message.get("more_body", False):
            # the answer is there at once; a client that is still sending sees it when it is through
            await self._send({**message, "more_body": True})
            await self._drop_rest()
            message = {"type": "http.response.body", "body": b"", "more_body": False}
        await self._send(message)

    async def turn_away(self, media_type: bytes, body: bytes) -> None:
        """Answer that nobody is served now."""
        headers = [
            (b"content-type", media_type),
            (b"content-length", str(len(body)).encode()),
            (b"retry-after", str(RETRY_AFTER_S).encode()),
        ]
        await self.send({"type": "http.response.start", "status": 503, "headers": headers})
        await self.send({"type": "http.response.body", "body": body, "more_body": False})

    async def stop(self, words: tuple[bytes, bytes]) -> None:
        """End the wait for this request; the client is told why, if its connection still takes an answer.

        Args:
            words: The media type, and the body.
        """
        media_type, body = words
        if self.status:
            self._tap.cut()
            return
        self.status = 503
        headers = [
            (b"content-type", media_type),
            (b"content-length", str(len(body)).encode()),
            (b"retry-after", b"10"),
            _CLOSE,
        ]
        begin: Message = {"type": "http.response.start", "status": 503, "headers": headers}
        try:
            async with asyncio.timeout(_LAST_WORD_S):
                await self._send(begin)
                await self._send({"type": "http.response.body", "body": body, "more_body": False})
        except (TimeoutError, asyncio.CancelledError):
            self._tap.cut()  # the client does not read, or the server is ending

    async def _drop_rest(self) -> None:
        """Read what is left of the request, within bounds."""
        tap, left = self._tap, self._drain.most_bytes
        if tap.is_hopeless or self._asks_first:
            return
        try:
            async with asyncio.timeout(self._drain.seconds):
                while not (tap.is_whole or tap.is_gone) and left > 0:
                    message = await self._receive()
                    left -= len(message.get("body", b""))
        except TimeoutError:
            return


def shown(path: str) -> str:
    """A path as the log shows it: in one line, printable, and not longer than a line."""
    words = repr(path[: SHOWN_PATH_CHARACTERS + 1])
    if len(words) > SHOWN_PATH_CHARACTERS:
        return words[:SHOWN_PATH_CHARACTERS] + "…'"
    return words


def _end_of_this_task() -> Callable[[], None]:
    """The function by which any thread has the task of this request end."""
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    assert task is not None  # noqa: S101 for the type checker: a request is served by a task

    def end() -> None:
        with suppress(RuntimeError):  # the loop has ended, and the task with it
            loop.call_soon_threadsafe(task.cancel)

    return end


def _expects_to_go_on(headers: Sequence[tuple[bytes, bytes]]) -> bool:
    return any(name == b"expect" and value.lower() == b"100-continue" for name, value in headers)
