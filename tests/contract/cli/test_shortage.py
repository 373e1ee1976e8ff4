"""Commands and a server with too little memory or too few threads: an error with a name, and nothing half done (faults R16)."""

import http.client
import resource
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from tests.conftest import Torture
from tests.support import privileges
from tests.support.servers import BIN, TestNode, ready
from tests.support.web_client import Client
from tests.torture import nodes

MIB = 1 << 20
_LIMITED = (
    "import os, resource, sys\n"
    "resource.setrlimit(getattr(resource, sys.argv[1]), (int(sys.argv[2]),) * 2)\n"
    "os.execv(sys.argv[3], sys.argv[3:])\n"
)
_MEASURED = (
    "import resource, runpy, sys\n"
    "sys.argv = sys.argv[1:]\n"
    "try:\n    runpy.run_path(sys.argv[0], run_name='__main__')\n"
    "finally:\n"
    "    told = open('/proc/self/status').read()\n"
    "    print(told[told.index('VmPeak:') :].split()[1], file=sys.stderr)\n"
)


def run_limited(
    limit: str, most: int, home: Path, *words: str | Path
) -> "subprocess.CompletedProcess[str]":
    """A command under a limit, from its very start."""
    command = [str(BIN / words[0]), "--data-dir", str(home), *map(str, words[1:])]
    return subprocess.run(
        [sys.executable, "-c", _LIMITED, limit, str(most), *command],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def peak_of(home: Path, *words: str | Path) -> int:
    """The address space that a command takes at most, in bytes."""
    command = [str(BIN / words[0]), "--data-dir", str(home), *map(str, words[1:])]
    done = subprocess.run(
        [sys.executable, "-c", _MEASURED, *command],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    return int(done.stderr.split()[-1]) * 1024


@pytest.mark.parametrize(
    "words", [("tsm", "security", "kms", "rotate"), ("strongroom", "encrypt", "{in}", "{out}")]
)
def test_any_limit_of_memory_ends_in_an_error_with_a_name(
    node_dir: Path, tmp_path: Path, torture: Torture, words: tuple[str, ...]
) -> None:
    """Below what the interpreter and its libraries need, it is theirs to speak; above, the state is the old or the new one."""
    (tmp_path / "in").write_bytes(b"PAR1" + bytes(20 * MIB))
    names = {"{in}": str(tmp_path / "in"), "{out}": str(tmp_path / "out")}
    line = [names.get(word, word) for word in words]
    secrets = nodes.secrets_of_node(node_dir)
    peak = peak_of(node_dir, *line)
    start = peak_of(node_dir, "strongroom", "version")
    (tmp_path / "out").unlink(missing_ok=True)
    steps = 24 if torture.whole else 4
    for step in range(1, steps + 1):
        most = start + (peak - start) * step // (steps + 1)
        done = run_limited("RLIMIT_AS", most, node_dir, *line)
        assert done.returncode >= 0, (most // MIB, done.stderr)
        assert "Traceback" not in done.stderr, (most // MIB, done.stderr)
        if done.returncode:
            assert "memory" in done.stderr, (most // MIB, done.stderr)
            assert not (tmp_path / "out").exists()
        assert {*nodes.check_opens(node_dir)} == {*secrets}
        (tmp_path / "out").unlink(missing_ok=True)
    assert run_limited("RLIMIT_AS", 2 * peak, node_dir, *line).returncode == 0


def test_without_a_further_thread_a_file_is_encrypted_by_one(
    node_dir: Path, tmp_path: Path
) -> None:
    """Root has no limit of processes: so it is tried as another user, who has one thread and gets no second."""
    (tmp_path / "in").write_bytes(b"PAR1" + bytes(20 * MIB))
    (tmp_path / "in").chmod(0o644)
    words = ("--data-dir", str(node_dir), "encrypt", str(tmp_path / "in"), "-")
    command = [str(BIN / "strongroom"), *words]
    done = subprocess.run(
        [
            *privileges.stranger({"PATH": "/usr/bin:/bin"}),
            *("prlimit", "--nproc=1:1", sys.executable, *command),
        ],
        capture_output=True,
        timeout=120,
        check=False,
    )
    assert b"Traceback" not in done.stderr, done.stderr
    assert done.returncode == 0 or b"thread" in done.stderr, done.stderr


def test_a_server_without_memory_says_that_it_is_busy_and_goes_on(
    node_dir: Path, tmp_path: Path
) -> None:
    """The limit falls on a server at work, and is lifted again: no 500, no end of the process."""
    command = [str(BIN / "strongroom"), "serve", "--port", "0", "--no-backgrounder"]
    variables = TestNode(tmp_path, environment={"STRONGROOM_HOME": str(node_dir)}).variables()
    with ready(command, tmp_path / "serve.err", tmp_path, variables) as (process, url):
        client = Client(int(url.rpartition(":")[2]))
        assert client.sign_in().status == 200
        status = Path(f"/proc/{process.pid}/status").read_text()
        size = int(status[status.index("VmSize:") :].split()[1]) * 1024
        resource.prlimit(process.pid, resource.RLIMIT_AS, (size, resource.RLIM_INFINITY))
        for number in range(5):
            # a connection for which there is no memory is closed
            with suppress(ConnectionError, http.client.HTTPException):
                reply = client.publish(f"n{number}", b"Hyper" + bytes(30 * MIB))
                assert reply.status in {201, 423, 429}, reply.body
        resource.prlimit(
            process.pid,
            resource.RLIMIT_AS,
            (resource.RLIM_INFINITY, resource.RLIM_INFINITY),
        )
        assert client.publish("after").status == 201
        assert process.poll() is None
