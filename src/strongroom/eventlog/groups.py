"""Group commit: appends that wait at the same time are written together, and share one sync and one signature.

The thread that comes first leads: it writes the events of all threads that wait by the time it holds the log's lock.
The other threads wait until their events are durable, or get the error. No event is written after its append has
returned.
"""

import copy
import threading
from collections.abc import Callable, Sequence

from strongroom.errors import StorageError, StrongroomError
from strongroom.eventlog.base import Event

MOST_EVENTS = 64
"""Events of one group: behind a torn write a valid line is looked for in the last 64 KiB of the log only."""


class Append:
    """The events of one caller, who waits.

    Attributes:
        events: Events that must stand in the log one behind the other.
        error: Why these events are not in the log; None if they are.
    """

    def __init__(self, events: Sequence[Event]) -> None:
        self.events = tuple(events)
        self.error: StrongroomError | None = None
        self.is_done = False


Take = Callable[[], Sequence[Append]]
"""Returns the group to be written.

The writer calls it once, as late as possible: events that come later miss the group.
"""


class Groups:
    """Gathers the appends of the threads of this process.

    Args:
        write: Writes the group that it takes, synced when it returns. It notes an error in each append whose events
            it left out; it raises when it wrote none, or cannot say which.
    """

    def __init__(self, write: Callable[[Take], None]) -> None:
        self._write = write
        self._turn = threading.Condition()
        self._waiting: list[Append] = []
        self._is_led = False

    def append(self, events: Sequence[Event]) -> None:
        """Return when these events are durable.

        Raises:
            StorageError: The events could not be written, or nobody can know whether they were.
            StrongroomError: These events cannot be put into lines; the events of other threads were written.
        """
        own = Append(events)
        with self._turn:
            try:
                self._waiting.append(own)
                self._turn.wait_for(lambda: own.is_done or not self._is_led)
            except BaseException:
                # Ctrl-C: this caller reports a failure, so no other thread may write its events
                self._leave(own)
                raise
            if not own.is_done:
                self._is_led = True
        if not own.is_done:
            self._lead(own)
        if own.error is not None:
            raise own.error

    def _lead(self, own: Append) -> None:
        group: list[Append] = []

        def take() -> Sequence[Append]:
            with self._turn:
                group.extend(self._first(own))
            return group

        try:
            self._write(take)
        except BaseException as error:
            for one in group:
                one.error = one.error or _for_another_thread(error)
            own.error = None  # this thread raises the error itself
            raise
        finally:
            with self._turn:
                # An append that was not taken into the group chooses a new leader among its kind when it wakes up. Our
                # own append is removed: this thread returns now, and would be elected in vain.
                self._leave(own)
                for one in group:
                    one.is_done = True
                self._is_led = False
                self._turn.notify_all()

    def _leave(self, own: Append) -> None:
        self._waiting = [one for one in self._waiting if one is not own]

    def _first(self, own: Append) -> list[Append]:
        """Our own append and the waiting appends that fit into one group with it, in order; removed from those that wait."""
        taken, size = [own], len(own.events)
        for one in self._waiting:
            if one is not own and size + len(one.events) <= MOST_EVENTS:
                taken.append(one)
                size += len(one.events)
        taken.sort(key=self._waiting.index)
        self._waiting = [one for one in self._waiting if one not in taken]
        return taken


def _for_another_thread(error: BaseException) -> StrongroomError:
    """A copy of the leader's error for a thread that waited: one exception object raised in two threads mixes tracebacks."""
    refusal = (
        copy.copy(error)
        if isinstance(error, StrongroomError)
        else StorageError(
            "the thread that wrote the event log was ended, so that it is not known whether these events are in it",
            hint="'strongroom events list' shows them if they are",
        )
    )
    refusal.__cause__ = error
    return refusal
