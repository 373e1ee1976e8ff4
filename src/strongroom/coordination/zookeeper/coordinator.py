"""The Coordinator port over an ensemble of ZooKeeper (docs/format/coordination.md 4, ADR 32 and 33).

Every call ends within one of the limits in the settings. The session is opened by the first call, and belongs to this
process: it must not fork with it.
"""

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager

from strongroom.coordination import locks
from strongroom.coordination.base import LOCKS, Change, Group, Lease, Versioned
from strongroom.coordination.kernel_locks import KernelLocks
from strongroom.coordination.leases import Leases, lease_lost
from strongroom.coordination.zookeeper import collecting, entries, requests
from strongroom.coordination.zookeeper.arrival import Arrival
from strongroom.coordination.zookeeper.boards import ZookeeperBoard
from strongroom.coordination.zookeeper.following import FollowedVersion
from strongroom.coordination.zookeeper.locking import Held, SessionLocks
from strongroom.coordination.zookeeper.membership import Membership
from strongroom.coordination.zookeeper.outcomes import Outcomes
from strongroom.coordination.zookeeper.puts import Puts
from strongroom.coordination.zookeeper.requests import Operation
from strongroom.coordination.zookeeper.session import Session, refusals
from strongroom.coordination.zookeeper.settings import Deadline, ZookeeperSettings
from strongroom.coordination.zookeeper.tree import Tree
from strongroom.coordination.zookeeper.watching import Watch
from strongroom.errors import UsageError


