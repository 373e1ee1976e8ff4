"""What only root may do, for tests that run as root and as a user with sudo alike; a test is never skipped for it.

A machine on which neither works fails the test with a sentence that says what is needed.
"""

import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

STRANGER = 12345
"""A user id that the system has no name for."""


def as_root() -> list[str]:
    """What stands before the words of a command that root must run; nothing if this is root."""
    if os.geteuid() == 0:
        return []
    if not shutil.which("sudo"):
        pytest.fail("this test needs root, or a user with sudo: install sudo, or run it as root")
    return ["sudo", "--non-interactive"]


def do(*words: str | Path, needs: str) -> None:
    """Do something as root.

    Args:
        words: The command.
        needs: What a machine needs for it, told when it fails.
    """
    done = subprocess.run(
        [*as_root(), *map(str, words)], capture_output=True, text=True, timeout=60, check=False
    )
    if done.returncode != 0:
        pytest.fail(f"{words[0]} was refused: {done.stderr.strip()}; the tests need {needs}")


def device(path: Path) -> None:
    """Make a node of the null device that belongs to who runs the tests."""
    do("mknod", "-m", "600", path, "c", "1", "3", needs="a system that lets root make devices")
    do("chown", f"{os.getuid()}:{os.getgid()}", path, needs="a system that lets root give files")


def mount_small_disk(folder: Path, megabytes: int) -> None:
    """Mount a file system of its own, which belongs to who runs the tests; `unmount` ends it."""
    options = f"size={megabytes}m,uid={os.getuid()},gid={os.getgid()},mode=0700"
    needs = "a system that lets root mount (in a container: CAP_SYS_ADMIN)"
    do("mount", "-t", "tmpfs", "-o", options, "strongroom-test", folder, needs=needs)


def unmount(folder: Path) -> None:
    """Let go of a file system, also while something is open on it."""
    do("umount", "--lazy", folder, needs="a system that lets root unmount")


@contextmanager
def small_disk(folder: Path, megabytes: int) -> Iterator[Path]:
    """A new folder that is a file system of its own for the block."""
    folder.mkdir()
    mount_small_disk(folder, megabytes)
    try:
        yield folder
    finally:
        unmount(folder)


def stranger(variables: Mapping[str, str]) -> list[str]:
    """What stands before the words of a command to be run by a user without name and home.

    That user may read what this one may: else a program below a folder that is private could not be started.
    """
    able = "+dac_override"
    switch = ["--reuid", str(STRANGER), "--regid", str(STRANGER), "--clear-groups"]
    able_too = ["--inh-caps", able, "--ambient-caps", able]
    return [*as_root(), "setpriv", *switch, *able_too, "env", "-i", *_pairs(variables)]


def with_mounts(mounting: str, variables: Mapping[str, str]) -> Sequence[str]:
    """What stands before the words of a command that sees mounts of its own, and is run by who runs the tests.

    Args:
        mounting: What a shell of root does before; in the command's working directory.
        variables: The command's whole environment.
    """
    user = ["--reuid", str(os.getuid()), "--regid", str(os.getgid()), "--clear-groups"]
    return [
        *(*as_root(), "unshare", "--mount", "sh", "-c", f'{mounting} && exec "$@"', "sh"),
        *("setpriv", *user, "env", "-i", *_pairs(variables)),
    ]


def _pairs(variables: Mapping[str, str]) -> list[str]:
    return [f"{name}={value}" for name, value in variables.items()]
