"""A command with a terminal as its standard input, at which somebody types."""

import os
import pty
from pathlib import Path

from tests.support import forked
from tests.support.servers import BIN, TestNode


def at_terminal(node: TestNode, line: list[str], typed: bytes) -> tuple[int, str]:
    """Run with a terminal as standard input, at which somebody types; code and messages."""
    ours, theirs = pty.openpty()
    try:
        os.write(ours, typed)
        done = forked.run(
            [str(BIN / line[0]), *map(str, line[1:])],
            folder=Path.cwd(),
            environment=node.variables(),
            stdin=theirs,
            limit_s=300,
        )
    finally:
        os.close(ours)
        os.close(theirs)
    return done.returncode, done.stderr.decode()
