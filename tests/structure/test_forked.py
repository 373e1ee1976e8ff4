"""A forked command (`tests.support.forked`) is to its caller what a process of its own is, but for the time."""

import ast
import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tests.canary import recorder
from tests.support import forked
from tests.support.servers import BIN, PASSWORD, TestNode, create_node, serving, stop
from tests.support.waiting import in_the_end

ROOT = Path(__file__).resolve().parents[2]
_LINES = {
    "version": ["strongroom", "--version"],
    "help": ["tsm", "security", "--help"],
    "unknown verb": ["tsm", "securety"],
    "unknown option": ["strongroom", "status", "--colour"],
    "no node": ["strongroom", "status", "--data-dir", "missing"],
    "no arguments": ["initialize-tsm"],
    "a name that is no text": ["strongroom", "--data-dir", "no\udcff", "status"],
    "input": ["strongroom", "encrypt", "-", "-", "--data-dir", "missing"],
}


def _both(
    folder: Path, line: list[str], *, stdin: bytes = b"", **more: str
) -> list[tuple[int, bytes, bytes]]:
    environment = {**os.environ, "HOME": str(folder), **more}
    words = [str(BIN / line[0]), *line[1:]]
    fork = forked.run(words, folder=folder, environment=environment, stdin=stdin)
    process = subprocess.run(
        words, cwd=folder, env=environment, input=stdin, capture_output=True, check=False
    )
    return [(done.returncode, done.stdout, done.stderr) for done in (fork, process)]


@pytest.mark.parametrize("line", _LINES.values(), ids=_LINES.keys())
def test_code_and_both_outputs_are_the_same(tmp_path: Path, line: list[str]) -> None:
    fork, process = _both(tmp_path, line, stdin=b"x" * 200_000)
    assert fork == process


def _program(folder: Path, text: str) -> Path:
    """A script of Python, in place of a command's."""
    path = folder / "program"
    if not path.exists():  # several threads run one
        path.write_text(text)
    return path


def _run(folder: Path, text: str, *, stdin: bytes = b"", limit_s: float = 60) -> forked.Ended:
    words = [str(_program(folder, text)), "one", "two"]
    environment = {**os.environ, "TZ": "Asia/Tokyo", "OF_THE_TEST": "yes"}
    environment.pop("COVERAGE_PROCESS_CONFIG", None)
    return forked.run(words, folder=folder, environment=environment, stdin=stdin, limit_s=limit_s)


def test_a_fork_has_what_it_was_given_and_nothing_of_the_server(tmp_path: Path) -> None:
    text = """
import os, sys, time, threading
print(sys.argv[1:], os.getcwd(), os.environ["OF_THE_TEST"], time.tzname[0], "PYTEST_CURRENT_TEST" in os.environ)
print(sorted(int(n) for n in os.listdir("/proc/self/fd"))[:3], len(os.listdir("/proc/self/fd")) <= 5)
print(len(sys.stdin.buffer.read()), sys.stdout.isatty(), threading.active_count(), oct(os.umask(0)))
"""
    before = os.umask(0o027)
    try:
        done = _run(tmp_path, text, stdin=b"y" * 300_000)
    finally:
        os.umask(before)
    assert done.stderr == b""
    assert done.stdout.decode().splitlines() == [
        f"['one', 'two'] {tmp_path} yes JST True",
        "[0, 1, 2] True",
        "300000 False 1 0o27",
    ]


