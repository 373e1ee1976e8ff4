"""HTTP/1.1 with the method LIST of Vault's clients, which the parser of our server does not know, and a short way.

The parser knows LINK, of the same length, which nobody uses. The first word of a request is exchanged before the parser
sees it; a request that was sent before the answer to the one before is left as it is, and a LIST among those is refused.

A plain request that uses a key (`plain`) goes to the batches without parser, task and framework. Bytes that come before
its answer is there wait, and no more of them are read; then they are taken as if they came now. A client that does not
read its answers has no short way: the framework waits for it before it answers more.
"""

from contextlib import suppress
from functools import partial
from typing import Any

from strongroom.doors.http.gate import Gate
from strongroom.doors.http.outer import HEADERS, HSTS
from strongroom.doors.http.protocol import BoundedProtocol
from strongroom.doors.vault import plain
from strongroom.doors.vault.batches import Batches, Given
from strongroom.doors.vault.wire import Answer
from strongroom.system.compat import override

LIST = "LINK"
"""The method that the application sees in place of LIST."""
_OF_HTTP, _OF_HTTPS = plain.Lines(HEADERS), plain.Lines((*HEADERS, HSTS))
_SENT, _PARSED = b"LIST ", b"LINK "


class VaultProtocol(BoundedProtocol):
    """The bounded protocol, for Vault's methods."""

    _is_first = True  # the next bytes begin a request
    _held = b""
    _is_short_way = False  # a plain request is under way
    _is_stopping = False
    _idle_timer: Any = None

    def __init__(
        self,
        *,
        batches: Batches | None = None,
        heads: plain.Heads | None = None,
        gate: Gate | None = None,
        **usual: Any,
    ) -> None:
        super().__init__(**usual)
        self._batches = batches
        self._heads = heads or plain.Heads()
        self._gate = gate or Gate()
        self._inside: object = None

    @override
    def data_received(self, data: bytes) -> None:
        """Bytes came."""
        if self._is_short_way:
            self._held += data
            self.flow.pause_reading()
            return
        if self._is_first:
            data, self._held = self._held + data, b""
            if self._goes_short_way(data):
                return
            if len(data) < len(_SENT) and _SENT.startswith(data):
                self._held = data  # the timer of the connection runs on
                return
            self._is_first = False
            if data.startswith(_SENT):
                data = _PARSED + data[len(_SENT) :]
        super().data_received(data)

    @override
    def on_response_complete(self) -> None:
        """An answer was handed over."""
        super().on_response_complete()
        self._is_first = not self.pipeline

    @override
    def shutdown(self) -> None:
        """The server ends: an answer that is under way is sent first."""
        self._is_stopping = True
        if not self._is_short_way:
            super().shutdown()

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        """The client is gone."""
        if self._idle_timer is not None:
            self._idle_timer.cancel()
            self._idle_timer = None
        super().connection_lost(exc)

    # ---- the short way ---------------------------------------------------------------------------

    def _goes_short_way(self, data: bytes) -> bool:
        if self._batches is None or self.transport.is_closing():
            return False
        if self.flow.write_paused:
            return False  # the client does not read: the usual way waits until it does
        request = self._heads.parsed(data, self.peer)
        if request is None or not self._batches.has_thread():
            return False
        self._inside = self._gate.enter(self._cut)
        if self._inside is None:
            return False  # the usual way turns it away
        self._is_short_way, self._waits_for_client = True, False
        self._stop_timer()
        self._unset_keepalive_if_required()
        self._batches.put(Given(request, partial(self._answer, data)))
        return True

    def _cut(self) -> None:
        """Close the connection: its call did not end in time."""
        with suppress(RuntimeError):  # the loop has ended, and the connection with it
            self.loop.call_soon_threadsafe(self.transport.abort)

    def _answer(self, data: bytes, answer: Answer | None) -> None:
        """Take the answer to a plain request, on the event loop; None gives it to the parser after all."""
        self._is_short_way = False
        self._gate.leave(self._inside)
        if self.is_lost or self.transport.is_closing():
            return
        held, self._held = self._held, b""
        if answer is None:
            self._is_first = False
            self.flow.resume_reading()
            super().data_received(data + held)
            if self._is_stopping:
                super().shutdown()  # the end waited for this call, which the parser has now
            return
        shared = _OF_HTTPS if self.scheme == "https" else _OF_HTTP
        lines = shared.of(self.server_state.default_headers)
        self.transport.write(plain.rendered(answer, lines, close=self._is_stopping))
        self.server_state.total_requests += 1
        if self._is_stopping:
            self.close_in_time()
            return
        self._waits_for_client, self.waiting_since = True, self.loop.time()
        if self._idle_timer is None:
            self._look_later(self.timeout_keep_alive)
        if held:
            self.flow.resume_reading()
            self.data_received(held)

    def _look_later(self, seconds: float) -> None:
        self._idle_timer = self.loop.call_later(seconds, self._look_whether_idle)

    def _look_whether_idle(self) -> None:
        """Give a client up that does not ask again; one timer is for all answers of the short way, not for each."""
        self._idle_timer = None
        is_seen_to = self._timer is not None or self.timeout_keep_alive_task is not None
        if self.is_lost or is_seen_to or not self._waits_for_client:
            return
        left = self.waiting_since + self.timeout_keep_alive - self.loop.time()
        if left > 0:
            self._look_later(left)
        else:
            self.timeout_keep_alive_handler()
