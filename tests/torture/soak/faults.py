"""What is done to the installation while it is used: processes and services are killed, stopped, hung and cut off."""

import os
import random
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress

from tests.support.components.process import Component
from tests.support.links import Mode
from tests.torture.fleet import Fleet, Member


class Faults:
    """Each fault is a block: it begins with it and is mended at its end.

    Attributes:
        spared: A node of which no process is touched, so that one lives long enough to show how it grows.
        met: What was done, with the times.
    """

    def __init__(self, fleet: Fleet, seed: int) -> None:
        self.fleet = fleet
        self.spared = "node1"
        self.met: list[tuple[float, str]] = []
        self._chance = random.Random(f"{seed} faults")
        self._kinds: dict[str, Callable[[], Iterator[None]]] = {
            "node killed": self._node_killed,
            "server killed": self._server_killed,
            "node stopped in order": self._node_ended,
            "backgrounder killed": self._backgrounder_killed,
            "node stands still": self._node_still,
            "backgrounder stands still": self._backgrounder_still,
            "ZooKeeper server killed": self._follower_killed,
            "leader of ZooKeeper killed": self._leader_killed,
            "most of ZooKeeper killed": self._quorum_killed,
            "answers of ZooKeeper lost": self._answers_lost,
            "PostgreSQL stopped at once": self._database_stopped,
            "PostgreSQL killed": self._database_killed,
            "PostgreSQL hangs": self._database_hangs,
            "store killed": self._store_killed,
            "store hangs": self._store_hangs,
        }
        self._left: list[str] = []

    def one(self) -> str:
        """Do a fault of a choice, sometimes two at once, and mend; each kind comes before any comes again."""
        names = [self._next()]
        if self._chance.random() < 0.3 and _touches(second := self._next()) != _touches(names[0]):
            names.append(second)
        with ExitStack() as stack:
            for name in names:
                self.met.append((time.monotonic(), name))
                stack.enter_context(contextmanager(self._kinds[name])())
        return " and ".join(names)

    def _next(self) -> str:
        if not self._left:
            self._left = list(self._kinds)
            self._chance.shuffle(self._left)
        return self._left.pop()

    def mend(self) -> None:
        """Everything runs and passes."""
        for one in self.fleet.members.values():
            one.signal_all(signal.SIGCONT)
        self.fleet.ensemble.mend()
        for server in (self.fleet.postgres.component, self.fleet.store):
            with suppress(ProcessLookupError, AssertionError):
                os.kill(server.pid, signal.SIGCONT)
            server.ensure_running()

    def _for(self, least: float, most: float) -> None:
        time.sleep(self._chance.uniform(least, most))

    def _member(self) -> Member:
        members = [one for name, one in self.fleet.members.items() if name != self.spared]
        return self._chance.choice(members)

    def _node_killed(self) -> Iterator[None]:
        member = self._member()
        member.kill()
        yield
        self._for(1, 15)
        member.start()

    def _server_killed(self) -> Iterator[None]:
        pid = self._member().pid
        if pid is not None:
            os.kill(pid, signal.SIGKILL)
        yield

    def _node_ended(self) -> Iterator[None]:
        member = self._member()
        member.stop()
        yield
        self._for(0, 5)
        member.start()

    def _backgrounder_killed(self) -> Iterator[None]:
        pid = self._member().backgrounder_pid
        if pid is not None:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        yield

    def _node_still(self) -> Iterator[None]:
        member = self._member()
        member.signal_all(signal.SIGSTOP)
        yield
        self._for(8, 25)
        member.signal_all(signal.SIGCONT)

    def _backgrounder_still(self) -> Iterator[None]:
        pid = self._member().backgrounder_pid
        with suppress(ProcessLookupError, TypeError):
            os.kill(pid, signal.SIGSTOP)  # type: ignore[arg-type]
        yield
        self._for(8, 25)
        with suppress(ProcessLookupError, TypeError):
            os.kill(pid, signal.SIGCONT)  # type: ignore[arg-type]

    def _down(self, *servers: Component, least: float = 1, most: float = 8) -> Iterator[None]:
        for one in servers:
            one.kill()
        yield
        self._for(least, most)
        self.fleet.ensemble.mend()
        for one in servers:
            one.ensure_running()

    def _follower_killed(self) -> Iterator[None]:
        yield from self._down(self._chance.choice(self.fleet.ensemble.servers).component)

    def _leader_killed(self) -> Iterator[None]:
        yield from self._down(self.fleet.ensemble.leader().component)

    def _quorum_killed(self) -> Iterator[None]:
        chosen = self._chance.sample(self.fleet.ensemble.servers, 2)
        yield from self._down(*(one.component for one in chosen), least=3, most=15)

    def _answers_lost(self) -> Iterator[None]:
        for link in self.fleet.ensemble.links():
            link.become(Mode.LOSE_ANSWERS)
        yield
        self._for(1, 12)
        for link in self.fleet.ensemble.links():
            link.cut()
            link.become(Mode.PASS)

    def _database_stopped(self) -> Iterator[None]:
        self.fleet.postgres.component.abort()
        yield
        self._for(0, 8)
        self.fleet.postgres.component.ensure_running()

    def _database_killed(self) -> Iterator[None]:
        yield from self._down(self.fleet.postgres.component, least=0)

    def _hung(self, server: Component) -> Iterator[None]:
        with server.hung():
            yield
            self._for(3, 20)

    def _database_hangs(self) -> Iterator[None]:
        # its processes are many; the postmaster alone would not be missed
        pids = _family(self.fleet.postgres.component.pid)
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGSTOP)
        yield
        self._for(3, 20)
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)

    def _store_killed(self) -> Iterator[None]:
        yield from self._down(self.fleet.store)

    def _store_hangs(self) -> Iterator[None]:
        yield from self._hung(self.fleet.store)


def _touches(kind: str) -> str:
    """The part of the installation that a kind of fault is about; two of one part would undo each other."""
    return next((one for one in ("ZooKeeper", "PostgreSQL", "store") if one in kind), "nodes")


def _family(pid: int) -> list[int]:
    """A process and its children."""
    with open(f"/proc/{pid}/task/{pid}/children") as told:  # noqa: PTH123 no path of a file
        return [pid, *map(int, told.read().split())]
