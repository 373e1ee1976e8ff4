"""The leases that a process holds through one coordinator: which thread holds each, and which threads work under it.

A put is checked under the leases of its thread. Work for the holder of a lease may take several threads, and goes through
services that know of no lease: `under` gives such a thread the lease for as long as it works.
"""

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Generic, NamedTuple, TypeVar

from strongroom.coordination.base import Coordinator, Lease
from strongroom.errors import ConflictError

Lock = TypeVar("Lock")
Check = Callable[[], object]
"""Raises once another command may hold the lock under which something is done."""


class _Holding(NamedTuple, Generic[Lock]):
    """The thread that holds a lease, and the lock on which the lease stands."""

    thread: int
    lock: Lock


class Leases(Generic[Lock]):
    """Leases and the locks on which they stand; threads may share it."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._held: dict[Lease, _Holding[Lock]] = {}
        self._working: dict[int, tuple[Lease, ...]] = {}

    @contextmanager
    def held(self, lease: Lease, lock: Lock) -> Iterator[Lease]:
        """Hold a lease, by the calling thread, until the end of the block."""
        with self._guard:
            self._held[lease] = _Holding(threading.get_ident(), lock)
        try:
            yield lease
        finally:
            with self._guard:
                del self._held[lease]

    @contextmanager
    def under(self, lease: Lease) -> Iterator[None]:
        """Have the calling thread work under a lease, of whichever thread, until the end of the block."""
        thread = threading.get_ident()
        with self._guard:
            before = self._working.get(thread, ())
            self._working[thread] = (*before, lease)
        try:
            yield
        finally:
            with self._guard:
                self._working[thread] = before
                if not before:
                    del self._working[thread]

    def of_put(self, given: Lease | None = None) -> Mapping[Lease, Lock]:
        """The leases under which a put of the calling thread is made, with their locks.

        Args:
            given: A further lease, which the caller of the put names.

        Raises:
            ConflictError: A lease under which the thread works has ended.
        """
        thread = threading.get_ident()
        with self._guard:
            own = {one: held.lock for one, held in self._held.items() if held.thread == thread}
            for lease in (*self._working.get(thread, ()), *([given] if given else ())):
                # a lease that was released may still have the newest token, if no holder came after it
                if lease not in self._held:
                    raise lease_lost(lease.name)
                own[lease] = self._held[lease].lock
        return own

    def find(self, lease: Lease) -> Lock | None:
        """The lock on which a lease stands; None if the lease has ended."""
        with self._guard:
            found = self._held.get(lease)
        return None if found is None else found.lock


def check(coordinator: Coordinator, lease: Lease) -> None:
    """Refuse to go on once another command may hold the lock.

    Raises:
        ConflictError: The lease is not in force any more.
    """
    if not coordinator.is_in_force(lease):
        raise lease_lost(lease.name)


def lease_lost(name: str) -> ConflictError:
    """The error of whoever does not hold a lock any more."""
    return ConflictError(
        f"the lock {name!r} is no longer held by this command, so nothing was changed",
        hint="look at the present state and run the command again",
    )
