"""A body between the loop and the thread: order, backpressure, silence, cuts."""

import asyncio
import threading
from collections.abc import Callable, Iterator

import pytest

from strongroom.doors.http.feed import BodyFeed, BodyLimits, Message
from strongroom.errors import FormatError, UsageError

CUT = "the request's body was cut, or came too slowly"


class FakeTap:
    """Hands out chunks as the server's protocol does, and keeps count of the pauses."""

    def __init__(self, chunks: Iterator[bytes], *, whole: bool = True, ends: bool = True) -> None:
        self._chunks, self._whole, self._ends = chunks, whole, ends
        self._take: Callable[[bytes], bool] | None = None
        self._ended: Callable[[bool], None] | None = None
        self.pauses = 0
        self.is_hopeless = False

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
    made = BodyFeed(receive(*messages), BodyLimits(idle_s), tap)

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
    _, found = asyncio.run(run(tap, body(b"first", more=True)))
    assert found == b"first" + b"".join(chunks)
    assert tap.pauses > 0
    assert not tap.is_hopeless


def test_a_body_in_one_message_needs_no_tap() -> None:
    _, found = asyncio.run(run(FakeTap(iter([b"never"])), body(b"all", more=False)))
    assert found == b"all"


def test_silence_is_given_up() -> None:
    tap = FakeTap(iter([b"x"]), ends=False)
    _, found = asyncio.run(run(tap, body(b"", more=True), idle_s=0.05))
    assert found == CUT
    assert tap.is_hopeless


def test_silence_before_the_first_byte() -> None:
    tap = FakeTap(iter([]))
    _, found = asyncio.run(run(tap, idle_s=0.05))
    assert (found, tap.is_hopeless) == (CUT, True)


def test_a_client_that_leaves() -> None:
    for tap, message in (
        (FakeTap(iter([b"x"]), whole=False), body(b"", more=True)),
        (FakeTap(iter([])), {"type": "http.disconnect"}),
    ):
        _, found = asyncio.run(run(tap, message))
        assert found == CUT
        assert not tap.is_hopeless  # nothing more will come


def test_a_streamed_body_is_not_read_at_once() -> None:
    async def read() -> None:
        BodyFeed(receive(), BodyLimits(), FakeTap(iter([]))).read()

    with pytest.raises(UsageError):
        asyncio.run(read())


def test_abort_ends_a_waiting_thread() -> None:
    async def aborted() -> bool:
        made = BodyFeed(receive(), BodyLimits(), FakeTap(iter([])))
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


def test_a_part_that_is_in_a_hurry_is_given_up() -> None:
    """findings S6: what decides whether the rest is wanted must be there in time, however steadily it drips."""

    async def hurried() -> tuple[str, bool]:
        tap = FakeTap(iter([]), ends=False)
        made = BodyFeed(receive(body(b"x", more=True)), BodyLimits(60), tap)
        pump = asyncio.create_task(made.pump())

        def read() -> str:
            made.hurry(0.05)
            try:
                return str(list(made.chunks()))
            except FormatError as error:
                return error.message

        found = await asyncio.get_running_loop().run_in_executor(None, read)
        pump.cancel()
        return found, tap.is_hopeless

    assert asyncio.run(hurried()) == (CUT, True)


def test_a_hurry_that_is_over_bounds_nothing() -> None:
    async def calm() -> bytes:
        made = BodyFeed(receive(body(b"all", more=False)), BodyLimits(), FakeTap(iter([])))
        made.hurry(-1)
        made.hurry(0)
        await made.pump()
        return b"".join(made.chunks())

    assert asyncio.run(calm()) == b"all"
