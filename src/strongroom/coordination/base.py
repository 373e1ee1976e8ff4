"""The port to the coordination service, which stores the present configuration, journals and locks for all processes."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from strongroom.coordination.board import Board


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


class Group(StrEnum):
    """The groups of which a node is a member as long as the process that says so lives; the values are names in the store."""

    #: A process serves the node.
    NODES = "live"
    #: A process of the node works on jobs.
    WORKERS = "workers"


LOCKS = "locks/"
"""Prefix of keys that belong to the coordinator itself: the version of `locks/<name>` is the token of that lock."""


class Coordinator(Protocol):
    """Versioned values with compare-and-set over several keys at once; locks whose loss is noticed by `put`.

    The contract (tests/contract/test_coordinator.py) that every implementation keeps:

    - A key is a text like a path. Its value has a version, which is 1 after the first put and rises by one with
      each; a key that was deleted begins at 1 again.
    - `put` is atomic over all of its keys, and durable when it returns. Every process reads what the last put wrote.
    - Each lock has a scope, which `coordination.locks` declares: it keeps off the other processes of its node, or of
      the whole cluster.
    - A put happens under every lease that the calling thread holds through this coordinator, and under those that
      are given to a thread that works for a holder (`under`, or with the put). In the same transaction the put
      checks that each of those locks still has the lease's token, and changes nothing where one has not. So a holder
      that lost its lock without noticing cannot write over the work of the next holder.
    - A put has three outcomes. It was made: `put` returns. It was not made, and will not be: any error but the next.
      It is not known: `OutcomeUnknown`, which is raised only after the implementation has tried for its whole limit
      to find out. The caller must not try again before it has looked; `outcome` finds out later.
    - Every call ends within a limit that the implementation states.
    """

    def get(self, key: str) -> Versioned | None:
        """The value of a key, or None.

        Raises:
            CoordinationError: The store cannot be read.
        """
        ...

    def members(self, group: Group = Group.NODES) -> list[str]:
        """The ids of the nodes alive now, in their order; or of those that are in another group.

        Raises:
            CoordinationError: The store cannot be read.
        """
        ...

    def alive(self, group: Group = Group.NODES) -> AbstractContextManager[None]:
        """Be a member, for this process's node, until the end of the block or of this process.

        A node is served by one process, on one machine. Of its workers the lock of the node sees to that; one that
        finds the place of a dead one before it still taken begins without, and is there a moment later.

        Raises:
            ConflictError: Another process serves a node of the same id.
            CoordinationError: The store cannot be written.
        """
        ...

    def list(self, prefix: str) -> Mapping[str, Versioned]:
        """The entries whose keys begin with `prefix`, in the order of their keys and as of one moment.

        Args:
            prefix: The prefix; empty for every entry but those of the coordinator itself.

        Raises:
            UsageError: The prefix is not empty and does not end with "/".
            CoordinationError: The store cannot be read.
        """
        ...

    def version(self, key: str) -> int:
        """The version of a key's value without the value, 0 if there is none; cheap.

        Raises:
            CoordinationError: The store cannot be read.
        """
        ...

    def recent_version(self, key: str, age_s: float) -> int:
        """The version that a key's value had at some moment of the last `age_s` seconds, 0 if there was none.

        It costs nothing to ask all the time, also where `version` is a round trip.

        Raises:
            CoordinationError: The store has not answered within that time, and does not now.
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
            UsageError: A key belongs to the coordinator itself, or the changes are too large for the store.
            CoordinationError: The store cannot be written; nothing was changed.
            StorageError: The disk of the store is full, or another process holds the store; nothing was changed.
            OutcomeUnknown: The changes were sent, and it is not known whether they were made.
        """
        ...

    def outcome(self, change_id: str) -> bool:
        """Whether a put of unknown outcome was made; a put that was not made cannot be made any more afterwards.

        Args:
            change_id: The id in the `OutcomeUnknown` of that put.

        Raises:
            CoordinationError: The store cannot be asked, or no longer knows.
        """
        ...

    def lock(self, name: str, *, wait_s: float) -> AbstractContextManager[Lease]:
        """Hold a named lock over all processes in its scope; the lease ends with the block.

        Raises:
            ConflictError: Another holder still has the lock after `wait_s` seconds.
            CoordinationError: The store cannot be written.
            StorageError: The disk of the store is full, or another process holds the store.
        """
        ...

    def under(self, lease: Lease) -> AbstractContextManager[None]:
        """Have each put of the calling thread, until the end of the block, made under a lease of another thread, too.

        Services that know of no lease work so for its holder: a put is refused when the lease has ended.
        """
        ...

    def is_in_force(self, lease: Lease) -> bool:
        """Whether a lease is in force still, by the store as it is now.

        Raises:
            CoordinationError: The store does not answer: whether the lock was lost is not known.
        """
        ...

    def holder(self, name: str) -> str:
        """The id of the node one of whose processes holds a lock now; empty if no process does.

        Raises:
            UsageError: The text is no name of a lock.
            CoordinationError: The store cannot be read.
        """
        ...

    def watch(self, key: str, notice: Callable[[Versioned | None], None]) -> Callable[[], None]:
        """Call `notice` with each new version of a key, from a thread; returns the function that stops it."""
        ...


class EntryStore(Coordinator, Protocol):
    """A coordination service as the composition root opens it."""

    @property
    def board(self) -> "Board | None":
        """The board of the nodes; None where there is one node only."""
        ...

    def epochs(self) -> Mapping[str, int]:
        """The tokens of those locks under which the calling thread works, and which it may lose unawares, by name.

        Another store that several nodes write refuses whoever has an earlier token than somebody before.

        Raises:
            ConflictError: A lease under which the thread works has ended.
        """
        ...

    def collect(self) -> int:
        """Remove what no entry needs any more; returns how much went.

        Raises:
            CoordinationError: The store does not answer.
        """
        ...

    def close(self) -> None:
        """End what is open; the next use opens it again."""
        ...
