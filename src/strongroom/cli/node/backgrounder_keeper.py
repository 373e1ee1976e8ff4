"""The backgrounders as `serve` keeps them: started, listened to, and replaced when they have died or hang.

Its standard input is a pipe that only this process holds: when this process goes, in whatever way, the pipe ends and
the backgrounder stops by itself. By another pipe it says, again and again, that its loop goes round. One that is
stopped (SIGSTOP, a debugger) may hold the database's write lock: it is replaced before those who wait for the lock give
up.
"""

import logging
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from strongroom.system import disk

_NICENESS: Final = 10
_STOP_S: Final = 15.0
_WATCH_S: Final = 0.5
_log = logging.getLogger("vizportal.Backgrounder")


@dataclass(frozen=True)
class Patience:
    """How long what is waited for, in seconds.

    Attributes:
        poll_s: Between two looks.
        stopped_s: For a process that is stopped; writers wait 30 s for the repository's lock.
        silent_s: For one that says nothing; its loop may itself wait 30 s for each of two databases. Speaks in a
            launch, too.
        starting_s: For the first word of a new one, on a machine that is busy.
        proven_s: After this time a process counts as one that works: its end is no failed start.
        slowest_s: Between two starts of one that fails again and again.
    """

    poll_s: float = 0.5
    stopped_s: float = 10.0
    silent_s: float = 90.0
    starting_s: float = 180.0
    proven_s: float = 60.0
    slowest_s: float = 30.0


@dataclass(frozen=True)
class Seat:
    """The place of a child among the backgrounders of a node.

    Attributes:
        number: The number, from 0.
        is_placed: Returns whether there is to be a child; called repeatedly.
        is_ending: Returns whether the child is about to end by itself, and is to have no successor; called repeatedly.
    """

    number: int = 0
    is_placed: Callable[[], bool] = lambda: True
    is_ending: Callable[[], bool] = lambda: False


class Backgrounder:
    """The child process that runs jobs."""

    def __init__(
        self,
        data_dir: Path,
        *,
        enabled: bool,
        changed: Callable[[], None] = lambda: None,
        seat: "Seat | None" = None,
        patience: Patience | None = None,
    ) -> None:
        """Prepare; nothing is started yet.

        Args:
            data_dir: The data directory of the node.
            enabled: Whether to run a backgrounder as a child process at all.
            changed: Called when the child process has ended, or was replaced by another one.
            seat: The place of the child, and what is wanted there; by default the first, in which there is always one.
            patience: The time limits.
        """
        self._data_dir = data_dir
        self._seat = seat or Seat()
        self._enabled = enabled
        self._changed = changed
        self._patience = patience or Patience()
        self._child: _Child | None = None
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._wanted = threading.Event()

    @property
    def pid(self) -> int:
        """The child's process id, 0 if there is none."""
        child = self._child
        return child.pid if child else 0

    @contextmanager
    def kept_running(self) -> Iterator[None]:
        """Start the child, start it again if it dies or hangs, stop it at the end."""
        if not self._enabled:
            yield
            return
        if self._seat.is_placed() and not self._seat.is_ending():
            with suppress(OSError):  # no process, no memory: the keeper tries again
                self._start()
        keeper = threading.Thread(target=self._keep, name="backgrounder-keeper", daemon=True)
        keeper.start()
        try:
            yield
        finally:
            self._stopping.set()
            keeper.join()
            self._stop()

    def restart(self) -> None:
        """Stop the child; the keeper starts it again, with the configuration as it is then."""
        if self._enabled and not self._stopping.is_set():
            self._wanted.set()
            self._stop()

    def _keep(self) -> None:
        pause = self._patience.poll_s
        while not self._stopping.wait(self._patience.poll_s):
            if not self._seat.is_placed():
                self._dismiss()
                continue
            child = self._child
            if child is not None and child.is_alive:
                self._replace_if_hung(child)
                continue
            if self._seat.is_ending():
                self._dismiss()
                continue
            asked = self._wanted.is_set() or child is None
            self._wanted.clear()
            worked = child is not None and child.age_s >= self._patience.proven_s
            pause = self._patience.poll_s if asked or worked else pause
            if not asked and self._stopping.wait(pause):
                return
            pause = min(pause * 2, self._patience.slowest_s)
            with suppress(OSError):  # no process, no memory: tried again
                self._start()

    def _replace_if_hung(self, child: "_Child") -> None:
        why = child.hung(self._patience)
        if why:
            _log.error(
                "backgrounder %d, process %d, %s: it is replaced", self._seat.number, child.pid, why
            )
            child.kill()

    def _start(self) -> None:
        with self._lock:
            if self._child is not None:
                self._child.close()
            self._child = _Child(self._data_dir, self._seat.number)
        self._changed()

    def _dismiss(self) -> None:
        """End the child, which is to have no successor."""
        if self._child is not None:
            self._stop()
            with self._lock:
                self._child = None
            self._changed()

    def _stop(self) -> None:
        with self._lock:
            if self._child is not None:
                self._child.end()


