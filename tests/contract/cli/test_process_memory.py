"""Keys are in no core dump, and no other program of the node's user reads them from memory (issue, part H).

Who owns `/proc/PID/mem` says it: root, if the process is not dumpable, and its user otherwise. Root itself cannot tell, so
the node here is another user's.
"""

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

import pytest

from tests.support import privileges
from tests.support.privileges import STRANGER
from tests.support.servers import BIN

Folder = Path


@pytest.fixture(scope="module")
def folder() -> Iterator[Folder]:
    """A node that another user made, with a file that it encrypted; where that user comes to, as pytest's folders are not."""
    place = Path(tempfile.mkdtemp(prefix="stranger-"))
    (place / "password").write_text("correct horse of a stranger\n")
    (place / "plain").write_bytes(bytes(4 << 20))
    for path in (place, *place.iterdir()):
        path.chmod(0o700 if path.is_dir() else 0o600)
    privileges.do(
        "chown", "-R", f"{STRANGER}:{STRANGER}", place, needs="a system that lets root give files"
    )
    words = ["init", "--admin", "admin", "--admin-password-file", "password"]
    for line in (words, ["encrypt", "plain", "sealed"]):
        done = subprocess.run(command(place, *line), capture_output=True, check=False)
        assert done.returncode == 0, done.stderr
    yield place
    privileges.do("rm", "-r", place, needs="a system that lets root remove files")


def command(place: Folder, *words: str, program: Path = BIN / "strongroom") -> list[str]:
    variables = {
        "STRONGROOM_HOME": str(place / "node"),
        "HOME": str(place),
        "PATH": f"{BIN}:/usr/bin:/bin",
    }
    return [*privileges.stranger(variables), "env", f"--chdir={place}", str(program), *words]


@contextmanager
def started(words: list[str]) -> Iterator[tuple[int, IO[bytes]]]:
    process = subprocess.Popen(
        words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout is not None
    assert process.stderr is not None
    try:
        yield process.pid, process.stdout
    finally:
        process.stdout.close()
        process.terminate()
        process.stderr.close()
        process.wait()


def family(pid: int) -> set[int]:
    """A process and all that it started: sudo may stand between."""
    found = {pid}
    with suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            found.update(*map(family, map(int, (task / "children").read_text().split())))
    return found


def programs(pid: int) -> dict[str, int]:
    """Python programs among them, by the last word of how they were called first."""
    found = {}
    for one in family(pid):
        with suppress(OSError):
            words = Path(f"/proc/{one}/cmdline").read_bytes().split(b"\0")
            if b"python" in words[0]:
                found[b" ".join(words[1:]).decode()] = one
    return found


def owner_of_memory(pid: int) -> int:
    return Path(f"/proc/{pid}/mem").stat().st_uid


def core_limit(pid: int) -> list[str]:
    limits = Path(f"/proc/{pid}/limits").read_text().splitlines()
    [line] = [line for line in limits if line.startswith("Max core file size")]
    return line.split()[4:6]


def check_is_private(pid: int) -> None:
    assert owner_of_memory(pid) == 0
    assert core_limit(pid) == ["0", "0"]


def test_a_program_that_does_nothing_about_it_can_be_read(folder: Folder) -> None:
    """Else the others would prove nothing."""
    words = ["-c", "import time; print('ready', flush=True); time.sleep(600)"]
    with started(command(folder, *words, program=Path(sys.executable))) as (pid, out):
        assert out.readline() == b"ready\n"
        [one] = programs(pid).values()
        assert owner_of_memory(one) == STRANGER


def test_server_and_backgrounder_keep_their_memory_to_themselves(folder: Folder) -> None:
    words = command(folder, "serve", "--host", "127.0.0.1", "--port", "0")
    with started(words) as (pid, out):
        assert out.readline().startswith(b"ready: ")
        found = programs(pid)
        assert any("serve" in name for name in found)
        assert any("backgrounder.worker" in name for name in found)
        for name, one in found.items():
            if "backgrounder" not in name:
                check_is_private(one)
        [worker] = [one for name, one in found.items() if "backgrounder" in name]
        while owner_of_memory(worker) != 0:  # its interpreter is still starting
            assert worker in family(pid)
        check_is_private(worker)


def test_a_command_that_puts_out_plaintext_keeps_its_memory_to_itself(folder: Folder) -> None:
    """It waits, since nobody reads the rest: what it opened is in its memory."""
    with started(command(folder, "decrypt", "sealed", "-")) as (pid, out):
        assert out.read(1) == b"\0"
        [one] = programs(pid).values()
        check_is_private(one)
