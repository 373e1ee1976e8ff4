"""The port to the coordination service, which stores the present configuration, journals and locks for all processes."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import NamedTuple, Protocol


class Versioned(NamedTuple):
    """A stored value and the number of its version; the first version is 1."""

    value: bytes
    version: int


class Change(NamedTuple):
    """A new value for one key.

    Attributes:
        value: The new bytes, or None to delete the key.
        expected_version: The version that must be there now; 0 if the key must not exist.
    """

    value: bytes | None
    expected_version: int


class Lease(NamedTuple):
    """The right that a held lock gives.

    Attributes:
        name: The name of the lock.
        token: The fence: a number that rises each time the lock is taken, by whichever process. An authority that
            remembers the highest token it has seen can refuse a holder that was paused while the lock passed on.
    """

    name: str
    token: int


LOCKS = "locks/"
"""Prefix of keys that belong to the coordinator itself: the version of `locks/<name>` is the token of that lock."""


class Coordinator(Protocol):
    """Versioned values with compare-and-set over several keys at once; locks whose loss is noticed by `put`.

    The contract (tests/contract/test_coordinator.py) that every implementation keeps:

    - A key is a text like a path. Its value has a version, which is 1 after the first put and rises by one with
      each; a key that was deleted begins at 1 again.
    - `put` is atomic over all of its keys, and durable when it returns. Every process reads what the last put wrote.
    - A put happens under every lease that the calling thread holds through this coordinator, and under the one
      that is given by a thread that works for a holder. In the same transaction the put checks that each of those
      locks still has the lease's token, and changes nothing where one has not. So a holder that lost its lock
      without noticing cannot write over the work of the next holder.
    - After a `ConflictError` nothing was changed. After a `CoordinationError` or a `StorageError` of `put` the
      caller does not know whether the put was made, and has to look before it tries again.
    """

    def get(self, key: str) -> Versioned | None:
        """The value of a key, or None.

        Raises:
            CoordinationError: The store cannot be read.
        """
        ...

    def members(self) -> list[str]:
        """The ids of the nodes alive now."""
        ...

    def list(self, prefix: str) -> Mapping[str, Versioned]:
        """The entries whose keys begin with `prefix`, in the order of their keys and as of one moment.

        Raises:
            UsageError: The prefix does not end with "/".
            CoordinationError: The store cannot be read.
        """
        ...

    def version(self, key: str) -> int:
        """The version of a key's value without the value, 0 if there is none; cheap.

        Raises:
            CoordinationError: The store cannot be read.
        """
        ...

    def put(self, changes: Mapping[str, Change], *, lease: Lease | None = None) -> None:
        """Apply all changes, or none; durable when it returns.

        Args:
            changes: The new values by key.
            lease: A lease of another thread, for which the calling thread works. Leases of the calling thread
                need not be named.

        Raises:
            ConflictError: A key has another version than expected, or a lease is no longer held.
            UsageError: A key belongs to the coordinator itself.
            CoordinationError: The store cannot be written.
            StorageError: The disk of the store is full, or another process holds the store.
        """
        ...

    def lock(self, name: str, *, wait_s: float) -> AbstractContextManager[Lease]:
        """Hold a named lock over all processes of the cluster; the lease ends with the block.

        Raises:
            ConflictError: Another holder still has the lock after `wait_s` seconds.
            CoordinationError: The store cannot be written.
            StorageError: The disk of the store is full, or another process holds the store.
        """
        ...

    def watch(self, key: str, notice: Callable[[Versioned | None], None]) -> Callable[[], None]:
        """Call `notice` with each new version of a key, from a thread; returns the function that stops it."""
        ...
