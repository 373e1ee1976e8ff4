"""Group commit of the events of calls: one thread takes all that wait, and has them synced together."""

import asyncio
import queue
import threading
from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

from strongroom.errors import StorageError, StrongroomError
from strongroom.eventlog.base import Event

MOST_AT_ONCE = 64
"""Events of one append; the log writes no more of them behind each other."""


class _Waiting(NamedTuple):
    event: Event
    done: Callable[[StrongroomError | None], None]


class Recorder:
    """Takes events from the event loop; each is durable when `write` returns.

    Args:
        append: Appends events to the log, synced when it returns.
    """

    def __init__(self, append: Callable[[Sequence[Event]], None]) -> None:
        self._append = append
        self._line: queue.SimpleQueue[_Waiting] = queue.SimpleQueue()
        self._started = False

    async def write(self, event: Event) -> None:
        """Return when the event is durable.

        Raises:
            StorageError: The event could not be written, or nobody can know whether it was.
        """
        if not self._started:
            try:
                threading.Thread(target=self._work, name="vault-events", daemon=True).start()
            except RuntimeError as error:  # the next call tries it again (findings R17)
                raise StorageError("the system gives no thread that writes events") from error
            self._started = True
        loop = asyncio.get_running_loop()
        written: asyncio.Future[None] = loop.create_future()

        def settle(error: StrongroomError | None) -> None:
            if not written.done():
                if error is None:
                    written.set_result(None)
                else:
                    written.set_exception(error)

        def done(error: StrongroomError | None) -> None:
            loop.call_soon_threadsafe(partial(settle, error))

        self._line.put(_Waiting(event, done))
        await written

    def _work(self) -> None:
        while True:
            group = [self._line.get()]
            while len(group) < MOST_AT_ONCE and not self._line.empty():
                group.append(self._line.get())
            self._write(group)

    def _write(self, group: list[_Waiting]) -> None:
        error: StrongroomError | None = None
        try:
            self._append([one.event for one in group])
        except StrongroomError as found:
            error = found
        for one in group:
            try:
                one.done(error)
            except RuntimeError:  # the loop has ended, and nobody waits
                continue
