"""`strongroom serve` that kills itself at the n-th call which a move makes through its ports.

`python -m tests.torture.crashing_serve N NOTES WORDS…`: the calls are those to every root, to the coordination service, the
event log, the marks and the files; each one's name goes to NOTES before it is made. N = 0 kills nothing.
"""

import os
import signal
import sys
from pathlib import Path

import pytest

from strongroom.cli import dispatch
from strongroom.doors.control import verbs
from strongroom.node.opening import Node
from tests.torture.port_calls import PortCalls, watch_roots, watch_stores

_VERB = "kms.set-mode"


def main(number: int, notes: Path, words: list[str]) -> int:
    """Serve, and count from the moment that a move is asked for."""

    def note(count: int, name: str) -> None:
        with notes.open("a") as file:
            file.write(f"{name}\n")
        if count == number:
            os.kill(os.getpid(), signal.SIGKILL)

    calls, real = PortCalls(note), verbs.VERBS[_VERB]

    def set_mode(node: Node, actor: str, arguments: verbs.Arguments, say: verbs.Report) -> object:
        calls.armed = True
        try:
            return real(node, actor, arguments, say)
        finally:
            calls.armed = False

    with pytest.MonkeyPatch.context() as patch:
        watch_roots(calls, patch)
        watch_stores(calls, patch)
        patch.setitem(verbs.VERBS, _VERB, set_mode)
        return dispatch.main("strongroom", ["serve", *words])


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:]))
