"""The part of a served node in a maintenance: it closes its gate, lets what is under way end within a bound, and says so (b14).

The node looks by itself, several times a second, and waits for nothing: each look does what can be done now. A node that
is started in a maintenance has its gate closed before it listens.
"""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto
from typing import TYPE_CHECKING, Final, Protocol

from strongroom.errors import StrongroomError

if TYPE_CHECKING:
    from strongroom.joining.maintenance import Maintenance

_AGAIN_S: Final = 5.0
"""Seconds before a word is tried again that could not be put."""
_log = logging.getLogger("strongroom.maintenance")


class Work(Enum):
    """How far a node may work on jobs."""

    #: As the topology says.
    USUAL = auto()
    #: Extracts under way are finished, and no other is begun; the process that works on jobs ends by itself.
    ENDING = auto()
    #: No process works on jobs.
    NONE = auto()


class Doors(Protocol):
    """The gate of the node, as what closes it sees it."""

    @property
    def under_way(self) -> int:
        """How many requests are under way."""
        ...

    def close(self) -> None:
        """Turn new requests away."""
        ...

    def open(self) -> None:
        """Let requests in again."""
        ...

    def cut(self) -> int:
        """Have the requests under way end at once; returns how many."""
        ...


@dataclass(frozen=True)
class DrainingPorts:
    """The ports of a node that drains.

    Attributes:
        seen: Returns the maintenance that goes on, by what is known here; None without one.
        doors: The gate of the node.
        works: Returns whether a process of the node works on jobs.
        say: Says that the node has drained, by the maintenance and the number of requests that were cut off.
        monotonic: A clock that cannot be set, as `time.monotonic`.
    """

    seen: "Callable[[], Maintenance | None]"
    doors: Doors
    works: Callable[[], bool]
    say: "Callable[[Maintenance, int], None]"
    monotonic: Callable[[], float] = time.monotonic


class Draining:
    """The part of a served node in a maintenance; one thread looks, others may ask."""

    def __init__(self, ports: DrainingPorts) -> None:
        """Take the ports; the node serves until the first look says otherwise."""
        self._ports = ports
        self._known: Maintenance | None = None
        self._began_s = self._again_s = 0.0
        self._cut = 0
        self._is_said = False
        #: How far this node may work on jobs; whoever keeps those processes asks for it.
        self.work = Work.USUAL

    def look(self) -> None:
        """Do what can be done now; a failure is logged, and the next look tries again."""
        try:
            found = self._ports.seen()
        except StrongroomError as error:
            # an entry that nobody understands may say anything: a node goes on as it is
            _log.warning("whether there is a maintenance cannot be read: %s", error.with_hint)
            return
        if found is None:
            self._end()
            return
        now = self._ports.monotonic()
        if self._known is None or not self._known.is_same(found):
            self._begin(found, now)
        is_over = now - self._began_s >= found.within_s
        if is_over:
            self.work = Work.NONE
            self._cut += self._ports.doors.cut()
        if not self._is_said and now >= self._again_s:
            self._say(found, now)

    def _begin(self, found: "Maintenance", now: float) -> None:
        _log.warning("this node goes out of service: %s", found.words)
        self._ports.doors.close()
        self.work = Work.ENDING
        self._known, self._began_s, self._again_s = found, now, now
        self._cut, self._is_said = 0, False

    def _end(self) -> None:
        if self._known is not None:
            _log.warning("this node serves again")
        self._ports.doors.open()
        self._known, self.work = None, Work.USUAL

    def _say(self, found: "Maintenance", now: float) -> None:
        try:
            if self._ports.doors.under_way or self._ports.works():
                return
            self.work = Work.NONE
            self._ports.say(found, self._cut)
        except StrongroomError as error:
            self._again_s = now + _AGAIN_S
            _log.warning("this node cannot say whether it has drained: %s", error.with_hint)
        else:
            self._is_said = True
            _log.warning("this node has drained: %d requests were cut off", self._cut)
