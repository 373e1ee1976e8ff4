"""Runs the product's commands as forks of a process that has their modules already: most of a command's time is imports.

What a child runs is the command's own script, from its first line, with its own arguments, environment, folder, standard
streams and end, and the kernel shows these arguments and variables to whoever looks at processes; a test sees the
difference by time alone. What imports do is tested elsewhere, by processes from the start
(`tests/unit/cli/test_lean_imports.py`, `tests/contract/cli/node/test_serve.py`, the README). A server is a fork as well
(`start`). The real tabcmd is a program of Python, too: its commands are forks of a process of their own, which has nothing
of the product.
"""

import json
import os
import select
import selectors
import signal
import socket
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import IO, Any, Self

from tests.support import fork_child, fork_server, forked_backgrounder
from tests.support.unmeasured import measurement

_ROOT = Path(__file__).resolve().parent.parent.parent
_READ = 1 << 16
_END_S = 60
_START_S = 120
# what an interpreter or its C library reads at the very start, before a fork can give it another value; and what a library
# of a cloud reads when it is imported (tests/structure/test_forked.py looks which)
_READ_AT_THE_START = (
    *("PYTHON", "LC_", "LANG", "LD_", "MALLOC_", "GLIBC_", "OPENSSL_"),
    *("GOOGLE_", "GCE_", "NO_GCE_CHECK"),
)
# a server is started by whichever test comes first, and that test may have given clouds' variables to itself alone
_BEFORE_ANY_TEST = dict(os.environ)


Ended = subprocess.CompletedProcess[bytes]


class Forks:
    """A server, started when it is first needed; for any number of threads and runs at once.

    Args:
        environment: All its variables, if they are not those of the tests: such as a `PYTHONPATH` to other code.
    """

    def __init__(self, environment: Mapping[str, str] | None = None) -> None:
        self._environment = environment
        self._lock = threading.Lock()
        self._channel: socket.socket | None = None
        self._ending: Callable[[], object] | None = None
        self._start: dict[str, str] = {}
        self._pid = 0
        self._known: set[str] = set()

    def fit(self, environment: Mapping[str, str]) -> bool:
        """Whether a fork can be a process of this environment."""
        with self._lock:
            self._begun()
        return _read_at_the_start(environment) == self._start

    def run(
        self,
        words: Sequence[str],
        *,
        folder: Path,
        environment: Mapping[str, str],
        stdin: bytes | int,
        limit_s: float,
    ) -> Ended:
        """Run a command; what it imported, later runs find imported.

        Args:
            words: The path of one of the product's scripts, and its arguments.
            folder: The working directory.
            environment: All its variables; one that `fit` has taken.
            stdin: What it reads, or the descriptor from which it does.
            limit_s: How long it may run.

        Raises:
            subprocess.TimeoutExpired: It had not ended in time, and was killed.
        """
        request = _request(words, folder, environment)
        told, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with os.fdopen(os.memfd_create("modules"), "rb") as report, told, theirs:
            with _Run(stdin, told) as run:
                with self._lock:
                    run.hand_over(self._begun(), request, [report.fileno(), theirs.fileno()])
                theirs.close()
                done = run.attend(words, limit_s)
            report.seek(0)
            self._learn(report.read())
        return done

    def start(
        self,
        words: Sequence[str],
        *,
        folder: Path,
        environment: Mapping[str, str],
        errors: int,
    ) -> "Fork":
        """Start a command that goes on, with nothing to read.

        Args:
            words: The path of one of the product's scripts, and its arguments.
            folder: The working directory.
            environment: All its variables; one that `fit` has taken.
            errors: The descriptor of its standard error, which stays open.
        """
        request = _request(words, folder, environment)
        told, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        report, nothing = os.memfd_create("modules"), os.open(os.devnull, os.O_RDONLY)
        read, out = os.pipe()
        with theirs:
            try:
                with self._lock:
                    handed = [nothing, out, errors, report, theirs.fileno()]
                    socket.send_fds(self._begun(), [json.dumps(request).encode()], handed)
            finally:
                os.close(nothing)
                os.close(out)
        return Fork(words, told, os.fdopen(read, encoding="utf-8"), report, self._learn)

    def on_streams(self, request: Mapping[str, object], streams: Sequence[int]) -> int:
        """Run a command on somebody's standard streams, and wait for its end; its exit code.

        Args:
            request: `words`, `folder`, `environment` and `umask`.
            streams: The descriptors of its input, output and errors, which stay open.
        """
        told, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with os.fdopen(os.memfd_create("modules"), "rb") as report, told, theirs:
            with self._lock:
                handed = [*streams, report.fileno(), theirs.fileno()]
                socket.send_fds(self._begun(), [json.dumps(request).encode()], handed)
            theirs.close()
            json.loads(told.recv(fork_server.MESSAGE))  # its process id
            code: int = json.loads(told.recv(fork_server.MESSAGE))["code"]
            report.seek(0)
            self._learn(report.read())
        return code

    def end(self) -> None:
        """End the server, if there is one; else it ends with this object."""
        if self._ending is not None:
            self._ending()

    def _begun(self) -> socket.socket:
        """The channel to the server; with the lock held."""
        if self._channel is None:
            # a child is measured if its request says so, which needs a server that is
            environment = {**_BEFORE_ANY_TEST, **measurement.variables}
            if self._environment is not None:
                environment = dict(self._environment)
            environment.pop(fork_child.WARNINGS, None)
            ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            with theirs:
                process = subprocess.Popen(
                    [sys.executable, "-m", "tests.support.fork_server", str(theirs.fileno())],
                    cwd=_ROOT,
                    env=environment,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    pass_fds=[theirs.fileno()],
                )
            ours.settimeout(_START_S)
            self._start = _read_at_the_start(environment)
            self._channel, self._pid = ours, process.pid
            self._ending = weakref.finalize(self, _end, ours, process)
        return self._channel

    def _learn(self, report: bytes) -> None:
        """Let the server import what a run has imported; a run that died of a signal has told nothing."""
        if not report:
            return
        with self._lock:
            new = [name for name in json.loads(report) if name not in self._known]
            if not new:
                return
            self._known.update(new)
            channel = self._begun()
            channel.send(json.dumps({"modules": new}).encode())
            threads = json.loads(channel.recv(fork_server.MESSAGE))["threads"]
            assert threads == 1, f"importing started {threads - 1} threads: no fork has them"


