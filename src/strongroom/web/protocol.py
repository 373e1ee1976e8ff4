"""HTTP/1.1 as uvicorn speaks it, with bounds on a request's head, and a short way for the bodies of uploads.

The framework hands a body over in messages: two copies of each byte and a task switch for each read of the socket. An upload
takes it from the parser instead, through the tap in its scope. Everything else goes the framework's way.
"""

from collections.abc import Callable
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from strongroom.overriding import override

EXTENSION = "strongroom.body"
MAX_HEAD_BYTES = 64 * 1024
HEAD_S = 30.0  # for a request's head to arrive
_TOO_LARGE = "The head of the request is too large."


class BodyTap:
    """One request's body, chunk by chunk from the parser; used on the event loop only."""

    def __init__(self, protocol: "BoundedProtocol") -> None:
        self._protocol = protocol
        self._take: Callable[[bytes], bool] | None = None
        self._ended: Callable[[bool], None] | None = None

    def attach(self, take: Callable[[bytes], bool], ended: Callable[[bool], None]) -> None:
        """From now on chunks go to `take`; what came before has been received the usual way.

        Args:
            take: Says whether there is room for more; if not, `resume` is called later.
            ended: Told at the end whether the body is whole.
        """
        self._take, self._ended = take, ended
        self.resume()

    def detach(self) -> None:
        """What else comes goes the usual way again."""
        self._take = self._ended = None

    def resume(self) -> None:
        """There is room again."""
        if self._take is not None and not self._protocol.transport.is_closing():
            self._protocol.flow.resume_reading()

    def offer(self, chunk: bytes) -> bool:
        """Whether somebody took the chunk."""
        if self._take is None:
            return False
        if not self._take(chunk):
            self._protocol.flow.pause_reading()
        return True

    def end(self, *, whole: bool) -> None:
        """No chunk comes any more."""
        ended = self._ended
        self.detach()
        if ended is not None:
            ended(whole)


class BoundedProtocol(HttpToolsProtocol):
    """Refuses heads that are too large, and gives up those that do not arrive; the parser itself has no bound."""

    _head_bytes = 0
    _in_head = True
    _head_timer: Any = None
    _tap: "BodyTap | None" = None

    @override
    def connection_made(self, transport: Any) -> None:
        """A client connected: its first head has to arrive in time."""
        super().connection_made(transport)
        self.access_log = False  # it would write the query; the application has a log of its own
        self._head_timer = self.loop.call_later(HEAD_S, transport.close)

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        """The client is gone."""
        self._stop_timer()
        self._end_tap(whole=False)
        super().connection_lost(exc)

    @override
    def data_received(self, data: bytes) -> None:
        """Bytes came: count those of an unfinished head."""
        super().data_received(data)
        if self._in_head and not self.transport.is_closing():
            # the parser keeps what it has of an unfinished head
            self._head_bytes += len(data)
            if self._head_bytes > MAX_HEAD_BYTES:
                self.send_400_response(_TOO_LARGE)

    @override
    def on_message_begin(self) -> None:
        """A request begins."""
        self._in_head = True
        self._head_bytes = 0
        super().on_message_begin()

    @override
    def on_header(self, name: bytes, value: bytes) -> None:
        """A header is whole."""
        super().on_header(name, value)
        if sum(len(key) + len(text) for key, text in self.headers) > MAX_HEAD_BYTES:
            raise ValueError(_TOO_LARGE)  # the parser answers 400

    @override
    def on_headers_complete(self) -> None:
        """A head is whole: give its request a tap."""
        self._in_head = False
        self._head_bytes = 0
        self._stop_timer()
        if len(self.url) > MAX_HEAD_BYTES:
            raise ValueError(_TOO_LARGE)
        self._tap = BodyTap(self)
        self.scope.setdefault("extensions", {})[EXTENSION] = {"tap": self._tap}
        super().on_headers_complete()

    @override
    def on_body(self, body: bytes) -> None:
        """A piece of a body: for the tap, if somebody attached it."""
        if self._tap is None or not self._tap.offer(body):
            super().on_body(body)

    @override
    def on_message_complete(self) -> None:
        """A request is whole."""
        self._end_tap(whole=True)
        super().on_message_complete()

    def _end_tap(self, *, whole: bool) -> None:
        tap, self._tap = self._tap, None
        if tap is not None:
            tap.end(whole=whole)

    def _stop_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None