class ZookeeperCoordinator:
    """Versioned values, locks and members in one installation's tree."""

    def __init__(self, settings: ZookeeperSettings) -> None:
        """Keep the settings; nothing is sent before the first use."""
        self._settings = settings
        self._limits = settings.limits
        self._session = Session(settings)
        self._tree = Tree(settings.root)
        self._entries = entries.Entries(self._session, self._tree)
        self._puts = Puts(self._session, self._tree, settings.limits)
        self._outcomes = Outcomes(self._session, self._tree)
        self._arrival = Arrival(self._session, self._tree, settings.limits)
        self._locks = SessionLocks(self._session, self._tree, settings)
        self._node_locks = KernelLocks(settings.locks_dir, settings.holder)
        self._membership = Membership(self._session, self._tree, settings)
        self.board = ZookeeperBoard(self._session, self._tree, settings, self._membership)
        self._guard = threading.Lock()
        #: Each stands on a lock of ZooKeeper, or on the descriptor of a locked file.
        self._leases = Leases[Held | int]()
        self._followed: dict[str, FollowedVersion] = {}

    def create(self) -> None:
        """Create the empty tree; what exists stays as it is.

        Raises:
            CoordinationError: ZooKeeper does not answer, or refuses.
        """
        with self._refusals():
            for path in self._tree.folders:
                requests.create_missing(self._session, path)

    def check_arrival(self, run: str) -> None:
        """Refuse a tree into which no entries may be brought: it holds some, or another attempt is under way.

        Args:
            run: The id of the attempt.

        Raises:
            ConflictError: The tree is in use.
        """
        with self._refusals():
            self._arrival.check(run)

    def bring(self, run: str, found: Mapping[str, Versioned]) -> None:
        """Bring all entries of a single node here, at their versions; what the same attempt had brought before goes.

        Raises:
            ConflictError: The tree is in use.
            CoordinationError: No server answers in time; the same attempt may be made again.
        """
        with self._refusals():
            self._arrival.bring(run, found)

    def end_arrival(self, run: str) -> None:
        """Forget an attempt that is done, so that nothing may be brought here any more."""
        with self._refusals():
            self._arrival.end(run)

    def get(self, key: str) -> Versioned | None:
        """The value of a key; None if the key does not exist."""
        with self._refusals():
            return self._entries.get(key)

    def members(self, group: Group = Group.NODES) -> list[str]:
        """The ids of the nodes alive now, or of those that are in another group."""
        with self._refusals():
            return self._membership.members(group)

    def list(self, prefix: str) -> Mapping[str, Versioned]:
        """The entries whose keys begin with a prefix, by key, as of one moment; without one, all."""
        if prefix and not prefix.endswith("/"):
            raise UsageError(f"{prefix[:80]!r} is no prefix of keys: it does not end with '/'")
        with self._refusals():
            return self._entries.list(prefix, Deadline(self._limits.read_s))

    def version(self, key: str) -> int:
        """The version of a key's value, 0 if the key does not exist."""
        with self._refusals():
            return self._entries.version(key)

    def recent_version(self, key: str, age_s: float) -> int:
        """The version of a key's value at some moment of the last `age_s` seconds; a watch tells it from the first call on."""
        with self._guard:
            followed = self._followed.get(key)
            if followed is None:
                path = self._tree.entry(key)
                followed = FollowedVersion(
                    self._session, path, self._limits, lambda: self.version(key)
                )
                self._followed[key] = followed
        with self._refusals():
            return followed.within(age_s)

    def put(self, changes: Mapping[str, Change], *, lease: Lease | None = None) -> None:
        """Apply all changes in one transaction of ZooKeeper, or none."""
        for key in changes:
            if key.startswith(LOCKS):
                raise UsageError(f"the entry {key[:80]!r} is written by the coordination alone")
        with self._refusals():
            self._puts.put(changes, lambda: self._fences(lease))

    def outcome(self, change_id: str) -> bool:
        """Whether a put of unknown outcome was made; one that was not cannot be made any more."""
        with self._refusals():
            return self._outcomes.outcome(change_id, Deadline(self._limits.read_s))

    def lock(self, name: str, *, wait_s: float) -> AbstractContextManager[Lease]:
        """Hold a named lock over the processes in its scope."""
        if locks.scope_of(name) is locks.Scope.NODE:
            return self._hold_on_node(name, wait_s)
        return self._hold(name, wait_s)

    def under(self, lease: Lease) -> AbstractContextManager[None]:
        """Have the puts of the calling thread made under a lease, until the end of the block."""
        return self._leases.under(lease)

    def epochs(self) -> Mapping[str, int]:
        """The tokens of the locks of the cluster under which the calling thread works."""
        under = self._leases.of_put().items()
        return {one.name: one.token for one, lock in under if isinstance(lock, Held)}

    def is_in_force(self, lease: Lease) -> bool:
        """Whether a lease is in force still."""
        lock = self._leases.find(lease)
        if isinstance(lock, Held):
            with self._refusals():
                return self._locks.is_held(lock)
        return lock is not None and self._node_locks.is_held(lock, lease.name)

    def holder(self, name: str) -> str:
        """The node one of whose processes holds a lock; empty if no process does."""
        if locks.scope_of(name) is locks.Scope.NODE:
            return self._settings.node_id if self._node_locks.is_taken(name) else ""
        with self._refusals():
            return self._locks.node_of(name)

    @contextmanager
    def alive(self, group: Group = Group.NODES) -> Iterator[None]:
        """Be a member until the end of the block."""
        with self._refusals(), self._membership.alive(group):
            yield

    def watch(self, key: str, notice: Callable[[Versioned | None], None]) -> Callable[[], None]:
        """Call `notice` with each new version of a key; returns the function that stops it."""
        watch = Watch(self._session, self._tree.entry(key), self._limits.poll_s)
        watch.start(lambda: self.get(key), notice)
        return watch.stop

    def collect(self) -> int:
        """Remove old markers of puts, and blobs to which no entry refers; returns how many went."""
        with self._refusals():
            return collecting.collect(self._session, self._tree, self._entries, self._limits)

    def close(self) -> None:
        """End the session, with all its locks; the next use begins another."""
        with self._guard:
            followed, self._followed = list(self._followed.values()), {}
        for one in followed:
            one.stop()
        self._session.close()

    def _refusals(self) -> AbstractContextManager[None]:
        return refusals(self._session.where, self._settings.user)

    def _fences(self, lease: Lease | None) -> tuple[Operation, ...]:
        """The checks of a put by this thread, and by a thread that works for the holder of a lease.

        Raises:
            ConflictError: A lease is known to be over.
        """
        under = self._leases.of_put(lease)
        return tuple(check for one, lock in under.items() for check in self._fence(one, lock))

    def _fence(self, lease: Lease, lock: Held | int) -> tuple[Operation, ...]:
        if isinstance(lock, Held):
            if lock.session != self._session.number:
                raise lease_lost(lease.name)
            return self._locks.fences(lock)
        # the kernel takes no lock away; somebody may have removed its file
        if not self._node_locks.is_held(lock, lease.name):
            raise lease_lost(lease.name)
        return ()

    @contextmanager
    def _hold(self, name: str, wait_s: float) -> Iterator[Lease]:
        with (
            self._refusals(),
            self._locks.hold(name, wait_s) as held,
            self._leases.held(Lease(name, held.epoch), held) as lease,
        ):
            yield lease

    @contextmanager
    def _hold_on_node(self, name: str, wait_s: float) -> Iterator[Lease]:
        with self._node_locks.hold(name, wait_s) as handle:
            token = self._node_locks.count(name)
            with self._leases.held(Lease(name, token), handle) as lease:
                yield lease
