"""Readers of a command's output that do not stay to its end."""

import subprocess
from collections.abc import Sequence

_END_S = 30


def read_a_little(command: Sequence[str]) -> tuple[int, bytes]:
    """Read ten bytes of what a command prints, and go away; its exit code, and what it said on stderr."""
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.read(10)
        process.stdout.close()
        said = process.stderr.read()
        return process.wait(_END_S), said
