"""HTTP/1.1 as uvicorn speaks it, with bounds on what a connection may send and on how long it may take.

The framework bounds neither. Here every state of a connection has an end (findings S7): a head that does not arrive,
silence between two requests, an answer that is not read. Bodies are bounded where they are read (`feed`, `outer`).

The framework hands a body over in messages: two copies of each byte and a task switch for each read of the socket. An
upload takes it from the parser instead, through the tap in its scope. Everything else goes the framework's way.

The base class is private to uvicorn: what is used of it is listed in tests/unit/doors/http/test_uvicorn_parts.py (ADR 23).
"""

import ipaddress
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Protocol

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from strongroom.system.compat import override

EXTENSION = "strongroom.body"
MAX_HEAD_BYTES = 64 * 1024
MAX_HEADERS = 100
# of a body of unknown length, which is at most a few hundred KiB: pieces of one byte would cost more than they carry
MAX_CHUNKS = 16 * 1024
MAX_PIPELINED = (
    32  # requests that were sent before the answer to the one before; no client of ours sends any
)
# the bytes that a client must take in each period while an answer is being sent, or else it holds the connection for
# nothing
LEAST_SENT_BYTES = 4096
_TOO_LARGE = "The head of the request is too large."
_FULL = (
    b"HTTP/1.1 503 Service Unavailable\r\ncontent-type: text/plain; charset=utf-8\r\n"
    b"content-length: 22\r\nretry-after: 5\r\nconnection: close\r\n\r\ntoo many connections.\n"
)
_HOST = re.compile(rb"(?:[A-Za-z0-9._~%-]*|\[[0-9A-Fa-f:.]+\])(?::[0-9]{0,5})?")


@dataclass(frozen=True)
class Patience:
    """How long a connection may keep us waiting.

    Attributes:
        head_s: For a request's head to arrive, from its first byte or from the connection's beginning.
        keep_alive_s: For the next request to begin.
        stalled_s: For some of an answer to be read.
    """

    head_s: float = 30.0
    keep_alive_s: float = 75.0
    stalled_s: float = 60.0


class Counted(Protocol):
    """A connection, in whatever state, that holds a file.

    Attributes:
        peer: The client's address, as `peer_of` shortens it.
        waiting_since: The time since which the connection waits for its client, on the loop's clock.
        transport: The transport to the client.
    """

    peer: str
    waiting_since: float
    transport: Any

    @property
    def waits_for_client(self) -> bool:
        """Whether no request of it is being worked on."""
        ...

    def cut(self) -> None:
        """Close it now."""
        ...


@dataclass
class Connections:
    """The open connections; beyond the bound, the connection that has waited longest for its client is closed.

    Attributes:
        most: The most connections at a time.
        most_per_peer: The most connections of a client; the loopback is not limited, since a proxy there connects for
            all clients.
    """

    most: int = 2000
    most_per_peer: int = 500
    open: set[Counted] = field(default_factory=set)

    def admit(self, new: Counted) -> bool:
        """Whether there is room for it."""
        if new.peer and not _is_loopback(new.peer):
            of_peer = [one for one in self.open if one.peer == new.peer]
            if len(of_peer) >= self.most_per_peer and not _make_room(of_peer):
                return False
        if len(self.open) >= self.most and not _make_room(self.open):
            return False
        self.open.add(new)
        return True


class BodyTap:
    """The body of a request, chunk by chunk from the parser; used on the event loop only."""

    def __init__(self, protocol: "BoundedProtocol") -> None:
        self._protocol = protocol
        self._take: Callable[[bytes], bool] | None = None
        self._ended: Callable[[bool], None] | None = None
        #: The parser has seen the end of the request.
        self.is_whole = False
        #: Whether to wait no longer for the rest of this body.
        self.is_hopeless = False

    @property
    def is_gone(self) -> bool:
        """Whether the client has left."""
        return self._protocol.is_lost

    @property
    def peer(self) -> str:
        """The client's address, without a port, as `peer_of` shortens it."""
        return self._protocol.peer

    def cut(self) -> None:
        """End the connection now, in whatever state it is; what the client has of an answer is incomplete."""
        self._protocol.cut()

    def attach(self, take: Callable[[bytes], bool], ended: Callable[[bool], None]) -> None:
        """Pass all further chunks to `take`; earlier chunks were received in the usual way.

        Args:
            take: Says whether there is room for more; if not, `resume` is called later.
            ended: Called at the end with whether the body is whole.
        """
        self._take, self._ended = take, ended
        self.resume()

    def detach(self) -> None:
        """Have all further chunks received in the usual way again."""
        self._take = self._ended = None

    def resume(self) -> None:
        """There is room again."""
        if self._take is not None and not self._protocol.transport.is_closing():
            self._protocol.flow.resume_reading()

    def offer(self, chunk: bytes) -> bool:
        """Whether `attach` was called, so that the chunk was passed on."""
        if self._take is None:
            return False
        if not self._take(chunk):
            self._protocol.flow.pause_reading()
        return True

    def end(self, *, whole: bool) -> None:
        """No chunk comes any more."""
        self.is_whole = self.is_whole or whole
        ended = self._ended
        self.detach()
        if ended is not None:
            ended(whole)