class Fork:
    """A fork that goes on, as `subprocess.Popen` shows a process in text mode.

    Attributes:
        args: Its command line.
        pid: Its process id; its parent is the server of forks.
        stdout: What it writes.
        returncode: As it ended, negative if by a signal; None until somebody has looked.
    """

    def __init__(
        self,
        words: Sequence[str],
        told: socket.socket,
        stdout: IO[str],
        report: int,
        learn: Callable[[bytes], None],
    ) -> None:
        told.settimeout(_START_S)
        self.args = list(words)
        self.pid: int = json.loads(told.recv(fork_server.MESSAGE))["child"]
        self.stdout: IO[str] | None = stdout
        self.returncode: int | None = None
        self._told, self._report, self._learn = told, report, learn

    def poll(self) -> int | None:
        """How it ended; None while it goes on."""
        try:
            return self.wait(0)
        except subprocess.TimeoutExpired:
            return None

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end.

        Raises:
            subprocess.TimeoutExpired: It goes on after `timeout` seconds.
        """
        if self.returncode is None:
            if not select.select([self._told], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired(self.args, timeout or 0)
            self.returncode = int(json.loads(self._told.recv(fork_server.MESSAGE))["code"])
            self._told.close()
            with os.fdopen(self._report, "rb") as report:
                report.seek(0)
                self._learn(report.read())
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Send a signal; nothing happens if it has ended."""
        if self.poll() is None:
            with suppress(ProcessLookupError):  # it has just ended
                os.kill(self.pid, number)

    def terminate(self) -> None:
        """SIGTERM."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """SIGKILL."""
        self.send_signal(signal.SIGKILL)


class _Run:
    """A child from its parent's side: its standard streams, and the socket that tells its id and its end."""

    def __init__(self, stdin: bytes | int, told: socket.socket) -> None:
        self._told = told
        self._unwritten = memoryview(b"" if isinstance(stdin, int) else stdin)
        self._given = -1
        if isinstance(stdin, int):
            given = os.dup(stdin)
        else:
            given, self._given = os.pipe()
            os.set_blocking(self._given, False)
        self._out, out = os.pipe()
        self._err, err = os.pipe()
        self._theirs = [given, out, err]
        self._came = {self._out: bytearray(), self._err: bytearray()}
        self._code: int | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._handed_over()
        self._end_input()
        os.close(self._out)
        os.close(self._err)

    def hand_over(
        self, channel: socket.socket, request: Mapping[str, object], more: list[int]
    ) -> None:
        """Ask for the child, and give its ends of the pipes away."""
        socket.send_fds(channel, [json.dumps(request).encode()], [*self._theirs, *more])
        self._handed_over()

    def attend(self, words: Sequence[str], limit_s: float) -> Ended:
        """Read what the child writes until it has ended and nobody holds its streams; kill it when its time is over."""
        self._told.settimeout(_START_S)
        child: int = json.loads(self._told.recv(fork_server.MESSAGE))["child"]
        try:
            return self._ended_by(time.monotonic() + limit_s, list(words), limit_s)
        except BaseException:
            # also when the test's own time is over: the child is nobody's then
            if self._code is None:
                with suppress(ProcessLookupError):  # it has just ended
                    os.kill(child, signal.SIGKILL)
                self._told.recv(fork_server.MESSAGE)
            raise

    def _ended_by(self, end: float, words: list[str], limit_s: float) -> Ended:
        with selectors.DefaultSelector() as awaited:
            for descriptor in (self._out, self._err, self._told.fileno()):
                awaited.register(descriptor, selectors.EVENT_READ)
            if self._unwritten:
                awaited.register(self._given, selectors.EVENT_WRITE)
            else:
                self._end_input()
            while awaited.get_map():
                ready = awaited.select(max(0.0, end - time.monotonic()))
                if not ready:
                    raise subprocess.TimeoutExpired(words, limit_s)
                for key, _ in ready:
                    if not self._goes_on(key.fd):
                        awaited.unregister(key.fd)
                        self._ended(key.fd)
        assert self._code is not None
        came = [bytes(self._came[descriptor]) for descriptor in (self._out, self._err)]
        return Ended(words, self._code, *came)

    def _goes_on(self, descriptor: int) -> bool:
        """Do what a descriptor is ready for; whether there will be more."""
        if descriptor == self._given:
            return self._write_some()
        if descriptor == self._told.fileno():
            self._code = json.loads(self._told.recv(fork_server.MESSAGE))["code"]
            return False
        some = os.read(descriptor, _READ)
        self._came[descriptor].extend(some)
        return bool(some)

    def _write_some(self) -> bool:
        try:
            self._unwritten = self._unwritten[os.write(self._given, self._unwritten[:_READ]) :]
        except BrokenPipeError:
            return False
        return bool(self._unwritten)

    def _ended(self, descriptor: int) -> None:
        if descriptor == self._given:
            self._end_input()

    def _end_input(self) -> None:
        """Let the child read the end of its input."""
        if self._given >= 0:
            os.close(self._given)
            self._given = -1

    def _handed_over(self) -> None:
        while self._theirs:
            os.close(self._theirs.pop())


