"""A process that has imported what a command needs, and forks a child for each run of it: a start without the imports.

`forks.py` starts it and speaks to it: `python -m tests.torture.fork_server CHANNEL`. It imports nothing of the product by
itself, never starts a thread and never runs a command in its own process: what one child does cannot reach the next.
"""

import atexit
import faulthandler
import importlib
import json
import os
import runpy
import socket
import sys
from pathlib import Path
from typing import Any

from tests.support import seen
from tests.torture.tracing import Tracer, install_filter

# a message is one packet, and a kernel takes 200 KiB; the list of all modules is 60
MESSAGE = 180_000
# what the server itself needs, and a command started by itself would not find first in its path
_ROOT = sys.path[0]


def serve(channel: socket.socket) -> dict[str, Any] | None:
    """Answer until the channel is closed; returns only in a child: what to run, and its descriptors."""
    while True:
        packet, descriptors, _, _ = socket.recv_fds(channel, MESSAGE, 4)
        if not packet:
            return None
        request: dict[str, Any] = json.loads(packet)
        if "modules" in request:
            load(request["modules"])
            answer(channel, {"threads": len(list(Path("/proc/self/task").iterdir()))})
            continue
        begin, started = os.pipe()
        child = os.fork()
        if not child:
            os.close(started)
            return request | {"descriptors": [begin, *descriptors]}
        os.close(begin)
        answer(channel, {"child": child})
        answer(channel, {"code": attend(child, started, request, descriptors, channel)})


def answer(channel: socket.socket, content: dict[str, int]) -> None:
    """Send one packet."""
    channel.send(json.dumps(content).encode())


def attend(
    child: int,
    started: int,
    request: dict[str, Any],
    descriptors: list[int],
    channel: socket.socket,
) -> int:
    """Let the child begin, traced if that was asked for; returns its exit code."""

    def reached() -> None:
        answer(channel, {"reached": child})
        channel.recv(MESSAGE)

    with os.fdopen(descriptors[2], "w") as told:

        def tell(name: str, what: str) -> None:
            told.write(f"{name}\t{what}\n")

        for descriptor in descriptors[:2]:
            os.close(descriptor)
        trace = request["trace"]
        if trace is None:
            os.write(started, b"!")
            os.close(started)
            return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        tracer = Tracer(
            child,
            **trace,
            tell=None if trace["number"] else tell,
            reached=reached if trace["held"] else None,
        )
        tracer.seize()
        os.write(started, b"!")
        os.close(started)
        return tracer.follow()


def load(names: list[str]) -> None:
    """Import the modules."""
    for name in names:
        try:
            importlib.import_module(name)
        except Exception:  # noqa: BLE001 made up by its library: the command will do so again
            continue


def become(request: dict[str, Any]) -> None:
    """Make this child look as a new process does, and wait until it may begin."""
    begin, out, err, report = request["descriptors"]
    for ours, theirs in ((out, 1), (err, 2)):
        os.dup2(ours, theirs)
        os.close(ours)
    os.chdir(request["folder"])
    os.environ.clear()
    os.environ.update(request["environment"])
    if request["report"]:
        atexit.register(report_modules, report)
    else:
        os.close(report)
    faulthandler.enable()  # else whoever dies of SIGSEGV says nothing
    os.read(begin, 1)
    os.close(begin)
    if request["trace"] is not None:
        install_filter()


def report_modules(descriptor: int) -> None:
    """Write down what is imported."""
    names = [name for name in list(sys.modules) if name != "__main__"]
    with os.fdopen(descriptor, "w") as file:
        json.dump(names, file)


def run(words: list[str]) -> None:
    """What the interpreter does with this command line: a script by its path, or `-m` and a module."""
    if words[0] == "-m":
        sys.argv = words[1:]
        sys.path.insert(0, str(Path.cwd()))
        runpy.run_module(words[1], run_name="__main__", alter_sys=True)
    else:
        seen.allow()
        sys.argv = words
        sys.path.insert(0, str(Path(words[0]).parent))
        runpy.run_path(words[0], run_name="__main__")


def main() -> None:
    """Serve; a child goes on from here as the command, and ends as every interpreter does."""
    sys.path.remove(_ROOT)
    with socket.socket(fileno=int(sys.argv[1])) as channel:
        request = serve(channel)
    if request is not None:
        become(request)
        run(request["words"])


if __name__ == "__main__":
    main()