class Backgrounders:
    """The child processes of a node that run jobs, one in each place up to the number that the topology has."""

    def __init__(
        self,
        count: Callable[[], int],
        keeper: Callable[[int], Backgrounder],
        most: int,
    ) -> None:
        """Prepare; nothing is started yet.

        Args:
            count: Returns how many backgrounders the node is to have; called repeatedly.
            keeper: Makes the keeper of a place, which starts and ends its child by that count.
            most: How many there may be at most.
        """
        self._count = count
        self._keeper = keeper
        self._most = most
        self._keepers: list[Backgrounder] = []
        self._stopping = threading.Event()

    @property
    def pids(self) -> tuple[int, ...]:
        """The process ids by place, 0 where there is none."""
        return tuple(one.pid for one in self._keepers)

    def restart(self) -> None:
        """Stop all children, each of which is started again."""
        for one in tuple(self._keepers):
            one.restart()

    @contextmanager
    def kept_running(self) -> Iterator[None]:
        """Keep as many children as there are to be, until the end of the block."""
        with ExitStack() as stack:
            self._add(stack)
            watcher = threading.Thread(
                target=self._watch, args=(stack,), name="backgrounders", daemon=True
            )
            watcher.start()
            try:
                yield
            finally:
                self._stopping.set()
                watcher.join()

    def _watch(self, stack: ExitStack) -> None:
        """Add keepers as there are to be more children; a keeper stays when its child is dismissed."""
        while not self._stopping.wait(_WATCH_S):
            while len(self._keepers) < min(self._count(), self._most):
                self._add(stack)

    def _add(self, stack: ExitStack) -> None:
        keeper = self._keeper(len(self._keepers))
        self._keepers.append(keeper)
        stack.enter_context(keeper.kept_running())


class _Child:
    """A child process, and its signs of life."""

    def __init__(self, data_dir: Path, place: int) -> None:
        hears, speaks = os.pipe()
        os.set_blocking(hears, False)
        command = [sys.executable, "-m", "strongroom.backgrounder.worker"]
        options = ["--data-dir", str(data_dir), "--beat", str(speaks)]
        options += ["--niceness", str(_NICENESS), "--place", str(place)]
        try:
            self._process = subprocess.Popen(  # noqa: S603 our own interpreter and module
                [*command, *options],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                pass_fds=[speaks],
            )
        except BaseException:
            os.close(hears)
            raise
        finally:
            os.close(speaks)
        self._hears = hears
        self._began = self._looked_at = time.monotonic()
        self._spoke = False
        self._silent_s = self._stopped_s = 0.0

    @property
    def pid(self) -> int:
        """The process id of the child."""
        return self._process.pid

    @property
    def is_alive(self) -> bool:
        """Whether the process still runs."""
        return self._process.poll() is None

    @property
    def age_s(self) -> float:
        """Seconds since its start."""
        return time.monotonic() - self._began

    def hung(self, patience: Patience) -> str:
        """Why it counts as hung, in words; empty if it does not. Asked at each look."""
        now = time.monotonic()
        # not the clock's own difference: this process may have been stopped, too
        passed = min(now - self._looked_at, 2 * patience.poll_s)
        self._looked_at = now
        self._silent_s = 0.0 if self._heard() else self._silent_s + passed
        is_stopped = disk.state_of(self.pid) == "stopped"
        self._stopped_s = self._stopped_s + passed if is_stopped else 0.0
        if self._stopped_s >= patience.stopped_s:
            return f"has been stopped for {self._stopped_s:.0f} s"
        limit = patience.silent_s if self._spoke else patience.starting_s
        return f"has said nothing for {self._silent_s:.0f} s" if self._silent_s >= limit else ""

    def kill(self) -> None:
        """End it as nothing else ends a process that is stopped; its work is made for that."""
        self._process.kill()
        self._process.wait()

    def end(self) -> None:
        """Ask it to end, and end it if it does not."""
        if self.is_alive:
            self._process.terminate()
            try:
                self._process.wait(_STOP_S)
            except subprocess.TimeoutExpired:
                self.kill()
        self.close()

    def close(self) -> None:
        """Let go of its pipes; may be repeated."""
        if self._process.stdin is not None:
            with suppress(OSError):
                self._process.stdin.close()
        hears, self._hears = self._hears, -1
        if hears >= 0:
            os.close(hears)

    def _heard(self) -> bool:
        heard = False
        with suppress(OSError):  # nothing more to read
            while os.read(self._hears, 4096):
                heard = self._spoke = True
        return heard
