"""Runs commands as forks of a process that has their modules already: a run costs what the command does, no more.

What a child runs is the command's own script or module, from its first line, in an environment and a folder of its own.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support import seen
from tests.support.servers import ROOT
from tests.torture import fork_server

_LIMIT_S = 120
_END_S = 60


@dataclass(frozen=True)
class Command:
    """What to run, where, and with which variables.

    Attributes:
        words: As after `python`: a script's path or `-m` and a module, then the arguments.
        folder: The working directory.
        environment: All its variables.
    """

    words: Sequence[str]
    folder: Path
    environment: Mapping[str, str]

    @property
    def from_the_start(self) -> list[str]:
        """The command line of a process of its own."""
        return [sys.executable, *self.words] if self.words[0] == "-m" else seen.words(self.words)


@dataclass(frozen=True)
class Disturbance:
    """Which call of the whole process fails with an error, or with 0 is where it is killed, with less where it gets a signal.

    `held`: the call waits, and is made as if nothing had been. `recorded`: nothing is disturbed, and each call is told with
    its data.
    """

    call: str
    number: int
    error: int
    held: bool = False
    recorded: bool = False


NONE = Disturbance("", 0, 0)
RECORDED = Disturbance("", 0, 0, recorded=True)


@dataclass(frozen=True)
class Done:
    """How a run ended."""

    code: int
    out: str
    err: str


class ForkServer:
    """One interpreter that waits; each run is a child of it. For one thread, one run after the other."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            process = subprocess.Popen(
                [sys.executable, "-m", "tests.torture.fork_server", str(theirs.fileno())],
                cwd=ROOT,
                env=dict(environment),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
            )
        self.limit_s: float = _LIMIT_S
        self._channel = ours
        self._known: set[str] = set()
        self.close = weakref.finalize(self, _end, ours, process)

    def run(self, command: Command) -> Done:
        """Run a command."""
        return self._run(command)[0]

    def learn(self, command: Command) -> Done:
        """Run a command to its end; what it imported, later runs find imported."""
        done, report = self._run(command, report=True)
        if not report:
            return done  # it died of a signal before it could tell
        new = [name for name in json.loads(report) if name not in self._known]
        if new:
            self._known.update(new)
            threads = self._ask({"modules": new})["threads"]
            assert threads == 1, f"importing started {threads - 1} threads: no fork has them"
        return done

    def disturb(self, command: Command, disturbance: Disturbance) -> Done:
        """Run a command that fails or dies at one call."""
        return self._run(command, trace=disturbance)[0]

    def hold(
        self, command: Command, disturbance: Disturbance, meanwhile: Callable[[], None]
    ) -> Done:
        """Run a command that waits at one call until something else was done."""
        return self._run(command, trace=disturbance, meanwhile=meanwhile)[0]

    def trace(self, command: Command) -> tuple[Done, list[tuple[str, str]]]:
        """Run a command; tells its mutating calls in their order, each with what it changes."""
        done, told = self._run(command, trace=NONE)
        lines = [line.partition("\t") for line in told.splitlines()]
        return done, [(name, what) for name, _, what in lines]

    def record(self, command: Command) -> tuple[Done, list[dict[str, Any]]]:
        """Run a command; tells its mutating calls as `recording` describes them."""
        done, told = self._run(command, trace=RECORDED)
        return done, [json.loads(line) for line in told.splitlines()]

    def _run(
        self,
        command: Command,
        *,
        trace: Disturbance | None = None,
        report: bool = False,
        meanwhile: Callable[[], None] = lambda: None,
    ) -> tuple[Done, str]:
        request = {
            "words": list(command.words),
            "folder": str(command.folder),
            "environment": dict(command.environment),
            "trace": None if trace is None else vars(trace),
            "report": report,
        }
        with ExitStack() as stack:
            out, err, told = (stack.enter_context(closing(_Sink())) for _ in range(3))
            descriptors = [sink.descriptor for sink in (out, err, told)]
            child = self._ask(request, descriptors)["child"]
            code = self._ended(child, command, meanwhile)
            return Done(code, out.text(), err.text()), told.text()

    def _ended(self, child: int, command: Command, meanwhile: Callable[[], None]) -> int:
        self._channel.settimeout(self.limit_s)
        try:
            answer = self._receive()
            if "reached" in answer:
                try:
                    meanwhile()
                finally:
                    self._channel.send(b"!")
                answer = self._receive()
            code: int = answer["code"]
        except TimeoutError:
            os.kill(child, signal.SIGKILL)
            self._channel.settimeout(_END_S)
            self._receive()
            raise TimeoutError(f"{command.words} did not end in {self.limit_s} s") from None
        return code

    def _ask(self, request: dict[str, Any], descriptors: Iterable[int] = ()) -> dict[str, Any]:
        self._channel.settimeout(_LIMIT_S)
        socket.send_fds(self._channel, [json.dumps(request).encode()], list(descriptors))
        return self._receive()

    def _receive(self) -> dict[str, Any]:
        packet = self._channel.recv(fork_server.MESSAGE)
        assert packet, "the fork server is gone"
        answer: dict[str, Any] = json.loads(packet)
        return answer


# what an interpreter and its C library read at their start: processes that differ in it cannot be forks of one
_READ_AT_THE_START = ("PYTHON", "LC_", "LANG", "LD_", "OPENSSL_", "AWS_", "AZURE_", "GOOGLE_")
_shared: dict[frozenset[tuple[str, str]], ForkServer] = {}


def shared(environment: Mapping[str, str]) -> ForkServer:
    """The server of this test process for all commands that start alike: each module is imported once for all of them."""
    key = frozenset(
        (name, value) for name, value in environment.items() if name.startswith(_READ_AT_THE_START)
    )
    if key not in _shared or not _shared[key].close.alive:
        _shared[key] = ForkServer(environment)
    return _shared[key]


class _Sink:
    """Takes what a process writes, in memory: no pipe that must be emptied meanwhile."""

    def __init__(self) -> None:
        self.descriptor = os.memfd_create("sink")

    def text(self) -> str:
        size = os.fstat(self.descriptor).st_size
        return os.pread(self.descriptor, size, 0).decode(errors="replace")

    def close(self) -> None:
        os.close(self.descriptor)


def _end(channel: socket.socket, process: "subprocess.Popen[bytes]") -> None:
    channel.close()
    try:
        process.wait(_END_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
