"""A process that has imported what a command needs, and forks a child for each run of it: a start without the imports.

`forks.py` starts it and speaks to it: `python -m tests.torture.fork_server CHANNEL`. It imports nothing of the product by
itself, never starts a thread and never runs a command in its own process: what one child does cannot reach the next.
"""

import gc
import json
import os
import socket
import sys
from pathlib import Path
from typing import Any

from tests.support import fork_child, seen
from tests.torture import recording
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
            fork_child.load(request["modules"])
            answer(channel, {"threads": len(list(Path("/proc/self/task").iterdir()))})
            continue
        begin, started = os.pipe()
        gc.freeze()  # no look for garbage in a child copies what all of them share
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

        def record(thread: int, name: str, registers: recording.Registers) -> None:
            told.write(f"{recording.line(thread, name, registers)}\n")

        trace = request["trace"]
        if trace is None:
            os.write(started, b"!")
            os.close(started)
            return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        is_recorded = trace.pop("recorded")
        tracer = Tracer(
            child,
            **trace,
            tell=None if trace["number"] or is_recorded else tell,
            look=record if is_recorded else None,
            reached=reached if trace["held"] else None,
        )
        tracer.seize()
        os.write(started, b"!")
        os.close(started)
        return tracer.follow()


def become(request: dict[str, Any]) -> None:
    """Make this child look as a new process does, and wait until it may begin."""
    begin, out, err, report = request["descriptors"]
    fork_child.settle(request["environment"], request["folder"], {1: out, 2: err})
    if request["report"]:
        fork_child.report_modules_at_the_end(report)
    else:
        os.close(report)
    os.read(begin, 1)
    os.close(begin)
    if request["trace"] is not None:
        install_filter()


def main() -> None:
    """Serve; a child goes on from here as the command.

    One that is followed ends as every interpreter does, so that each call of its end is a point.
    """
    sys.path.remove(_ROOT)
    with socket.socket(fileno=int(sys.argv[1])) as channel:
        request = serve(channel)
    if request is not None:
        become(request)
        if request["words"][0] != "-m":
            seen.allow()
        if request["trace"] is None:
            fork_child.run_and_end(request["words"])
        fork_child.run(request["words"])


if __name__ == "__main__":
    main()
