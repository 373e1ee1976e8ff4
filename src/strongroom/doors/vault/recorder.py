"""Group commit of the events of calls: one thread takes all that wait, and has them synced together.

The thread that worked a call off hands its event over, and the event loop waits for it. So a call that is cut off when
its work is done leaves its event all the same, and until that is durable it counts as work of the node.
"""

import asyncio
import logging
import queue
import threading
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext, suppress
from typing import NamedTuple

from strongroom.errors import StorageError, StrongroomError
from strongroom.eventlog.base import Event

_log = logging.getLogger("strongroom.web.vault")
MOST_AT_ONCE = 64
"""Events of one append; the log writes no more of them behind each other."""


class Written:
    """Waits, on the event loop where it is made, until an event is durable."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._outcome: asyncio.Future[StrongroomError | None] = self._loop.create_future()

    async def wait(self) -> None:
        """Return when the event is durable.

        Raises:
            StorageError: The event could not be written, or nobody can know whether it was.
        """
        error = await self._outcome
        if error is not None:
            raise error

    def tell(self, error: StrongroomError | None) -> None:
        """Say what became of the event; from any thread."""
        with suppress(RuntimeError):  # the loop has ended, and nobody waits
            self._loop.call_soon_threadsafe(self._settle, error)

    def _settle(self, error: StrongroomError | None) -> None:
        if not self._outcome.done():
            self._outcome.set_result(error)


class _Waiting(NamedTuple):
    event: Event
    written: Written
    counted: ExitStack


class Recorder:
    """Takes events from the threads that work calls off.

    Args:
        append: Appends events to the log, synced when it returns.
        working: Within the block, the node counts one request as under way, also if that was cut off meanwhile.
    """

    def __init__(
        self,
        append: Callable[[Sequence[Event]], None],
        working: Callable[[], AbstractContextManager[None]] = nullcontext,
    ) -> None:
        self._append, self._working = append, working
        self._line: queue.SimpleQueue[_Waiting] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def put(self, event: Event, written: Written) -> None:
        """Have an event written; `written` is told. The event counts as work from here until it is durable, or failed."""
        with self._lock:
            if self._thread is None:
                thread = threading.Thread(target=self._work, name="vault-events", daemon=True)
                try:
                    thread.start()
                except RuntimeError:  # the next call tries it again (findings R17)
                    written.tell(StorageError("the system gives no thread that writes events"))
                    return
                self._thread = thread
        counted = ExitStack()
        counted.enter_context(self._working())
        self._line.put(_Waiting(event, written, counted))

    def _work(self) -> None:
        while True:
            group = [self._line.get()]
            while len(group) < MOST_AT_ONCE and not self._line.empty():
                group.append(self._line.get())
            self._write(group)
            group.clear()  # an idle thread holds nothing of the calls before

    def _write(self, group: Sequence[_Waiting]) -> None:
        error: StrongroomError | None = None
        try:
            self._append([one.event for one in group])
        except StrongroomError as found:
            error = found
        except Exception:  # noqa: BLE001 a thread that ended would leave every later call without an answer
            _log.exception("unexpected error")
            error = StrongroomError("the event of a call could not be written")
        for one in group:
            one.counted.close()
            one.written.tell(error)
