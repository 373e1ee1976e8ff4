"""Calls that only use keys, worked on together: one look at the database, one sync of the log, one wake-up for all.

A thread takes the calls that wait, up to one group of events. It looks once whether its rows are the present ones,
works the calls off one behind the other, has their events synced together, and hands all answers to the event loop at
once. So a busy door costs a call a fraction of what a call alone costs, and none is answered by a row that had changed
when it came, or before its event is durable.

Clients that were answered together ask again together, but not in the same moment. The thread waits for as many calls
as it had in the group before, for a millisecond at most: two half groups would be synced one behind the other, which
takes twice as long. A client that is alone never waits.
"""

import asyncio
import logging
import queue
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import NamedTuple

from strongroom.doors.vault.recorder import MOST_AT_ONCE
from strongroom.doors.vault.wire import Answer, Request, errors, refusal
from strongroom.errors import StrongroomError
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
        self._line: queue.SimpleQueue[Given] = queue.SimpleQueue()
        self._loop: asyncio.AbstractEventLoop | None = None

    def put(self, given: Given) -> None:
        """Have a call worked off; each connection has one at a time, so the line is as long as there are connections."""
        if self._loop is None:
            self._loop = asyncio.get_running_loop()
            threading.Thread(target=self._run, name="vault-batches", daemon=True).start()
        self._line.put(given)

    def _run(self) -> None:
        before = 1
        while True:
            group = self._group(before)
            before = len(group)
            answers = self._answers(group)
            taken = [(one.take, answer) for one, answer in zip(group, answers, strict=True)]
            try:
                self._loop.call_soon_threadsafe(_hand_out, taken)  # type: ignore[union-attr]
            except RuntimeError:  # the loop has ended, and nobody waits
                return
            del group, answers, taken  # an idle thread holds nothing of the calls before

    def _group(self, expected: int) -> list[Given]:
        """The calls that wait, and those that come in a moment if that many came together before."""
        group = [self._line.get()]
        end = time.monotonic() + GATHER_S
        while len(group) < MOST_AT_ONCE:
            left = end - time.monotonic() if len(group) < expected else 0.0
            try:
                group.append(self._line.get(timeout=left) if left > 0 else self._line.get_nowait())
            except queue.Empty:
                break
        return group

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


def _hand_out(taken: Sequence[tuple[Callable[[Answer | None], None], Answer | None]]) -> None:
    for take, answer in taken:
        take(answer)
