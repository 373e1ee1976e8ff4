"""A commit of the embedded coordination that the disk does not confirm: done, not done, or said not to be known.

The syncs are refused by strace, in a real process, one or all from one on.
"""

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from strongroom.coordination.base import Change, Versioned
from strongroom.coordination.local import LocalCoordinator
from tests.support.unmeasured import environment

_SCRIPT = """
import sys
from pathlib import Path
from strongroom.coordination.base import Change
from strongroom.coordination.local import LocalCoordinator
from strongroom.errors import StrongroomError

folder = Path(sys.argv[1])
coordinator = LocalCoordinator(folder / "coordination.db", folder)
coordinator.put({"other": Change(b"x", 0)})
try:
    coordinator.put({"config": Change(b"second", 1)})
    print("done")
except StrongroomError as error:
    print(error.exit_code)
print((coordinator.get("config") or "nothing").value.decode(), flush=True)
import os
os._exit(0)  # no checkpoint, as in a crash
"""
_WORDS = "fsync,fdatasync"


def run(folder: Path, when: str = "", script: str = _SCRIPT) -> tuple[str, str, int]:
    """What the put said, what was seen after it, and how many syncs there were; those fail that `when` chooses."""
    LocalCoordinator.create(folder / "coordination.db", folder)
    first = LocalCoordinator(folder / "coordination.db", folder)
    first.put({"config": Change(b"first", 0)})
    first.close()
    inject = ["-e", f"inject={_WORDS}:error=EIO:when={when}"] if when else []
    trace = folder.with_name(f"{folder.name}.trace")
    tracer = [
        "strace",
        "-f",
        "-qq",
        "-o",
        str(trace),
        "-e",
        f"trace={_WORDS}",
        *inject,
    ]
    done = subprocess.run(
        [*tracer, sys.executable, "-c", script, folder],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    said, seen = done.stdout.split()
    return said, seen, len(trace.read_text().splitlines())


def after_a_crash(folder: Path) -> Versioned | None:
    """What a process finds that opens the files as they lie there."""
    copy = Path(shutil.copytree(folder, folder.with_name(f"{folder.name}-crashed")))
    (copy / "coordination.db-shm").unlink(missing_ok=True)
    coordinator = LocalCoordinator(copy / "coordination.db", copy)
    try:
        return coordinator.get("config")
    finally:
        coordinator.close()


@pytest.fixture
def folder(tmp_path: Path) -> Callable[[str], Path]:
    def made(name: str) -> Path:
        folder = tmp_path / name
        folder.mkdir()
        return folder

    return made


def test_a_commit_that_is_not_confirmed(folder: Callable[[str], Path]) -> None:
    """Done, not done, not known: the last sync of the process is that of the put."""
    whole, once = folder("whole"), folder("once")
    said, seen, last = run(whole)
    assert (said, seen) == ("done", "second")
    assert after_a_crash(whole) == Versioned(b"second", 2)

    # it was written, and is told as not done: then no crash may bring it back
    assert run(once, f"{last}")[:2] == ("41", "first")
    assert after_a_crash(once) == Versioned(b"first", 1)

    assert run(folder("always"), f"{last}+")[:2] == ("42", "first")


def test_without_writing_over_it_a_crash_would_bring_it_back(folder: Callable[[str], Path]) -> None:
    """The twin that is broken on purpose."""
    _, _, last = run(folder("whole"))
    careless = f"from strongroom.coordination import local\nlocal._overwrite_last = lambda _: None\n{_SCRIPT}"
    broken = folder("broken")
    said, seen, _ = run(broken, f"{last}", careless)
    assert (said, seen) == ("41", "first")
    assert after_a_crash(broken) == Versioned(b"second", 2)