class BoundedProtocol(HttpToolsProtocol):
    """Refuses heads that are too large, and gives up clients that keep us waiting; the parser itself has no bound."""

    _head_bytes = 0  # the bytes of the head that is being read
    _unparsed_bytes = 0  # the incomplete last header, which the parser keeps until the rest arrives
    _headers_seen = 0
    _chunks = 0
    _in_head = True
    _waits_for_client = True  # for a request, or for the rest of its head
    _timer: Any = None
    _stall_timer: Any = None
    _unsent = 0
    _tap: "BodyTap | None" = None
    #: The object by which the connection was counted during its handshake, since it must be counted only once.
    door: "Counted | None" = None
    is_lost = False
    peer = ""
    waiting_since = 0.0

    def __init__(self, *, patience: Patience, all_open: Connections, **usual: Any) -> None:
        super().__init__(**usual)
        self._patience = patience
        self._all_open = all_open
        # the base knows the newest request alone: of those before it that wait for their answers it tells none that the
        # client has left, and they would write to a transport that is closed
        self._unanswered: list[Any] = []
        self.timeout_keep_alive = patience.keep_alive_s  # type: ignore[assignment]

    @property
    def waits_for_client(self) -> bool:
        """Whether no request of this connection is being worked on."""
        return self._waits_for_client

    # ---- the connection --------------------------------------------------------------------------

    @override
    def connection_made(self, transport: Any) -> None:
        """A client connected: its first head has to arrive in time."""
        super().connection_made(transport)
        # uvicorn's log would show the query; the application logs by itself
        self.access_log = False
        self.peer = peer_of(self.client[0] if self.client else "")
        self.waiting_since = self.loop.time()
        if self.door is not None:
            self._all_open.open.discard(self.door)
        if not self._all_open.admit(self):
            transport.write(_FULL)
            self.close_in_time()
            return
        self._expect_head()

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        """The client is gone."""
        self.is_lost = True
        self._all_open.open.discard(self)
        self._stop_timer()
        self._stop_stall_timer()
        self._end_tap(whole=False)
        self._let_go()
        super().connection_lost(exc)

    def close_in_time(self) -> None:
        """Close when the client has read what it was sent, or does not go on reading."""
        self.transport.close()
        self._watch_sending()

    def cut(self) -> None:
        """Close now."""
        self._let_go()
        self.transport.abort()

    def _let_go(self) -> None:
        """Tell each request without its whole answer that the client is gone."""
        for cycle in self._unanswered:
            cycle.disconnected = not cycle.response_complete
            cycle.message_event.set()
        self._unanswered.clear()

    # ---- requests --------------------------------------------------------------------------------

    @override
    def data_received(self, data: bytes) -> None:
        """Bytes came: count those that the parser keeps of an unfinished head."""
        if self._waits_for_client and self._timer is None:
            self._expect_head()  # the first byte after an answer; more of them win no time
        self._unparsed_bytes += len(data)
        super().data_received(data)
        is_large = self._head_bytes + self._unparsed_bytes > MAX_HEAD_BYTES
        if self._in_head and is_large and not self.transport.is_closing():
            self.send_400_response(_TOO_LARGE)
        if self.transport.is_closing():
            self._watch_sending()

    @override
    def on_message_begin(self) -> None:
        """A request begins."""
        self._in_head = True
        self._head_bytes = self._unparsed_bytes = self._headers_seen = self._chunks = 0
        super().on_message_begin()

    @override
    def on_url(self, url: bytes) -> None:
        """A piece of the target."""
        self._unparsed_bytes = 0
        self._head_bytes += len(url)
        if self._head_bytes > MAX_HEAD_BYTES:
            raise ValueError(_TOO_LARGE)  # the parser answers 400
        super().on_url(url)

    @override
    def on_header(self, name: bytes, value: bytes) -> None:
        """A header is whole, or a trailer: the sum goes on, it is not made anew for each (findings S1)."""
        self._unparsed_bytes = 0
        self._headers_seen += 1
        self._head_bytes += len(name) + len(value) + 4
        if self._headers_seen > MAX_HEADERS or self._head_bytes > MAX_HEAD_BYTES:
            raise ValueError(_TOO_LARGE)
        super().on_header(name, value)

    @override
    def on_headers_complete(self) -> None:
        """A head is whole: give its request a tap."""
        self._in_head = False
        self._unparsed_bytes = 0
        self._waits_for_client = False
        self._stop_timer()
        parser: Any = self.parser  # there is one while its own callbacks run
        _check_host(self.headers, parser.get_http_version())
        if len(self.pipeline) >= MAX_PIPELINED:
            raise ValueError("Too many requests at once.")
        self._tap = BodyTap(self)
        self.scope.setdefault("extensions", {})[EXTENSION] = {"tap": self._tap}
        super().on_headers_complete()
        self._unanswered = [one for one in self._unanswered if not one.response_complete]
        self._unanswered.append(self.cycle)

    def on_chunk_header(self) -> None:
        """A chunk of a body of unknown length begins."""
        self._chunks += 1
        if self._chunks > MAX_CHUNKS:
            raise ValueError("The request's body comes in too many chunks.")

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

    @override
    def on_response_complete(self) -> None:
        """An answer was handed over: wait for the next request, if there is none yet."""
        if not self.pipeline:
            self._waits_for_client = True
            self.waiting_since = self.loop.time()
        super().on_response_complete()
        if self.transport.is_closing():
            self._watch_sending()

    # ---- time ------------------------------------------------------------------------------------

    @override
    def timeout_keep_alive_handler(self) -> None:
        """No request came after the last answer."""
        self.close_in_time()

    @override
    def pause_writing(self) -> None:
        """The client reads more slowly than we write."""
        super().pause_writing()
        self._watch_sending()

    @override
    def resume_writing(self) -> None:
        """Note that the client has read, so that sending goes on."""
        self._stop_stall_timer()
        super().resume_writing()

    def _expect_head(self) -> None:
        self._stop_timer()
        self._timer = self.loop.call_later(self._patience.head_s, self.close_in_time)

    def _watch_sending(self) -> None:
        if self._stall_timer is None and not self.is_lost:
            self._unsent = self.transport.get_write_buffer_size()
            self._stall_timer = self.loop.call_later(self._patience.stalled_s, self._check_sending)

    def _check_sending(self) -> None:
        self._stall_timer = None
        left = self.transport.get_write_buffer_size()
        if self._unsent - left < LEAST_SENT_BYTES:
            self.cut()
        else:
            self._watch_sending()

    def _end_tap(self, *, whole: bool) -> None:
        tap, self._tap = self._tap, None
        if tap is not None:
            tap.end(whole=whole)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _stop_stall_timer(self) -> None:
        if self._stall_timer is not None:
            self._stall_timer.cancel()
            self._stall_timer = None


def peer_of(host: str) -> str:
    """The part of an address that stands for a client; of an IPv6 address the first 64 bits."""
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return host
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return str(address.ipv4_mapped)
        if not address.is_loopback:
            return str(ipaddress.ip_network((address, 64), strict=False))
    return str(address)


def _is_loopback(peer: str) -> bool:
    return peer.startswith("127.") or peer == "::1"


def _check_host(headers: list[tuple[bytes, bytes]], version: str) -> None:
    """Exactly one, in the form of a host: RFC 9112 section 3.2 (findings S16)."""
    hosts = [value for name, value in headers if name == b"host"]
    wanted = {1} if version == "1.1" else {0, 1}
    if len(hosts) not in wanted or not all(map(_HOST.fullmatch, hosts)):
        raise ValueError("There must be one Host header.")


def _make_room(among: Iterable[Counted]) -> bool:
    """Close the connection that has waited longest for its client; whether there is one."""
    idle = [one for one in among if one.waits_for_client and not one.transport.is_closing()]
    if not idle:
        return False
    longest = min(idle, key=lambda one: one.waiting_since)
    longest.cut()
    return True
