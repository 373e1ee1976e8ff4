"""A process that has imported what commands need, and forks a child for each run: a start without the imports.

`forked.py` starts it and speaks to it: `python -m tests.support.fork_server CHANNEL`. It imports nothing of the product by
itself, never starts a thread and never runs a command in its own process: what one child does cannot reach the next.
Several children run at once. Coverage counts them (`probes`), and what is imported here for them. A child may ask for
another one by `DOOR`, as a served node does for its backgrounder (`forked_backgrounder`).
"""

import contextlib
import gc
import json
import os
import selectors
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.support import fork_child, forked_backgrounder, probes

# a message is one packet, and a kernel takes 200 KiB; the list of all modules is 60
MESSAGE = 180_000
# what the server itself needs, and a command started by itself would not find first in its path
_ROOT = sys.path[0]
_DESCRIPTORS = 8
_STANDARD = 2
# a name without a file, which ends with the server; of its process id
DOOR = "\0strongroom's tests: forks of {}"


class Server:
    """Takes requests until the channel is closed."""

    def __init__(self, channel: socket.socket) -> None:
        self._channel = channel
        self._door = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._door.bind(DOOR.format(os.getpid()))
        self._door.listen()
        self._awaited = selectors.DefaultSelector()
        self._awaited.register(channel, selectors.EVENT_READ)
        self._awaited.register(self._door, selectors.EVENT_READ)

    def serve(self) -> dict[str, Any] | None:
        """Answer until the channel is closed; returns a request only in the child that is to run it."""
        while True:
            for key, _ in self._awaited.select():
                if key.data is not None:
                    key.data()
                    continue
                if key.fileobj is self._door:
                    asked = self._asked_at_the_door()
                    if asked is not None:
                        return asked
                    continue
                packet, descriptors, _, _ = socket.recv_fds(self._channel, MESSAGE, _DESCRIPTORS)
                if not packet:
                    return None
                request: dict[str, Any] = json.loads(packet)
                if "modules" in request:
                    fork_child.load(request["modules"])
                    threads = len(list(Path("/proc/self/task").iterdir()))
                    self._channel.send(json.dumps({"threads": threads}).encode())
                elif self._fork(descriptors):
                    return {**request, "descriptors": descriptors}

    def _asked_at_the_door(self) -> dict[str, Any] | None:
        """Fork a child for one of the children, which cannot tell what its own has imported; returns as `serve`."""
        caller, _ = self._door.accept()
        packet, descriptors, _, _ = socket.recv_fds(caller, MESSAGE, _DESCRIPTORS)
        if not packet:  # who asked has just ended
            caller.close()
            return None
        report = os.memfd_create("modules")
        descriptors[_STANDARD + 1 : _STANDARD + 1] = [report]
        descriptors.append(caller.detach())
        if self._fork(descriptors, os.dup(report)):
            request: dict[str, Any] = json.loads(packet)
            return {**request, "descriptors": descriptors}
        return None

    def _fork(self, descriptors: list[int], report: int | None = None) -> bool:
        """Whether this is the child.

        Args:
            descriptors: Those of the child; the last one is the socket on which its id and its end are told.
            report: Where the child writes what it has imported, if this process is to import it for the next ones.
        """
        gc.freeze()
        child = os.fork()
        if not child:
            self._awaited.close()
            self._channel.close()
            self._door.close()
            return True
        for descriptor in descriptors[:-1]:
            os.close(descriptor)
        told = socket.socket(fileno=descriptors[-1])
        _tell(told, {"child": child})
        ended = os.pidfd_open(child)
        attend = self._attend(child, ended, told, report)
        self._awaited.register(ended, selectors.EVENT_READ, attend)
        return False

    def _attend(
        self, child: int, ended: int, told: socket.socket, report: int | None
    ) -> Callable[[], None]:
        def attend() -> None:
            self._awaited.unregister(ended)
            os.close(ended)
            code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
            with told:
                _tell(told, {"code": code})
            if report is not None:
                with os.fdopen(report, "rb") as file:
                    file.seek(0)
                    fork_child.load(json.loads(file.read() or b"[]"))

        return attend


def _tell(told: socket.socket, content: dict[str, int]) -> None:
    """Send one packet; whoever asked may have given up, which must not end the server for all others."""
    with contextlib.suppress(OSError):
        told.send(json.dumps(content).encode())


def become(request: dict[str, Any], measured: probes.Probes | None) -> None:
    """Make this child look as a new process does, and count if its request says so."""
    stdin, out, err, report, *more, told = request["descriptors"]
    os.umask(request["umask"])
    # all that the server had open: the channel and what belongs to other runs
    kept = {stdin, out, err, report, *more}
    for entry in list(Path("/proc/self/fd").iterdir()):
        if int(entry.name) > _STANDARD and int(entry.name) not in kept:
            _close(int(entry.name))
    for place, descriptor in zip(request.get("passed", ()), more, strict=True):
        request["words"][place] = str(descriptor)
    fork_child.settle(request["environment"], request["folder"], {0: stdin, 1: out, 2: err})
    fork_child.show([sys.executable, *request["words"]], request["environment"])
    del told
    if measured is not None:
        measured.switch(on=request.get("is_measured", False))
    fork_child.report_modules_at_the_end(report)


def _close(descriptor: int) -> None:
    try:
        os.close(descriptor)
    except OSError:
        return  # the one through which the list was read


def main() -> None:
    """Serve; a child goes on from here as the command, and ends as every interpreter does."""
    sys.path.remove(_ROOT)
    measured = probes.install()  # with its forks, if its environment asks for it
    request = Server(socket.socket(fileno=int(sys.argv[1]))).serve()
    if request is not None:
        door = DOOR.format(os.getppid())
        become(request, measured)
        if "serve" in request["words"]:
            forked_backgrounder.ask_for_forks_at(door)
        fork_child.run_and_end(request["words"])


if __name__ == "__main__":
    main()
