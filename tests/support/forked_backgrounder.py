"""Backgrounders as forks of the process that forks commands (`fork_server`): most of what one computes in a test is imports.

A node that is served as a fork starts its backgrounder by `subprocess.Popen`, as ever; here that call asks for a fork. Its
parent is the server of forks, all else is as if it had begun by itself: its streams, its end, what signals do to it.
Backgrounders as processes from their start are those of the servers that are so (`forked`).
"""

import json
import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

_MODULE: Final = "strongroom.backgrounder.worker"
_ANSWER: Final = 1000
_ERRORS: Final = 2
_KILLED: Final = -signal.SIGKILL.value


def is_one(words: Sequence[str]) -> bool:
    """Whether a command line is that of a backgrounder."""
    return list(words[:3]) == [sys.executable, "-m", _MODULE]


class Backgrounder:
    """A backgrounder, as `subprocess.Popen` shows a process.

    Args:
        door: The name of the server of forks.
        words: Its command line, as `is_one` takes it.
        passed: The descriptors that its command line names.
        environment: All its variables.

    Attributes:
        pid: Its process id; its parent is the server of forks.
        stdin: What it reads.
        returncode: As it ended, negative if by a signal; None until somebody has looked.
    """

    def __init__(
        self, door: str, words: Sequence[str], passed: Sequence[int], environment: dict[str, str]
    ) -> None:
        self.args = list(words)
        self.returncode: int | None = None
        request = {
            "words": self.args[1:],
            "folder": os.getcwd(),  # noqa: PTH109  as a word
            "environment": environment,
            "umask": umask(),
            "passed": [self.args.index(str(one)) - 1 for one in passed],
        }
        given, write = os.pipe()
        self.stdin = os.fdopen(write, "wb", 0)
        nothing = os.open(os.devnull, os.O_WRONLY)
        self._told = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            self._told.connect(door)
            handed = [given, nothing, _ERRORS, *passed]
            socket.send_fds(self._told, [json.dumps(request).encode()], handed)
            self.pid: int = json.loads(self._told.recv(_ANSWER))["child"]
        except BaseException:
            self._told.close()
            self.stdin.close()
            raise
        finally:
            os.close(given)
            os.close(nothing)

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
            answer = self._told.recv(_ANSWER)
            self._told.close()
            # the server of forks is gone with the tests
            self.returncode = json.loads(answer)["code"] if answer else _KILLED
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


def umask() -> int:
    """This process's mask, without a moment in which it is another."""
    for line in Path("/proc/self/status").read_text().splitlines():
        name, _, value = line.partition(":")
        if name == "Umask":
            return int(value, 8)
    raise AssertionError("the kernel tells no umask")


def ask_for_forks_at(door: str) -> None:
    """Have this process, which is a fork itself, start its backgrounders so from now on.

    Args:
        door: The name of the server of forks.
    """
    process = subprocess.Popen

    class Started(process):  # type: ignore[valid-type, misc]
        def __new__(cls, words: Sequence[str], *given: Any, **more: Any) -> Any:
            if is_one(words):
                return Backgrounder(door, words, more.get("pass_fds", ()), dict(os.environ))
            return super().__new__(cls)

    subprocess.Popen = Started  # type: ignore[assignment, misc]
