"""A server process of other people's that a test can stop, kill, hang, and start again at the same address.

Nothing of the system's own services is touched: every server has its folder, its port on 127.0.0.1 and its Unix socket
below that folder.
"""

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

_READY_S = 120
_STOP_S = 60
_PAUSE_S = 0.02
_AGAIN_S = 30
"""Limits for a loaded machine; nothing waits so long where all is well."""
_STARTER = ThreadPoolExecutor(1, "components")
"""A server that is to end with its parent ends with the thread that started it: this one lasts."""


class Component:
    """One server process of other people's: started by its `with`, ended with it.

    Attributes:
        log: Everything that it has said since it first started.
        folder: All its files.
    """

    def __init__(
        self,
        command: Sequence[str | Path],
        folder: Path,
        ready: Callable[[], bool],
        *,
        user: str | None = None,
        stop_signal: signal.Signals = signal.SIGTERM,
    ) -> None:
        self.folder = folder
        self.log = folder / "server.log"
        self._command = [str(word) for word in command]
        self._ready = ready
        self._user = user
        self._stop_signal = stop_signal
        self._child: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """The server's process id; fails if it does not run."""
        assert self._child is not None
        return self._child.pid

    def start(self) -> None:
        """Start it, and wait until it answers."""
        again = time.monotonic() + _AGAIN_S
        while not self._started():
            # what is left of a killed one (shared memory, a port) may need a moment to go
            if time.monotonic() > again:
                said = self.log.read_text(errors="replace")[-2000:]
                raise AssertionError(f"{self._command[0]} did not start: {said}")
            time.sleep(_PAUSE_S)

    def _started(self) -> bool:
        """Start it; whether it answers, and did not end."""
        with self.log.open("ab") as output:
            self._child = _STARTER.submit(self._launch, output).result()
        limit = time.monotonic() + _READY_S
        while time.monotonic() < limit and self._child.poll() is None:
            if self._ready():
                return True
            time.sleep(_PAUSE_S)
        self._end(signal.SIGKILL)
        return False

    def _launch(self, output: BinaryIO) -> "subprocess.Popen[bytes]":
        return subprocess.Popen(
            # it ends with the tests, even if these are killed
            ["setpriv", "--pdeathsig", "KILL", *self._command],
            cwd=self.folder,
            env={"PATH": os.environ["PATH"], "HOME": str(self.folder), "LC_ALL": "C.UTF-8"},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            **as_user(self._user),
        )

    def fails_to_start(self) -> str:
        """What it says when it is started and ends by itself, with a failure."""
        before = len(self.said())
        with self.log.open("ab") as output:
            child = _STARTER.submit(self._launch, output).result()
        assert child.wait(_READY_S) != 0
        return self.said()[before:]

    def ensure_running(self) -> None:
        """Start it if an earlier test could not bring it back."""
        if self._child is None or self._child.poll() is not None:
            self.start()

    def stop(self) -> None:
        """End it in its own orderly way; nothing happens if it does not run."""
        self._end(self._stop_signal)

    def kill(self) -> None:
        """End it at once, without a word."""
        self._end(signal.SIGKILL)

    def abort(self) -> None:
        """End it by SIGQUIT, which is the immediate stop of PostgreSQL: all its processes end, and nothing is written."""
        self._end(signal.SIGQUIT)

    def _end(self, how: signal.Signals) -> None:
        child, self._child = self._child, None
        if child is None:
            return
        child.send_signal(how)
        child.send_signal(signal.SIGCONT)  # a hung one must hear it
        try:
            child.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()

    @contextmanager
    def running(self, *, killed: bool = False) -> Iterator[None]:
        """There, until the end of the block."""
        self.start()
        try:
            yield
        finally:
            self.kill() if killed else self.stop()

    @contextmanager
    def down(self, *, killed: bool = False) -> Iterator[None]:
        """Not there, until the end of the block."""
        self.kill() if killed else self.stop()
        try:
            yield
        finally:
            self.start()

    @contextmanager
    def hung(self) -> Iterator[None]:
        """There, and silent, until the end of the block: connections are taken and never answered."""
        child = self._child
        assert child is not None
        child.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            child.send_signal(signal.SIGCONT)

    def said(self) -> str:
        """Its whole log."""
        return self.log.read_text(errors="replace")


def as_user(user: str | None) -> dict[str, Any]:
    """Words for `subprocess` that start a process as another user."""
    if user is None:
        return {}
    return {"user": user, "group": pwd.getpwnam(user).pw_gid, "extra_groups": []}


@contextmanager
def own_folder(owner: str | None) -> Iterator[Path]:
    """A short path (sockets end at 107 bytes) that a server which may not be root can reach."""
    folder = Path(tempfile.mkdtemp(prefix="strongroom-"))
    try:
        if owner is not None:
            shutil.chown(folder, owner)
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def answer_of(where: Path | int, question: bytes) -> bytes:
    """What a server answers at once; nothing if it does not listen."""
    family = socket.AF_INET if isinstance(where, int) else socket.AF_UNIX
    address = ("127.0.0.1", where) if isinstance(where, int) else str(where)
    with suppress(OSError), socket.socket(family) as client:
        client.settimeout(2)
        client.connect(address)
        client.sendall(question)
        return client.recv(4096)
    return b""
