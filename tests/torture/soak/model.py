"""What a name may hold after calls of which some have no answer, and what was seen that must not be."""

import threading
import time
from collections import Counter
from collections.abc import Hashable
from dataclasses import dataclass, field

SETTLES_S = 90.0
"""How long after a lost answer the call may still be done: a node that stood still goes on with what it was doing."""


class Register:
    """A name with one value at a time, changed by one caller at a time and read by any.

    A change without an answer leaves two values that are possible; a later one with an answer decides again. Who reads sees
    one of all values that were possible between the beginning and the end of the read.
    """

    def __init__(self, value: Hashable = None) -> None:
        self._guard = threading.Lock()
        self._history: list[frozenset[Hashable]] = [frozenset({value})]
        self._busy = threading.Lock()
        self._quiet_until = 0.0

    def claim(self) -> bool:
        """Take it for a change; false while another changes it, or a call without an answer may still be done."""
        if not self._busy.acquire(blocking=False):
            return False
        if time.monotonic() < self._quiet_until:
            self._busy.release()
            return False
        return True

    def begin(self, value: Hashable) -> None:
        """A change to a value begins."""
        with self._guard:
            self._history.append(self._history[-1] | {value})

    def done(self, value: Hashable) -> None:
        """The change was answered: it is done."""
        with self._guard:
            self._history.append(frozenset({value}))
        self._busy.release()

    def unknown(self) -> None:
        """The change has no answer."""
        self._quiet_until = time.monotonic() + SETTLES_S
        self._busy.release()

    def mark(self) -> int:
        """Where a read begins."""
        with self._guard:
            return len(self._history) - 1

    def since(self, mark: int) -> frozenset[Hashable]:
        """All values that were possible since then."""
        with self._guard:
            return frozenset[Hashable]().union(*self._history[mark:])

    @property
    def possible(self) -> frozenset[Hashable]:
        """The values that are possible now."""
        with self._guard:
            return self._history[-1]


@dataclass
class Seen:
    """What happened, counted, and what must not happen, in words.

    Attributes:
        counts: How often each kind of call had each outcome.
        wrong: What must not be.
        failures: When calls that failed had begun, with their kind and outcome; in a window of faults they may.
    """

    counts: Counter[tuple[str, str]] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    failures: list[tuple[float, str]] = field(default_factory=list)
    _guard: threading.Lock = field(default_factory=threading.Lock)

    def count(self, kind: str, outcome: str) -> None:
        """Note that a call was answered as it should be."""
        with self._guard:
            self.counts[kind, outcome] += 1

    def failed(self, kind: str, outcome: str, begun: float) -> None:
        """Note that a call, which began at a time of `time.monotonic`, was not done."""
        with self._guard:
            self.counts[kind, outcome] += 1
            self.failures.append((begun, f"{kind}: {outcome}"))

    def must_not(self, what: str) -> None:
        """Note what must not happen."""
        with self._guard:
            self.wrong.append(what)
        print(f"  WRONG  {what}", flush=True)
