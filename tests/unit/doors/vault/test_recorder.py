"""Events of calls, synced together, and counted until they are durable (ADR 61)."""

import asyncio
import threading
from collections.abc import Sequence

import pytest

from strongroom.doors.http.gate import Gate
from strongroom.doors.vault.recorder import Recorder, Written
from strongroom.errors import StorageError, StrongroomError
from strongroom.eventlog.base import Event
from strongroom.eventlog.events import service_key_events

LIMIT_S = 30


def event(number: int) -> Event:
    return service_key_events.service_stranger_refused(
        reason=f"call {number}", peer="127.0.0.1", held_back=0
    )


class Disk:
    """A log whose sync takes as long as it is told."""

    def __init__(self) -> None:
        self.is_quick = threading.Event()
        self.is_asked = threading.Event()
        self.groups: list[Sequence[Event]] = []
        self.error: Exception | None = None

    def append(self, events: Sequence[Event]) -> None:
        self.is_asked.set()
        assert self.is_quick.wait(LIMIT_S)
        self.groups.append(events)
        if self.error is not None:
            raise self.error


def drained(gate: Gate) -> bool:
    """Wait until nothing is under way; whether it came to that."""
    for _ in range(LIMIT_S * 100):
        if not gate.under_way:
            return True
        threading.Event().wait(0.01)
    return False


def test_a_node_has_not_drained_while_an_event_is_not_durable() -> None:
    """Each call was cut off behind its work: its request is gone, and its event is still to be synced."""
    gate, disk = Gate(), Disk()
    recorder = Recorder(disk.append, gate.working)

    async def cut_off() -> None:
        for number in range(3):
            recorder.put(event(number), Written())

    asyncio.run(cut_off())
    gate.close()
    assert disk.is_asked.wait(LIMIT_S)
    assert gate.under_way == 3
    disk.is_quick.set()
    assert drained(gate)
    assert [one for group in disk.groups for one in group] == [event(number) for number in range(3)]


@pytest.mark.parametrize("error", [None, StorageError("the disk is full"), ValueError("a defect")])
def test_a_call_is_answered_when_its_event_is_durable(error: Exception | None) -> None:
    """Whatever the log does: a thread that ended would leave every later call without an answer."""
    gate, disk = Gate(), Disk()
    disk.error = error
    recorder = Recorder(disk.append, gate.working)

    async def call() -> None:
        disk.is_quick.clear()
        written = Written()
        recorder.put(event(1), written)
        waiting = asyncio.ensure_future(written.wait())
        await asyncio.sleep(0.05)
        assert not waiting.done()
        disk.is_quick.set()
        await waiting

    if error is None:
        asyncio.run(call())
    else:
        with pytest.raises(StrongroomError, match=r"disk is full|could not be written"):
            asyncio.run(call())
    assert drained(gate)
    disk.error = None
    asyncio.run(call())
