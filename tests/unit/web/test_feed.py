"""A body between the loop and the thread: order, backpressure, silence, cuts."""

import asyncio
import threading
from collections.abc import Callable, Iterator

import pytest

from strongroom.errors import FormatError, UsageError
from strongroom.web import feed
from strongroom.web.feed import BodyFeed, Message


class FakeTap:
    """Hands out chunks as the server's protocol does, and keeps count of the pauses."""

    def __init__(self, chunks: Iterator[bytes], *, whole: bool = True, ends: bool = True) -> None:
        self._chunks, self._whole, self._ends = chunks, whole, ends
        self._take: Callable[[bytes], bool] | None = None
        self._ended: Callable[[bool], None] | None = None
        self.pauses = 0

    def attach(self, take: Callable[[bytes], bool], ended: Callable[[bool], None]) -> None:
        self._take, self._ended = take, ended
        self.resume()

    def detach(self) -> None:
        self._take = self._ended = None

    def resume(self) -> None:
        if self._take is None or self._ended is None:
            return
        for chunk in self._chunks:
            if not self._take(chunk):
                self.pauses += 1
                return
        if self._ends:
            self._ended(self._whole)


def receive(*messages: Message) -> Callable[[], "asyncio.Future[Message]"]:
    waiting = iter(messages)

    async def next_message() -> Message:
        found = next(waiting, None)
        if found is None:
            await asyncio.sleep(3600)
        assert found is not None
        return found

    return next_message  # type: ignore[return-value]


def body(content: bytes, *, more: bool) -> Message:
    return {"type": "http.request", "body": content, "more_body": more}


async def run(tap: FakeTap, *messages: Message, idle_s: float = 5) -> tuple[BodyFeed, bytes | str]:
    """Pump on the loop, read in a thread; what came out, or the words of the error."""
    made = BodyFeed(receive(*messages), idle_s, tap)

    def read() -> bytes | str:
        try:
            return b"".join(made.chunks())
        except FormatError as error:
            return error.message

    reader = asyncio.get_running_loop().run_in_executor(None, read)
    await made.pump()
    return made, await reader


def test_everything_comes_out_in_order_and_memory_is_bounded() -> None:
    chunks = [bytes([number % 256]) * 100_000 for number in range(200)]
    tap = FakeTap(iter(chunks))
    made, found = asyncio.run(run(tap, body(b"first", more=True)))
    assert found == b"first" + b"".join(chunks)
    assert tap.pauses > 0
    assert made.is_complete


def test_a_body_in_one_message_needs_no_tap() -> None:
    _, found = asyncio.run(run(FakeTap(iter([b"never"])), body(b"all", more=False)))
    assert found == b"all"


def test_silence_is_given_up() -> None:
    made, found = asyncio.run(
        run(FakeTap(iter([b"x"]), ends=False), body(b"", more=True), idle_s=0.05)
    )
    assert found == "the request's body was cut"
    assert made.timed_out
    assert not made.is_complete


def test_silence_before_the_first_byte() -> None:
    made, found = asyncio.run(run(FakeTap(iter([])), idle_s=0.05))
    assert (found, made.timed_out) == ("the request's body was cut", True)


def test_a_client_that_leaves() -> None:
    for tap, message in (
        (FakeTap(iter([b"x"]), whole=False), body(b"", more=True)),
        (FakeTap(iter([])), {"type": "http.disconnect"}),
    ):
        made, found = asyncio.run(run(tap, message))
        assert found == "the request's body was cut"
        assert made.is_complete  # nothing more will come


def test_a_streamed_body_is_not_read_at_once() -> None:
    async def read() -> None:
        BodyFeed(receive(), 1, FakeTap(iter([]))).read()

    with pytest.raises(UsageError):
        asyncio.run(read())


def test_abort_ends_a_waiting_thread() -> None:
    async def aborted() -> bool:
        made = BodyFeed(receive(), 1, FakeTap(iter([])))
        failed = threading.Event()

        def read() -> None:
            try:
                list(made.chunks())
            except FormatError:
                failed.set()

        reader = asyncio.get_running_loop().run_in_executor(None, read)
        made.abort()
        await reader
        return failed.is_set()

    assert asyncio.run(aborted())


def test_draining_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    async def drained(*messages: Message) -> bool:
        made = BodyFeed(receive(*messages), 1, FakeTap(iter([])))
        await made.drain()
        return made.is_complete

    monkeypatch.setattr(feed, "DRAIN_S", 0.05)
    monkeypatch.setattr(feed, "DRAIN_BYTES", 10)
    assert asyncio.run(drained(body(b"1", more=True), body(b"2", more=False)))
    assert not asyncio.run(drained(body(b"1" * 11, more=True), body(b"2", more=False)))
    assert not asyncio.run(drained(body(b"1", more=True)))
