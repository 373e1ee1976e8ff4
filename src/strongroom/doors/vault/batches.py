"""Calls that only use keys, worked on together: one look at the database, one sync of the log, one wake-up for all.

A thread takes the calls that wait, up to one group of events. It looks once whether its rows are the present ones,
works the calls off one behind the other, has their events synced together, and hands all answers to the event loop at
once. So a busy door costs a call a fraction of what a call alone costs, and none is answered by a row that had changed
when it came, or before its event is durable.

Clients that were answered together ask again together, but not in the same moment. The event loop passes a group on
when as many calls came as were answered and waited, or after a millisecond: two half groups would be synced one behind
the other, which takes twice as long. A client that is alone never waits. The thread is woken once for a group: each
time it woke for a call, it and the event loop would wait for each other.
"""

import asyncio
import logging
import queue
import threading
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import NamedTuple

from strongroom.doors.vault.recorder import MOST_AT_ONCE
from strongroom.doors.vault.wire import Answer, Request, errors, refusal
from strongroom.errors import StateError, StrongroomError
from strongroom.eventlog.base import Event

_log = logging.getLogger("strongroom.web.vault")
GATHER_S = 0.001
"""How long a group waits for as many calls as the one before had; a sync takes as long on a good disk."""


class Done(NamedTuple):
    """An answer, and the event that must be durable before it is sent."""

    answer: Answer
    event: Event | None


class Given(NamedTuple):
    """A call, and who takes its answer on the event loop: None says that the call goes the usual way."""

    request: Request
    take: Callable[[Answer | None], None]


class Batches:
    """Takes calls from the event loop.

    Args:
        work: Works one call off; None if it is none for this way, and then it did nothing.
        one_look: Within the block, the thread's look at the rows counts for all calls.
        append: Appends events to the log, synced when it returns.
    """

    def __init__(
        self,
        work: Callable[[Request], Done | None],
        one_look: Callable[[], AbstractContextManager[None]],
        append: Callable[[Sequence[Event]], None],
    ) -> None:
        self._work, self._one_look, self._append = work, one_look, append
        self._line: queue.SimpleQueue[list[Given]] = queue.SimpleQueue()
        self._loop: asyncio.AbstractEventLoop | None = None
        # the event loop alone reads and writes these
        self._new: list[Given] = []
        self._expected = 1
        self._is_busy = False
        self._waits: asyncio.Handle | None = None

    def has_thread(self) -> bool:
        """Whether a thread works calls off; begins it. False if the system gives none now (findings R17)."""
        if self._loop is None:
            try:
                threading.Thread(target=self._run, name="vault-batches", daemon=True).start()
            except RuntimeError:
                return False
            self._loop = asyncio.get_running_loop()
        return True

    def put(self, given: Given) -> None:
        """Have a call worked off; each connection has one at a time, so the line is as long as there are connections.

        Raises:
            StateError: There is no thread; `has_thread` says so.
        """
        if not self.has_thread() or self._loop is None:
            raise StateError("no thread works calls off")
        self._new.append(given)
        self._gather(self._loop)

    # ---- on the event loop -----------------------------------------------------------------------

    def _gather(self, loop: asyncio.AbstractEventLoop) -> None:
        """See to it that the calls that wait are passed on: when as many came as are expected, or in a moment."""
        if self._is_busy:
            return
        if len(self._new) >= min(self._expected, MOST_AT_ONCE):
            self._stop_waiting()
            # whatever the sockets have by now comes before this
            self._waits = loop.call_soon(self._pass_on)
        elif self._waits is None:
            self._waits = loop.call_later(GATHER_S, self._pass_on)

    def _pass_on(self) -> None:
        self._stop_waiting()
        if self._new and not self._is_busy:
            self._is_busy = True
            self._line.put(self._new[:MOST_AT_ONCE])
            self._new = self._new[MOST_AT_ONCE:]

    def _stop_waiting(self) -> None:
        if self._waits is not None:
            self._waits.cancel()
            self._waits = None

    def _hand_out(
        self, taken: Sequence[tuple[Callable[[Answer | None], None], Answer | None]]
    ) -> None:
        # clients that get an answer now ask again in a moment, and those that wait have asked already
        self._is_busy, self._expected = False, len(taken) + len(self._new)
        for take, answer in taken:
            take(answer)
        if self._new and self._loop is not None:
            self._gather(self._loop)

    # ---- in the thread ---------------------------------------------------------------------------

    def _run(self) -> None:
        while True:
            group = self._line.get()
            answers = self._answers(group)
            taken = [(one.take, answer) for one, answer in zip(group, answers, strict=True)]
            try:
                self._loop.call_soon_threadsafe(self._hand_out, taken)  # type: ignore[union-attr]
            except RuntimeError:  # the loop has ended, and nobody waits
                return
            del group, answers, taken  # an idle thread holds nothing of the calls before

    def _answers(self, group: Sequence[Given]) -> Sequence[Answer | None]:
        """An answer for each call; if the events are not durable, a refusal for each that has one."""
        try:
            with self._one_look():
                done = [self._work(one.request) for one in group]
            new = [one.event for one in done if one is not None and one.event is not None]
            if new:
                self._append(new)
        except StrongroomError as error:
            _log.error("refused: %s", error)
            return [refusal(error)] * len(group)
        except Exception:  # noqa: BLE001 a thread that ended would leave every later call without an answer
            _log.exception("unexpected error")
            return [errors(500, "internal error")] * len(group)
        return [None if one is None else one.answer for one in done]