@pytest.mark.parametrize(
    ("text", "code", "said"),
    [
        ("import sys; sys.exit(41)", 41, b""),
        ("import sys; sys.exit('words')", 1, b"words\n"),
        ("print('out'); raise ValueError('whole')", 1, b"ValueError: whole\n"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", -9, b""),
        ("raise KeyboardInterrupt", -2, b"KeyboardInterrupt\n"),
        ("import atexit, sys; atexit.register(sys.stderr.write, 'end'); sys.exit(3)", 3, b"end"),
        ("import sys; print('x'); sys.stdout.close(); sys.exit(4)", 4, b""),
    ],
)
def test_it_ends_as_a_process_does(tmp_path: Path, text: str, code: int, said: bytes) -> None:
    done = _run(tmp_path, text)
    assert done.returncode == code
    assert done.stderr.endswith(said)
    assert bool(done.stderr) == bool(said)


def test_who_looks_at_processes_sees_a_command_s_own_arguments_and_variables(
    tmp_path: Path,
) -> None:
    """The recorders look for these: of a fork that shows those of its server nothing could be seen, however it leaked."""
    line = [str(_program(tmp_path, "import time; time.sleep(0.5)")), "of-the-test", ""]
    with recorder.arguments() as arguments, recorder.environments(b"OF_THE_TEST=") as variables:
        forked.run(line, folder=tmp_path, environment={**os.environ, "OF_THE_TEST": "yes"})
    assert "\0".join([sys.executable, *line, ""]).encode() in arguments.seen
    assert any(one.endswith(b"\0OF_THE_TEST=yes\0") for one in variables.seen)


def test_a_command_that_begins_as_a_process_is_seen_as_well(tmp_path: Path) -> None:
    """Where a kernel does not show what is a fork's own, the recorders ask for processes."""
    line = [str(BIN / "tsm"), "securety", "of-the-test"]
    for _ in range(5):  # one process is short
        with recorder.arguments() as arguments, forked.as_processes():
            forked.run(line, folder=tmp_path, environment=dict(os.environ))
        if [one for one in arguments.seen if one.endswith("\0".join(["", *line, ""]).encode())]:
            return
    raise AssertionError("the command's arguments were not seen")


def test_a_fork_takes_the_warnings_of_its_environment(tmp_path: Path) -> None:
    """The demo says `PYTHONWARNINGS=ignore`, and a start of an interpreter is what reads it."""
    line = [str(_program(tmp_path, "import warnings; warnings.warn('of the test')"))]
    said = [
        forked.run(line, folder=tmp_path, environment={**os.environ, "PYTHONWARNINGS": how}).stderr
        for how in ("default", "ignore")
    ]
    assert b"UserWarning: of the test" in said[0]
    assert said[1] == b""


def test_what_takes_too_long_is_killed(tmp_path: Path) -> None:
    text = "import os, time; open('pid', 'w').write(str(os.getpid())); time.sleep(600)"
    with pytest.raises(subprocess.TimeoutExpired):
        _run(tmp_path, text, limit_s=2)
    process = Path("/proc", (tmp_path / "pid").read_text(), "cmdline")
    assert not process.exists() or not process.read_bytes(), "it is gone, or a zombie"


def test_a_test_that_is_broken_off_ends_its_command_and_nothing_else(tmp_path: Path) -> None:
    """As pytest's time limit breaks one off: by an exception from a signal."""

    def broken_off(*_: object) -> None:
        raise KeyError("the time is over")

    before = signal.signal(signal.SIGALRM, broken_off)
    signal.setitimer(signal.ITIMER_REAL, 1.5)
    try:
        text = "import os, time; open('pid', 'w').write(str(os.getpid())); time.sleep(600)"
        with pytest.raises(KeyError, match="the time is over"):
            _run(tmp_path, text)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    process = Path("/proc", (tmp_path / "pid").read_text(), "cmdline")
    assert not process.exists() or not process.read_bytes()
    (tmp_path / "program").unlink()
    assert _run(tmp_path, "print('goes on')").stdout == b"goes on\n"


def test_runs_of_several_threads_go_on_at_once(tmp_path: Path) -> None:
    """Each waits for a file that another writes."""
    text = """
import os, sys, time
me = sys.stdin.read()
open(f"{me}.here", "w").close()
while len([n for n in os.listdir() if n.endswith(".here")]) < 4: time.sleep(0.01)
"""
    _program(tmp_path, text)
    codes: list[int] = []

    def run(name: str) -> None:
        codes.append(_run(tmp_path, text, stdin=name.encode()).returncode)

    threads = [threading.Thread(target=run, args=(name,)) for name in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert codes == [0] * 4


def test_an_environment_that_counts_at_the_start_is_a_process_of_its_own(tmp_path: Path) -> None:
    text = "import sys; print(sys.flags.utf8_mode)"
    environment = {**os.environ, "PYTHONUTF8": "1"}
    line = [str(_program(tmp_path, "#!/usr/bin/env python3\n" + text))]
    Path(line[0]).chmod(0o755)
    done = forked.run(line, folder=tmp_path, environment=environment)
    assert done.stdout == b"1\n"


def test_a_node_and_its_commands(tmp_path: Path) -> None:
    node = TestNode(tmp_path)
    node.password_file.write_text(PASSWORD + "\n")
    node.password_file.chmod(0o600)
    node.run("strongroom", "init", "--admin", "admin", "--admin-password-file", node.password_file)
    assert node.run("tsm", "security", "kms", "status").out.startswith("Status: OK\n")
    assert node.run("tsm", "configuration", "get", "-k", "redis.host", check=False).code == 7


def test_a_server_goes_on_and_ends_as_it_is_told(tmp_path: Path) -> None:
    text = """
import signal, sys
signal.signal(signal.SIGTERM, lambda *_: sys.exit(5))
print("ready:", sys.stdin.read() == "", flush=True)
sys.stderr.write("told")
sys.stderr.flush()
signal.pause()
"""
    words = [str(_program(tmp_path, text))]
    with (tmp_path / "errors").open("wb") as errors:
        one = forked.start(
            words, folder=tmp_path, environment=dict(os.environ), errors=errors.fileno()
        )
    assert one is not None
    assert one.stdout is not None
    assert one.stdout.readline() == "ready: True\n"
    assert one.poll() is None
    with pytest.raises(subprocess.TimeoutExpired):
        one.wait(0.1)
    assert stop(one) == 5
    assert one.wait() == one.poll() == one.returncode == 5
    assert (tmp_path / "errors").read_bytes() == b"told"
    one.kill()  # nobody has that id now
    with forked.as_processes():
        assert forked.start(words, folder=tmp_path, environment=dict(os.environ), errors=1) is None


def test_what_the_first_test_gave_itself_does_not_stay_with_the_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once a server that began so took no command of any other test, and they all ran as processes."""
    ordinary = dict(os.environ)
    monkeypatch.setenv("GOOGLE_CLOUD_PROJECT", "of one test")
    forks = forked.Forks()
    assert not forks.fit(os.environ)
    assert forks.fit(ordinary)
    text = "import os; print('GOOGLE_CLOUD_PROJECT' in os.environ)"
    words = [str(_program(tmp_path, text))]
    done = forks.run(words, folder=tmp_path, environment=ordinary, stdin=b"", limit_s=60)
    assert done.stdout == b"False\n"


_WATCHES = """
import os, sys
read = set()

class Watched(type(os.environ)):
    def __getitem__(self, key):
        read.add(os.fsdecode(key))
        return super().__getitem__(key)

    def __contains__(self, key):
        read.add(os.fsdecode(key))
        return super().__contains__(key)

    def __iter__(self):
        frame = sys._getframe(1)
        read.add(f"all, by {frame.f_code.co_filename}")
        return super().__iter__()

os.environ.__class__ = Watched
import tabcmd.tabcmd
import azure.identity, azure.keyvault.keys.aio, azure.keyvault.keys.crypto, boto3, botocore.httpsession, google.cloud.kms
import google.auth.compute_engine, botocore.credentials, botocore.client, botocore.session, s3transfer.manager, msal
print("\\n".join(sorted(read)))
"""


def test_what_a_library_of_a_cloud_reads_when_it_is_imported_makes_a_process_of_its_own() -> None:
    """All else it reads when it is used, where a fork has the variables of its own command; the same of tabcmd's."""
    done = subprocess.run(
        [sys.executable, "-c", _WATCHES], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    of_clouds = (
        "AWS_",
        "AZURE_",
        "BOTO_",
        "GCE_",
        "GOOGLE_",
        "IDENTITY_",
        "MSI_",
        "NO_GCE",
        "TSC_",
    )
    found = {one for one in done.stdout.splitlines() if one.startswith((*of_clouds, "all, by"))}
    assert {"GCE_METADATA_HOST", "NO_GCE_CHECK"} <= found
    assert not [one for one in found if not one.startswith(forked._READ_AT_THE_START)]


def test_a_served_node_has_a_fork_for_its_backgrounder(tmp_path: Path) -> None:
    """To the server and to everybody else it is a process of its own; a killed one gets a successor."""
    node = create_node(tmp_path)
    with serving(node):
        first = _backgrounder(node)
        assert _parent(first) == forked._COMMANDS._pid
        node.run("strongroom", "sites", "create", "Sales")
        node.run("strongroom", "sites", "set-mode", "Sales", "enforced")
        for job in node.run("strongroom", "jobs", "list", "--json").json:
            node.run("strongroom", "jobs", "wait", job["id"])
        os.kill(first, signal.SIGKILL)
        in_the_end(lambda: _backgrounder(node) not in {0, first})
        second = _backgrounder(node)
    in_the_end(lambda: not Path(f"/proc/{second}").exists())


def _backgrounder(node: TestNode) -> int:
    pid: int = json.loads((node.home / "tabsvc" / "serve.json").read_text())["backgrounder_pid"]
    return pid


def _parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def _of_a_session(tree: ast.Module) -> list[ast.FunctionDef]:
    return [
        one
        for one in ast.walk(tree)
        if isinstance(one, ast.FunctionDef)
        and any("scope='session'" in ast.unparse(mark) for mark in one.decorator_list)
    ]


def test_no_fixture_changes_anything_for_the_rest_of_a_session() -> None:
    """Credentials of one folder's tests stood in the environment of all later ones, whose commands were no forks then."""
    found = [
        f"{path.name}: {fixture.name}"
        for path in (ROOT / "tests").rglob("*.py")
        for fixture in _of_a_session(ast.parse(path.read_text()))
        if {"monkeypatch", "MonkeyPatch", "setenv", "environ"}
        & {getattr(one, "attr", getattr(one, "id", "")) for one in ast.walk(fixture)}
    ]
    assert found == []


def test_a_server_that_is_killed(tmp_path: Path) -> None:
    words = [str(_program(tmp_path, "import time; time.sleep(600)"))]
    one = forked.start(words, folder=tmp_path, environment=dict(os.environ), errors=2)
    assert one is not None
    one.kill()
    assert one.wait(60) == -signal.SIGKILL
    assert one.stdout is not None
    one.stdout.close()
