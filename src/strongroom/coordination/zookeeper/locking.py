"""Locks that a session holds, each with an epoch that the next put checks.

kazoo has a lock, too; what it lacks is a number that others can check. One transaction creates the node `held`, which
goes with the session, and raises the version of `epoch`. That version is the token of the lease: a put of a holder that
lost its lock fails in ZooKeeper itself, whatever the holder believes.
"""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Final, NamedTuple

from strongroom.canonical import peek
from strongroom.coordination.kernel_locks import held_by
from strongroom.coordination.zookeeper import requests
from strongroom.coordination.zookeeper.requests import Kind, Operation, Refused
from strongroom.coordination.zookeeper.session import Lost, Session, exceptions
from strongroom.coordination.zookeeper.settings import Deadline, ZookeeperSettings
from strongroom.coordination.zookeeper.tree import Tree
from strongroom.errors import CoordinationError
from strongroom.ids import new_id

_LOOK_S: Final = 2.0
"""How long whoever waits for a lock relies on being woken."""
_AGAIN_S: Final = 0.5
_HELD_VERSION: Final = 0


class Held(NamedTuple):
    """A lock that is held.

    Attributes:
        name: The lock's name.
        epoch: The version of the lock's epoch since it was taken: the token of the lease.
        session: The number of the session that holds it.
    """

    name: str
    epoch: int
    session: int


class _Attempt(NamedTuple):
    """An attempt to take a lock whose answer was lost: it may be carried out yet.

    Attributes:
        name: The lock's name.
        before: The version of the epoch that the attempt needs.
        mine: The value that the attempt puts into the lock's node; nobody else writes the same.
        session: The number of the session that made it, without which it cannot be carried out.
    """

    name: str
    before: int
    mine: bytes
    session: int


