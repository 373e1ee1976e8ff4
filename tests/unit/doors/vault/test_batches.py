"""Groups of calls: one look and one append for all, and an answer for each, whatever goes wrong (ADR 51)."""

import asyncio
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import pytest

from strongroom.crypto.secret import SecretBytes
from strongroom.doors.vault.batches import Batches, Done, Given
from strongroom.doors.vault.recorder import Recorder, Written
from strongroom.doors.vault.wire import Answer, Request
from strongroom.errors import StateError, StorageError
from strongroom.eventlog.base import Event

REQUEST = Request("write", "transit/encrypt/k", {}, b"", "", SecretBytes(b"hvs.a"))
DONE = Done(Answer({"a": 1}), Event("A", "system", {}))


class Parts:
    """What a group stands on, each part of which fails when it is told to."""

    def __init__(self) -> None:
        self.looks, self.appended, self.failure = 0, list[int](), dict[str, Exception]()

    def _fail(self, part: str) -> None:
        if part in self.failure:
            raise self.failure.pop(part)

    def work(self, request: Request) -> Done | None:
        self._fail("work")
        return DONE if request is REQUEST else None

    @contextmanager
    def one_look(self) -> Iterator[None]:
        self._fail("look")
        self.looks += 1
        yield

    def append(self, events: Sequence[Event]) -> None:
        self._fail("append")
        self.appended.append(len(events))


async def answers(batches: Batches, requests: Sequence[Request]) -> list[int]:
    """The statuses of calls that were given together; 0 for one that goes the usual way."""
    loop = asyncio.get_running_loop()
    waiting = [loop.create_future() for _ in requests]
    for request, future in zip(requests, waiting, strict=True):
        batches.put(Given(request, future.set_result))
    found: list[Answer | None] = await asyncio.wait_for(asyncio.gather(*waiting), 60)
    return [0 if one is None else one.code() for one in found]


def test_each_call_is_answered_whatever_fails_and_the_next_group_goes_on() -> None:
    parts = Parts()
    other = Request("write", "kv/encrypt/k", {}, b"", "", SecretBytes(b"hvs.a"))

    async def run() -> None:
        batches = Batches(parts.work, parts.one_look, parts.append)
        assert await answers(batches, [REQUEST, other, REQUEST]) == [200, 0, 200]
        assert sum(parts.appended) == 2
        for part, failure, status in (
            ("look", StorageError("the database is gone"), 503),
            ("append", StorageError("the disk is full"), 503),
            ("append", OSError("what nobody translated"), 500),
            ("work", RuntimeError("a defect"), 500),
        ):
            parts.failure[part] = failure
            assert await answers(batches, [REQUEST]) == [status]
            assert await answers(batches, [REQUEST]) == [200]

    asyncio.run(run())


def test_calls_that_come_together_share_a_look_and_an_append() -> None:
    parts = Parts()

    async def run() -> None:
        batches = Batches(parts.work, parts.one_look, parts.append)
        for _ in range(10):
            assert await answers(batches, [REQUEST] * 200) == [200] * 200

    asyncio.run(run())
    assert sum(parts.appended) == 2000
    assert max(parts.appended) == 64
    assert parts.looks < 2000


async def _written(recorder: Recorder, event_id: str) -> None:
    written = Written()
    recorder.put(Event(event_id, "system", {}), written)
    await written.wait()


def test_a_thread_that_the_system_did_not_give_is_begun_by_the_next_call(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """R17: the door took itself to have a thread, and no later call was ever answered."""
    parts = Parts()
    events: list[Event] = []

    def no_thread(_: object) -> None:
        raise RuntimeError("can't start new thread")

    async def run() -> None:
        batches = Batches(parts.work, parts.one_look, parts.append)
        recorder = Recorder(events.extend)
        with monkeypatch.context() as patch:
            patch.setattr(threading.Thread, "start", no_thread)
            assert not batches.has_thread()
            with pytest.raises(StateError):
                batches.put(Given(REQUEST, lambda _: None))
            with pytest.raises(StorageError, match="no thread"):
                await _written(recorder, "A")
        assert await answers(batches, [REQUEST]) == [200]
        await asyncio.wait_for(_written(recorder, "B"), 60)

    asyncio.run(run())
    assert [one.id for one in events] == ["B"]
