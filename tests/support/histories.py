"""Histories of calls of one key and one lock, and whether any order of them explains all answers (Wing and Gong).

Each call has a beginning and an end, and what it answered. A history is linearizable if every call can be given a moment
between its two, so that one register with one lock, asked in that order, gives the same answers. A call of unknown
outcome may have happened at any later moment, or never.

The register has a value and a version, and the lock an epoch: a put names the version that it expects, and the epoch
under which it is made, if it is made under the lock.
"""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from enum import Enum, auto
from typing import NamedTuple

NEVER = float("inf")


class Kind(Enum):
    """Kinds of calls."""

    READ = auto()
    PUT = auto()
    TAKE = auto()


class Call(NamedTuple):
    """A call.

    Attributes:
        kind: The kind.
        begun: When it was made.
        ended: When it answered; never, if its outcome is unknown.
        made: Whether it answered that it was made; a refused put has False, one of unknown outcome None.
        value: What was read or put.
        version: What was read, or what the put expected.
        epoch: Under which the put was made, 0 without the lock; the one that was taken.
    """

    kind: Kind
    begun: float
    ended: float
    made: bool | None
    value: str = ""
    version: int = 0
    epoch: int = 0


class State(NamedTuple):
    """The register and the lock."""

    value: str = ""
    version: int = 0
    epoch: int = 0


class History:
    """Collects the calls of many threads."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self.calls: list[Call] = []

    def add(self, call: Call) -> None:
        """Keep a call."""
        with self._guard:
            self.calls.append(call)

    @contextmanager
    def timed(self) -> Iterator[Callable[[], tuple[float, float]]]:
        """Gives the beginning of the block, and the moment of asking."""
        begun = time.monotonic()
        yield lambda: (begun, time.monotonic())


def after(state: State, call: Call) -> State | None:
    """The state behind a call that happens now; None if it would have answered something else."""
    if call.kind is Kind.READ:
        return state if (call.value, call.version) == (state.value, state.version) else None
    if call.kind is Kind.TAKE:
        # epochs may be skipped: an attempt whose answer was lost is shut out by one
        return state._replace(epoch=call.epoch) if call.epoch > state.epoch else None
    fits = call.version == state.version and call.epoch in {0, state.epoch}
    if call.made is False:
        # under the lock a put may be refused because its holder could have lost it
        return None if fits and not call.epoch else state
    return State(call.value, state.version + 1, state.epoch) if fits else None


def is_linearizable(calls: Sequence[Call], first: State = State()) -> bool:  # noqa: B008  a value
    """Whether some order of the calls explains all of them."""
    ordered = sorted(calls, key=lambda one: one.begun)
    pending = [(frozenset[int](), 0, first)]
    seen: set[tuple[frozenset[int], int, State]] = set()
    while pending:
        node = pending.pop()
        if node in seen:
            continue
        seen.add(node)
        beyond, upto, state = node
        open_calls = list(_candidates(ordered, beyond, upto))
        if all(ordered[n].made is None for n in _left(ordered, beyond, upto)):
            return True
        for n in open_calls:
            behind = after(state, ordered[n])
            if behind is not None:
                pending.append((*_without(beyond, upto, n), behind))
    return False


def _left(ordered: Sequence[Call], beyond: frozenset[int], upto: int) -> Iterator[int]:
    return (n for n in range(upto, len(ordered)) if n not in beyond)


def _candidates(ordered: Sequence[Call], beyond: frozenset[int], upto: int) -> Iterator[int]:
    """The calls that may be next: begun before the first of the others has ended."""
    end = NEVER
    for n in _left(ordered, beyond, upto):
        if ordered[n].begun > end:
            return
        yield n
        end = min(end, ordered[n].ended)


def _without(beyond: frozenset[int], upto: int, n: int) -> tuple[frozenset[int], int]:
    """The calls that are done, with one more: all below a number, and some beyond it."""
    done = beyond | {n}
    while upto in done:
        done -= {upto}
        upto += 1
    return done, upto