class SessionLocks:
    """The locks of scope *cluster*."""

    def __init__(self, session: Session, tree: Tree, settings: ZookeeperSettings) -> None:
        self._session = session
        self._tree = tree
        self._limits = settings.limits
        self._holder = settings.holder
        self._node_id = settings.node_id

    @contextmanager
    def hold(self, name: str, wait_s: float) -> Iterator[Held]:
        """Hold a lock until the end of the block, or of the session.

        Raises:
            ConflictError: Another holder still has the lock after `wait_s` seconds.
            CoordinationError: No server answers in time.
        """
        held = self._taken(name, Deadline(wait_s))
        try:
            yield held
        finally:
            self._release(held)

    def fences(self, held: Held) -> tuple[Operation, ...]:
        """The checks that a put under this lock makes in its transaction."""
        return (
            Operation(Kind.CHECK, self._tree.epoch(held.name), version=held.epoch),
            Operation(Kind.CHECK, self._tree.held(held.name), version=_HELD_VERSION),
        )

    def is_held(self, held: Held) -> bool:
        """Whether a lock is held still as it was taken.

        Raises:
            CoordinationError: No server answers in time.
        """
        if held.session != self._session.number:
            return False
        # the epoch moves with each holder, and `held` goes with the session
        epoch = requests.version(self._session, self._tree.epoch(held.name))
        there = requests.version(self._session, self._tree.held(held.name))
        return epoch == held.epoch and there is not None and held.session == self._session.number

    def node_of(self, name: str) -> str:
        """The node one of whose processes holds a lock; empty if no process does.

        Raises:
            CoordinationError: No server answers in time.
        """
        return self._said(name, "node")

    def _taken(self, name: str, waiting: Deadline) -> Held:
        woken = threading.Event()
        lost: list[_Attempt] = []

        def wake(_event: object) -> None:
            woken.set()

        try:
            my_id = new_id()
            while True:
                # each round has a limit of its own, however long the wait for another holder may be
                held = self._try(name, my_id, lost, Deadline(self._limits.put_s))
                if held is not None:
                    # the epoch has moved on, so no attempt before can be carried out any more
                    lost.clear()
                    return held
                woken.clear()
                if not requests.watch(self._session, self._tree.held(name), wake):
                    continue
                if waiting.is_over:
                    raise held_by(name, self._holder_of(name))
                woken.wait(min(waiting.left, _LOOK_S))
        finally:
            for attempt in lost:
                self._later(attempt.session, partial(self._shut_out, attempt))

    def _try(self, name: str, my_id: str, lost: list[_Attempt], deadline: Deadline) -> Held | None:
        """Take a lock unless somebody else has it; attempts without an answer are added to `lost`."""
        self._session.reach(Deadline(self._limits.read_s))
        while True:
            attempt = self._attempt(name, self._epoch(name, deadline), my_id)
            epoch = attempt.before + 1
            try:
                requests.transact(self._session, self._operations(attempt), deadline)
            except Lost:
                lost.append(attempt)
                if deadline.is_over:
                    self._session.fail(deadline)
                continue
            except Refused as refused:
                if isinstance(refused.reason, exceptions.BadVersionError):
                    continue
                if not self._is_ours(attempt, refused, deadline):
                    return None
                epoch = self._epoch(name, deadline)
            if attempt.session == self._session.number:
                return Held(name, epoch, attempt.session)

    def _epoch(self, name: str, deadline: Deadline) -> int:
        """The version of a lock's epoch, which is created if need be."""
        path = self._tree.epoch(name)
        while (version := requests.version(self._session, path, deadline)) is None:
            requests.create_missing(self._session, self._tree.lock(name))
            requests.create_missing(self._session, path)
        return version

    def _is_ours(self, attempt: _Attempt, refused: Refused, deadline: Deadline) -> bool:
        """Whether the lock is held by an attempt before this one, whose answer was lost."""
        if not isinstance(refused.reason, exceptions.NodeExistsError):
            raise refused.reason from refused
        node = requests.read(self._session, self._tree.held(attempt.name), deadline)
        return node is not None and node.value == attempt.mine

    def _attempt(self, name: str, before: int, my_id: str) -> _Attempt:
        session = self._session.number
        # a lock that an earlier session of this process has taken goes with that session
        mine = {"holder": self._holder, "id": f"{my_id}/{session}", "node": self._node_id}
        return _Attempt(name, before, json.dumps(mine).encode(), session)

    def _operations(self, attempt: _Attempt) -> tuple[Operation, Operation]:
        return (
            Operation(Kind.CREATE_EPHEMERAL, self._tree.held(attempt.name), attempt.mine),
            Operation(
                Kind.SET, self._tree.epoch(attempt.name), self._holder.encode(), attempt.before
            ),
        )

    def _shut_out(self, attempt: _Attempt, deadline: Deadline) -> None:
        """Make sure that an attempt that nobody waits for any more does not take the lock, or free it.

        The epoch is raised without holding the lock, unless somebody holds it: then it cannot be told yet.

        Raises:
            CoordinationError: Whether the attempt took the lock cannot be told yet.
        """
        raising = (
            *self._operations(attempt),
            Operation(Kind.DELETE, self._tree.held(attempt.name)),
        )
        try:
            requests.transact(self._session, raising, deadline)
        except Lost as lost:
            raise CoordinationError(str(lost)) from lost
        except Refused as refused:
            node = requests.read(self._session, self._tree.held(attempt.name), deadline)
            if node is not None and node.value == attempt.mine:
                self._give_back(Held(attempt.name, attempt.before + 1, attempt.session), deadline)
            elif isinstance(refused.reason, exceptions.NodeExistsError):
                raise CoordinationError(str(refused)) from refused

    def _holder_of(self, name: str) -> str:
        return self._said(name, "holder")

    def _said(self, name: str, member: str) -> str:
        """A word of whoever holds a lock, about itself; empty if nobody does, or says none."""
        node = requests.read(self._session, self._tree.held(name))
        found = None if node is None else peek(node.value, member)
        return found if isinstance(found, str) else ""

    def _release(self, held: Held) -> None:
        try:
            self._give_back(held, Deadline(self._limits.read_s))
        except CoordinationError:
            # the session may go on, and the lock with it: nobody could take it
            self._later(held.session, partial(self._give_back, held))

    def _give_back(self, held: Held, deadline: Deadline) -> None:
        """Free a lock, if it is still held as it was.

        Raises:
            CoordinationError: No server answers in time.
        """
        freeing = (
            Operation(Kind.CHECK, self._tree.epoch(held.name), version=held.epoch),
            Operation(Kind.DELETE, self._tree.held(held.name)),
        )
        while held.session == self._session.number:
            try:
                requests.transact(self._session, freeing, deadline)
            except Refused:
                return
            except Lost as lost:
                # sent again, it frees the same lock, or none
                if deadline.is_over:
                    self._session.fail(deadline, lost)
            else:
                return

    def _later(self, session: int, work: Callable[[Deadline], None]) -> None:
        """Do something about a lock when a server answers again, from a thread, unless the session ends first."""

        def follow() -> None:
            pause = threading.Event()
            while session == self._session.number:
                try:
                    work(Deadline(self._limits.read_s))
                except CoordinationError:
                    pause.wait(_AGAIN_S)
                else:
                    return

        threading.Thread(target=follow, name="free a lock", daemon=True).start()
