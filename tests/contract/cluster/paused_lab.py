"""A command of a node that is met while it holds a lock of the cluster, and what lies in both stores, read by foreign clients."""

import json
import re
import signal
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

from tests.support import forked, servers
from tests.support.cluster_services import ClusterServices

_LIMIT_S: Final = 120
#: Locks, markers of puts, notes and members: whoever works on something writes these. A commit changes the rest.
_UNCOUNTED: Final = re.compile(r"^(locks|txn|live|status|workers|blob)(/|$)")
#: Written with every transaction by the log of whichever node makes one.
_LOG_MARKS: Final = "anchor.logs"
_TABLES: Final = ("contents", "meks", "intents", "fence", "kms_proofs")


class Seen(NamedTuple):
    """What is there.

    Attributes:
        entries: The version of each node in ZooKeeper, by its path below the root.
        rows: The rows of each table, as text.
    """

    entries: Mapping[str, int]
    rows: Mapping[str, tuple[object, ...]]

    def difference(self, before: "Seen") -> list[str]:
        """What is another one than it was."""
        names = {*self.entries, *before.entries}
        found = [one for one in names if self.entries.get(one) != before.entries.get(one)]
        return sorted(found) + [one for one in self.rows if self.rows[one] != before.rows[one]]


class Judge:
    """Kazoo and a client of PostgreSQL; none of the product's code."""

    def __init__(self, client: Any, services: ClusterServices, root: str) -> None:
        self._client = client
        self._services = services
        self._root = root

    def look(self) -> Seen:
        """What is there now."""
        self._client.sync(self._root)
        entries: dict[str, int] = {}
        self._walk("", entries)
        rows: dict[str, tuple[object, ...]] = {
            name: tuple(self._services.query(f"SELECT t::text FROM {name} t ORDER BY 1"))
            for name in _TABLES
        }
        others = f"SELECT name, value FROM marks WHERE name <> '{_LOG_MARKS}' ORDER BY 1"
        return Seen(entries, {**rows, "marks": tuple(self._services.query(others))})

    def quiet(self) -> Seen:
        """What is there when nothing moves any more."""
        before = self.look()
        for _ in range(40):
            time.sleep(0.5)
            now = self.look()
            if not now.difference(before):
                return now
            before = now
        raise AssertionError("both stores go on moving")

    def holder(self, lock: str) -> str:
        """Who holds a lock, in words; empty if nobody does."""
        from kazoo.exceptions import NoNodeError

        try:
            data, _ = self._client.get(f"{self._root}/locks/{lock}/held")
        except NoNodeError:
            return ""
        return str(json.loads(data)["holder"])

    def take_away(self, lock: str) -> None:
        """End the hold of whoever has a lock, as the end of its session would."""
        from kazoo.exceptions import NoNodeError

        try:
            self._client.delete(f"{self._root}/locks/{lock}/held")
        except NoNodeError:
            return

    def _walk(self, path: str, entries: dict[str, int]) -> None:
        from kazoo.exceptions import NoNodeError

        for name in self._client.get_children(f"{self._root}{path and '/' + path}"):
            below = f"{path}/{name}" if path else name
            if _UNCOUNTED.match(below):
                continue
            try:
                _, stat = self._client.get(f"{self._root}/{below}")
            except NoNodeError:
                continue
            if below != "kv":  # every put writes it
                entries[below] = stat.version
            self._walk(below, entries)


class Holder:
    """A command, as a fork."""

    def __init__(self, home: Path, folder: Path, words: tuple[str, ...]) -> None:
        own = servers.TestNode(folder, environment={"STRONGROOM_HOME": str(home)})
        self._errors = (folder / "holder.err").open("wb+")
        line = [str(servers.BIN / words[0]), *words[1:]]
        started = forked.start(
            line, folder=folder, environment=own.variables(), errors=self._errors.fileno()
        )
        assert started is not None
        self._fork = started

    def holds(self, judge: Judge, lock: str) -> bool:
        """Whether it is this command that holds a lock."""
        return judge.holder(lock).endswith(f"process {self._fork.pid}")

    @property
    def has_ended(self) -> bool:
        return self._fork.poll() is not None

    def stop(self) -> None:
        self._fork.send_signal(signal.SIGSTOP)

    def wake(self) -> None:
        self._fork.send_signal(signal.SIGCONT)

    def ended(self) -> tuple[int, str]:
        """Its exit code, and what it said to standard error."""
        code = self._fork.wait(_LIMIT_S)
        if self._fork.stdout is not None:
            self._fork.stdout.close()
        self._errors.seek(0)
        said = self._errors.read().decode()
        self._errors.close()
        return code, said


def met(
    start: Callable[[], Holder], judge: Judge, lock: str, delay_s: float
) -> tuple[Holder, bool]:
    """A command that was stopped so long after it took a lock, and whether it has the lock still."""
    holder = start()
    while not holder.has_ended and not holder.holds(judge, lock):
        time.sleep(0.001)
    time.sleep(delay_s)
    holder.stop()
    return holder, not holder.has_ended and holder.holds(judge, lock)