def _request(words: Sequence[str], folder: Path, environment: Mapping[str, str]) -> dict[str, Any]:
    return {
        "words": list(words),
        "folder": str(folder),
        "environment": dict(environment),
        "umask": forked_backgrounder.umask(),
        "is_measured": measurement.is_on,
    }


def _read_at_the_start(environment: Mapping[str, str]) -> dict[str, str]:
    return {
        name: value
        for name, value in environment.items()
        if name.startswith(_READ_AT_THE_START) and name != fork_child.WARNINGS
    }


def _end(channel: socket.socket, process: "subprocess.Popen[bytes]") -> None:
    channel.close()
    try:
        process.wait(_END_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


_COMMANDS = Forks()
"""The server of this test process."""
_TABCMD = Forks()
"""One more, for the commands of the real tabcmd."""
_watching: list[None] = []
"""An entry for each who needs processes from their start now."""


def _of(words: Sequence[str]) -> Forks:
    return _TABCMD if Path(words[0]).name == "tabcmd" else _COMMANDS


@cache
def are_seen() -> bool:
    """Whether a fork shows its own arguments and variables to whoever looks at processes (`fork_child.show`)."""
    asked = "from tests.support import fork_child; print(fork_child.show(['x'], {}))"
    told = subprocess.run(
        [sys.executable, "-c", asked], cwd=_ROOT, stdout=subprocess.PIPE, check=True
    )
    return told.stdout == b"True\n"


@contextmanager
def as_processes() -> Iterator[None]:
    """Have each command be a process from its start meanwhile."""
    _watching.append(None)
    try:
        yield
    finally:
        _watching.pop()


def run(
    words: Sequence[str],
    *,
    folder: Path,
    environment: Mapping[str, str],
    stdin: bytes | int = b"",
    limit_s: float = 120,
) -> Ended:
    """Run a command of the product or of tabcmd; as a fork, if a fork can have that environment.

    Args:
        words: The path of the command's script, and its arguments.
        folder: The working directory.
        environment: All its variables.
        stdin: What it reads, or the descriptor from which it does.
        limit_s: How long it may run.

    Raises:
        subprocess.TimeoutExpired: It had not ended in time, and was killed.
    """
    if not _watching and _of(words).fit(environment):
        return _of(words).run(
            words, folder=folder, environment=environment, stdin=stdin, limit_s=limit_s
        )
    return subprocess.run(
        words,
        cwd=folder,
        env=environment,
        stdin=stdin if isinstance(stdin, int) else None,
        input=None if isinstance(stdin, int) else stdin,
        capture_output=True,
        timeout=limit_s,
        check=False,
    )


def start(
    words: Sequence[str], *, folder: Path, environment: Mapping[str, str], errors: int
) -> Fork | None:
    """Start a command that goes on, as a fork (`Forks.start`); None where `run` would take a process."""
    if _watching or not _COMMANDS.fit(environment):
        return None
    return _COMMANDS.start(words, folder=folder, environment=environment, errors=errors)


def on_streams(request: Mapping[str, Any], streams: Sequence[int]) -> int | None:
    """Run a command as a fork on somebody's streams (`Forks.on_streams`); None where `run` would take a process."""
    forks = _of(request["words"])
    if _watching or not forks.fit(request["environment"]):
        return None
    return forks.on_streams(request, streams)
