"""`make demo` and `make demo-cluster` keep their promises, say so, and leave nothing behind."""

import os
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import forked_shell
from tests.support.servers import BIN, ROOT

pytestmark = [pytest.mark.interop, pytest.mark.slow]


CLUSTER = [
    "every link is in order",
    "all nodes are active",
    "every node has proved the new keys",
    "what one node took, another one gives back byte for byte",
    "node3 is named, and only node3",
    "the rotation is refused, and says why",
    "no key has changed",
    "the rotation is done",
    "every node has proved the new keys",
    "node3 has what node2 applied",
    "tsm and tabcmd go on at node2",
    "node1 is told as stopped",
    "two nodes are left, and both are in order",
    "the event logs of the nodes that are left verify",
]


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder for temporary files that other users may enter, as /tmp is: PostgreSQL runs as one."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)


@pytest.fixture
def commands() -> Iterator[Path]:
    """A folder with the commands, which begin sooner (`forked_shell`); servers are processes from their start."""
    with (
        tempfile.TemporaryDirectory(prefix="commands-") as name,
        forked_shell.commands(Path(name)) as made,
    ):
        yield made


@pytest.mark.parametrize("name", ["demo.run", "demo.cluster"])
def test_the_demo_keeps_its_promises_and_leaves_nothing(
    name: str, folder: Path, commands: Path
) -> None:
    """E1, E2, E6 for the cluster: the seeds' story over three nodes, by the real tabcmd and TSC.

    The demo of the README runs as a person runs it; the commands of the cluster's are forks.
    """
    given = ["--commands", str(commands)] if name == "demo.cluster" else []
    done = subprocess.run(
        [str(BIN / "python"), "-m", name, *given],
        cwd=ROOT,
        env={**os.environ, "TMPDIR": str(folder)},
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr
    assert "promises checked, all kept" in done.stdout
    assert "WRONG" not in done.stdout
    assert "\x1b[" not in done.stdout
    assert [path.name for path in folder.iterdir() if "strongroom" in path.name] == []
    if name == "demo.cluster":
        kept = done.stdout.partition("\nSummary\n")[2]
        assert [one[6:] for one in kept.splitlines() if one.startswith("  ok  ")] == CLUSTER
