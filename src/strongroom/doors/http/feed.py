"""A request body on its way from the event loop to the worker thread that parses and seals it.

The loop only moves buffers; the thread does the rest, most of it without the interpreter's lock. At most `LIMIT_BYTES`
wait between the two, so a slow disk slows the client and memory stays bounded. A body that stops arriving is given up.
"""

import asyncio
import queue
import threading
import time
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from dataclasses import dataclass
from typing import Any, Protocol

from strongroom.errors import FormatError, UsageError

BATCH_BYTES = 512 * 1024  # fewer hand-overs between loop and thread
LIMIT_BYTES = 4 * 1024 * 1024

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]


@dataclass(frozen=True)
class BodyLimits:
    """How fast a body must come.

    Attributes:
        idle_s: A period; a body of which nothing comes for so long is given up.
        least_bytes: In each period so much must come: who sends less holds a place that somebody else could use
            (security test S18, findings R8). The time in which we do not read does not count.
        whole_s: For all of a small body.
    """

    idle_s: float = 30.0
    least_bytes: int = 0
    whole_s: float = 30.0


class BodyCutError(Exception):
    """The client went away or fell silent; nobody waits for an answer."""


class Tap(Protocol):
    """The short way from the parser, where the server offers one (`web.protocol`)."""

    is_hopeless: bool

    def attach(self, take: Callable[[bytes], bool], ended: Callable[[bool], None]) -> None:
        """Let chunks come to `take`."""
        ...

    def detach(self) -> None:
        """Let them go the usual way."""
        ...

    def resume(self) -> None:
        """Say that there is room again."""
        ...


class BodyFeed:
    """The body of a request; `pump` runs on the event loop, and `chunks` in a single thread."""

    def __init__(self, receive: Receive, limits: BodyLimits, tap: Tap) -> None:
        self._receive = receive
        self._limits = limits
        self._tap = tap
        self._deadline: float | None = None
        self._batch: list[bytes] = []
        self._batch_bytes = 0
        self._loop = asyncio.get_running_loop()
        self._ready: queue.SimpleQueue[list[bytes] | BodyCutError | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._waiting = 0
        self._received = 0
        self._ended = False

    def read(self) -> bytes:
        """Streamed bodies are read by `chunks`."""
        raise UsageError("this body is read as it comes")

    def chunks(self) -> Iterator[bytes]:
        """The bytes in the worker thread.

        Raises:
            FormatError: The body was cut or did not arrive in time.
        """
        while (batch := self._next()) is not None:
            if isinstance(batch, BodyCutError):
                raise FormatError("the request's body was cut, or came too slowly") from batch
            yield from batch
            self._taken(sum(map(len, batch)))

    def hurry(self, seconds: float) -> None:
        """Set a limit on the time for all further chunks, from now on; 0 removes the limit."""
        self._deadline = time.monotonic() + seconds if seconds else None

    def _next(self) -> "list[bytes] | BodyCutError | None":
        deadline = self._deadline
        left = None if deadline is None else deadline - time.monotonic()
        try:
            if left is None or left > 0:
                return self._ready.get(timeout=left)
        except queue.Empty:
            pass
        self._tap.is_hopeless = True
        return BodyCutError()

    async def pump(self) -> None:
        """Receive to the end, or until nothing came for `idle_s` seconds."""
        is_whole = False
        try:
            async with asyncio.timeout(self._limits.idle_s):
                # the first message comes the usual way, which also answers `Expect: 100-continue`
                is_whole = self._begin(await self._receive())
            if not self._ended:
                is_whole = await self._receive_tapped()
        except TimeoutError:
            self._tap.is_hopeless = True
        self._hand_over()
        self._ready.put(None if is_whole else BodyCutError())

    def _begin(self, message: Message) -> bool:
        """Take the first message; says whether it was the whole body."""
        if message["type"] == "http.disconnect":
            self._ended = True
            return False
        self._ended = not message.get("more_body", False)
        self._take(message.get("body", b""))
        return self._ended

    async def _receive_tapped(self) -> bool:
        """Chunks come from the parser; here is watched that they do. Says whether the body came whole.

        The time in which the thread is busy does not count as silence.
        """
        whole: asyncio.Future[bool] = self._loop.create_future()
        self._tap.attach(self._take, whole.set_result)
        try:
            while not whole.done():
                before = self._received
                await asyncio.wait([whole], timeout=self._limits.idle_s)
                least = max(1, self._limits.least_bytes)
                slow = self._received - before < least and self._waiting == 0
                if slow and not whole.done():
                    raise TimeoutError
        finally:
            self._tap.detach()
        self._ended = True
        return whole.result()

    def _take(self, chunk: bytes) -> bool:
        """Collect a chunk; hand over what is worth it, or all if the thread has nothing to do."""
        if chunk:
            self._received += len(chunk)
            self._batch.append(chunk)
            self._batch_bytes += len(chunk)
            if self._batch_bytes >= BATCH_BYTES or self._waiting == 0:
                self._hand_over()
        return self._waiting < LIMIT_BYTES

    async def collect(self, limit: int) -> bytes:
        """A whole small body, instead of `pump` and `chunks`.

        Raises:
            FormatError: The body is longer than `limit`, was cut off, or did not arrive in time.
        """
        content = bytearray()
        try:
            async with asyncio.timeout(self._limits.whole_s):
                while not self._ended:
                    message = await self._receive()
                    if message["type"] == "http.disconnect":
                        raise FormatError("the request's body was cut")
                    self._ended = not message.get("more_body", False)
                    content += message.get("body", b"")
                    if len(content) > limit:
                        raise FormatError(f"the request's body is longer than {limit} bytes")
        except TimeoutError as error:
            self._tap.is_hopeless = True
            raise FormatError("the request's body did not arrive in time") from error
        return bytes(content)

    def abort(self) -> None:
        """End the reading of the thread, even while the thread waits, since no more of the body will be received."""
        self._ready.put(BodyCutError())

    def _hand_over(self) -> None:
        if self._batch:
            with self._lock:
                self._waiting += self._batch_bytes
            self._ready.put(self._batch)
            self._batch, self._batch_bytes = [], 0

    def _taken(self, size: int) -> None:
        """In the thread: so much has been read."""
        with self._lock:
            was_full = self._waiting >= LIMIT_BYTES
            self._waiting -= size
            has_room = self._waiting < LIMIT_BYTES
        if was_full and has_room:
            self._loop.call_soon_threadsafe(self._tap.resume)
