"""`strongroom serve` and its child: C-20, architecture section 6, M7."""

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import pytest

from strongroom import bootstrap
from strongroom.cli import dispatch
from strongroom.jobs.model import JobKind, JobState
from strongroom.repository.rows import SiteMode
from strongroom.topology import running

LIMIT_S = 40.0


@contextmanager
def served(node_dir: Path, *options: str) -> Iterator[subprocess.Popen[str]]:
    words = ["serve", "--port", "0", "--data-dir", str(node_dir), *options]
    code = f"import sys; from strongroom.cli import dispatch; sys.exit(dispatch.main('strongroom', {words!r}))"
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        assert process.stdout.readline().startswith("ready: http://127.0.0.1:")
        yield process
    finally:
        process.terminate()
        assert process.wait(LIMIT_S) == 0
        process.stdout.close()


def until(found: Callable[[], bool]) -> None:
    deadline = time.monotonic() + LIMIT_S
    while not found():
        assert time.monotonic() < deadline, "it did not come to pass in time"
        time.sleep(0.05)


def child_of(process: subprocess.Popen[str]) -> int:
    pids: list[str] = []
    for task in Path(f"/proc/{process.pid}/task").iterdir():
        with suppress(FileNotFoundError):  # a thread that has just ended
            pids += (task / "children").read_text().split()
    alive = [int(pid) for pid in pids if is_alive(int(pid))]
    return alive[0] if alive else 0


def is_alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


def test_a_backgrounder_that_dies_is_started_again_and_ends_with_its_parent(node_dir: Path) -> None:
    with served(node_dir) as process:
        first = child_of(process)
        assert is_alive(first)
        os.kill(first, signal.SIGKILL)
        until(lambda: child_of(process) not in {0, first})
        second = child_of(process)
    until(lambda: not is_alive(second))


def test_a_backgrounder_does_not_outlive_a_server_that_was_killed(node_dir: Path) -> None:
    words = ["serve", "--port", "0", "--data-dir", str(node_dir)]
    code = f"import sys; from strongroom.cli import dispatch; sys.exit(dispatch.main('strongroom', {words!r}))"
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    process.stdout.readline()
    child = child_of(process)
    assert is_alive(child)
    process.kill()
    process.wait()
    process.stdout.close()
    until(lambda: not is_alive(child))


def test_a_change_that_needs_a_restart_reloads_the_parts(node_dir: Path) -> None:
    """C-20: `serve` reloads its parts; nothing of it stops."""
    with served(node_dir) as process:
        first = child_of(process)
        node = bootstrap.open_node(str(node_dir))
        node.configuration.set("gateway.timeout", "77", actor="os:tester")
        node.configuration.apply(actor="os:tester")
        node.close()
        until(lambda: child_of(process) not in {0, first})
        assert process.poll() is None


def test_a_node_is_served_once(node_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with served(node_dir, "--no-backgrounder"):
        arguments = ["serve", "--port", "0", "--data-dir", str(node_dir)]
        assert dispatch.main("strongroom", arguments) == 6
        assert "is served already at http://" in capsys.readouterr().err
        assert dispatch.main("tsm", ["status", "-v", "--data-dir", str(node_dir)]) == 0
        assert "'Strongroom Web Service 0' is running." in capsys.readouterr().out


def test_a_start_with_red_keys_serves_and_says_so(
    node_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What needs no key is served all the same; the status stays red."""
    node = bootstrap.open_node(str(node_dir))
    node._kms_ports.marks.write(99, "0" * 64)
    node.close()
    with served(node_dir, "--no-backgrounder"):
        assert dispatch.main("tsm", ["status", "--json", "--data-dir", str(node_dir)]) == 1
        status = json.loads(capsys.readouterr().out)
        assert status["status"] == "DEGRADED"
        assert "rolled back" in status["keys"]


def test_a_start_puts_the_yaml_files_right(node_dir: Path) -> None:
    """The YAML files are projections: what was changed in them by hand does not last."""
    (path,) = (node_dir / "tabsvc" / "config").glob("vizportal_0.*/workgroup.yml")
    before = path.read_bytes()
    path.write_bytes(b"jdbc.password: mine\n")
    with served(node_dir, "--no-backgrounder"):
        assert path.read_bytes() == before


def test_plain_http_is_for_loopback_only(
    node_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["serve", "--host", "0.0.0.0", "--no-backgrounder", "--data-dir", str(node_dir)]
    assert dispatch.main("strongroom", arguments) == 2
    assert "loopback" in capsys.readouterr().err


def test_a_note_that_nobody_wrote_is_no_server(node_dir: Path) -> None:
    paths = bootstrap.open_node(str(node_dir)).paths
    running.note_path(paths).write_bytes(b"nonsense")
    assert running.find(paths) is None
    with running.sole_server(paths):
        found = running.find(paths)
    assert found == running.Running("", 0, 0)


def apply_level(node: bootstrap.Node, service: str, level: str | None) -> None:
    """Bring a log level into force; None resets it to its default."""
    key = f"{service}.log.level"
    if level is None:
        node.configuration.reset(key, actor="os:tester")
    else:
        node.configuration.set(key, level, actor="os:tester")
    node.configuration.apply(actor="os:tester")


def test_an_applied_log_level_is_in_force_without_a_restart(node_dir: Path) -> None:
    """`<service>.log.level` are dynamic keys, each of one service."""
    with served(node_dir) as process, closing(bootstrap.open_node(str(node_dir))) as node:
        child = child_of(process)
        log = node.paths.service_log("vizportal")
        found = running.find(node.paths)
        assert found is not None

        def told() -> str:
            """What the log has got of one request more."""
            before = log.stat().st_size
            with urllib.request.urlopen(f"{found.url}/healthz", timeout=LIMIT_S) as answer:
                answer.read()
            return log.read_bytes()[before:].decode()

        until(lambda: "GET '/healthz' 200" in told())
        assert "begins" not in told()
        apply_level(node, "vizqlserver", "off")  # another service's: this one's goes on
        apply_level(node, "vizportal", "WARN")
        until(lambda: not told())
        apply_level(node, "vizportal", "debug")
        until(lambda: "DEBUG" in told())
        apply_level(node, "vizportal", None)
        until(lambda: "begins" not in told())
        assert "GET '/healthz' 200" in told()
        assert child_of(process) == child


def test_the_backgrounder_follows_the_level_of_its_log(node_dir: Path) -> None:
    """A-17's log; a job tells of itself at info, and of being taken at debug."""
    with served(node_dir) as process, closing(bootstrap.open_node(str(node_dir))) as node:
        child = child_of(process)
        site = node.sites.find("default")
        with node.repository.transaction() as tx:
            tx.sites.update(site.id, mode=int(SiteMode.ENABLED))
        log = node.paths.service_log("backgrounder")

        def told() -> str:
            """What the log says of one job more."""
            job = node.jobs.enqueue(JobKind.ENCRYPT, site.id, "os:tester")
            until(lambda: JobState(node.jobs.show(job.id).state).is_final)
            lines = log.read_text().splitlines() if log.exists() else []
            return "\n".join(line for line in lines if job.id in line)

        assert "runs" in told()
        apply_level(node, "backgrounder", "error")
        until(lambda: not told())
        apply_level(node, "backgrounder", "debug")
        until(lambda: "is taken" in told())
        apply_level(node, "backgrounder", None)
        until(lambda: "is taken" not in told())
        assert "runs" in told()
        assert child_of(process) == child
