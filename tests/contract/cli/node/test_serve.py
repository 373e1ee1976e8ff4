"""`strongroom serve` and its child: C-20, M7."""

import errno
import itertools
import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from functools import partial
from pathlib import Path

import pytest

from strongroom.cli import dispatch
from strongroom.cli.node import backgrounder_keeper
from strongroom.cli.node.backgrounder_keeper import Backgrounder, Patience
from strongroom.jobs.model import JobKind, JobState
from strongroom.kms.links import Known
from strongroom.node import opening
from strongroom.repository.rows import SiteMode
from strongroom.runtime import running

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
        with suppress(OSError):  # a thread that has just ended
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


def test_a_backgrounder_is_nicer_than_its_parent_and_needs_no_program_for_it(
    node_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where PATH has no `nice`, `serve` ended, and told the operator to look at the disk."""
    monkeypatch.setenv("PATH", "/nonexistent")
    with served(node_dir) as process:
        child = child_of(process)
        until(lambda: niceness(child) == min(niceness(process.pid) + 10, 19))


def niceness(pid: int) -> int:
    return os.getpriority(os.PRIO_PROCESS, pid)


def status_of(node_dir: Path, capsys: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    capsys.readouterr()
    code = dispatch.main("tsm", ["status", "-v", "--data-dir", str(node_dir)])
    told = capsys.readouterr()
    return code, told.out, told.err


def test_status_names_the_backgrounder_that_lives(
    node_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Findings R18: the note named a dead process for ever, and `status -v` said that it runs."""
    with served(node_dir) as process, closing(opening.open_node(str(node_dir))) as node:

        def noted() -> int:
            found = running.find(node.paths)
            return found.backgrounder_pid if found else 0

        first = child_of(process)
        assert noted() == first
        os.kill(first, signal.SIGSTOP)
        code, out, err = status_of(node_dir, capsys)
        assert code == 1
        assert "Status: DEGRADED" in out
        assert "'Strongroom Backgrounder 0' is in an error state." in out
        assert f"backgrounder: process {first} is stopped" in err
        os.kill(first, signal.SIGCONT)
        assert status_of(node_dir, capsys)[0] == 0
        os.kill(first, signal.SIGKILL)
        until(lambda: not is_alive(first))
        assert noted() != first or status_of(node_dir, capsys)[0] == 1
        until(lambda: noted() not in {0, first})
        assert noted() == child_of(process)
        code, out, _ = status_of(node_dir, capsys)
        assert (code, "'Strongroom Backgrounder 0' is running." in out) == (0, True)


def test_a_backgrounder_that_is_stopped_is_replaced(node_dir: Path) -> None:
    """Findings R21: in the middle of a transaction it blocked every writer, and 60 s later it was still the same."""
    with served(node_dir) as process, closing(opening.open_node(str(node_dir))) as node:
        first = child_of(process)
        os.kill(first, signal.SIGSTOP)
        until(lambda: child_of(process) not in {0, first})
        assert not is_alive(first)
        site = node.sites.find("default")
        job = node.jobs.enqueue(JobKind.REWRAP, site.id, "os:tester")
        until(lambda: JobState(node.jobs.show(job.id).state).is_final)


def test_a_backgrounder_that_says_nothing_is_replaced_ever_more_rarely(node_dir: Path) -> None:
    """R21: a loop that hangs is heard by its silence; a child that never gets well is no storm of starts."""
    starts: list[float] = []
    patience = Patience(poll_s=0.05, starting_s=0.1, slowest_s=60)
    backgrounder = Backgrounder(
        node_dir, enabled=True, changed=lambda: starts.append(time.monotonic()), patience=patience
    )
    with backgrounder.kept_running():
        until(lambda: len(starts) >= 6)
    gaps = [after - before for before, after in itertools.pairwise(starts)]
    assert gaps[-1] > gaps[0]
    assert gaps[-1] >= 0.05 * 2**4
    assert not is_alive(backgrounder.pid)


def test_one_that_cannot_be_started_is_tried_again(
    node_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """ADR 61: a machine without a free process ended the thread that keeps all places of a node."""
    real, refused = backgrounder_keeper._Child, [OSError(errno.EAGAIN, "no process")]

    def start(data_dir: Path, place: int) -> object:
        if refused:
            raise refused.pop()
        return real(data_dir, place)

    monkeypatch.setattr(backgrounder_keeper, "_Child", start)
    backgrounder = Backgrounder(node_dir, enabled=True, patience=Patience(poll_s=0.05))
    with backgrounder.kept_running():
        assert not refused
        until(lambda: bool(backgrounder.pid) and is_alive(backgrounder.pid))


def test_one_that_is_heard_is_left_alone(node_dir: Path) -> None:
    """And a restart that was asked for is no failure: it comes at once."""
    starts: list[float] = []
    patience = Patience(poll_s=0.05, starting_s=LIMIT_S, silent_s=LIMIT_S / 2)
    backgrounder = Backgrounder(
        node_dir, enabled=True, changed=lambda: starts.append(time.monotonic()), patience=patience
    )
    with (
        backgrounder.kept_running(),
        closing(opening.open_node(str(node_dir))) as node,
    ):
        site = node.sites.find("default")
        for count in range(1, 4):
            job = node.jobs.enqueue(JobKind.REWRAP, site.id, f"os:{count}")
            until(partial(is_ended, node, job.id))
            assert len(starts) == count
            backgrounder.restart()
            until(partial(has, starts, count + 1))


def is_ended(node: opening.Node, job_id: str) -> bool:
    return JobState(node.jobs.show(job_id).state).is_final


def has(found: list[float], count: int) -> bool:
    return len(found) == count


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
        node = opening.open_node(str(node_dir))
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


def test_a_start_with_an_older_store_of_keys_serves_nothing(
    node_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Keys that do not open are served without (test_serve_degraded); keys that were put back are not (anchor.md 3.1)."""
    node = opening.open_node(str(node_dir))
    node._kms_ports.marks.write(Known(99, "0" * 64, bytes(32)))
    node.close()
    words = ["serve", "--port", "0", "--no-backgrounder", "--data-dir", str(node_dir)]
    assert dispatch.main("strongroom", words) == 20
    assert "is not served: the KMS store does not follow" in capsys.readouterr().err
    assert dispatch.main("tsm", ["status", "--json", "--data-dir", str(node_dir)]) == 1
    assert "rolled back" in json.loads(capsys.readouterr().out)["keys"]


def test_a_start_with_a_changed_event_log_says_so(node_dir: Path) -> None:
    """R10: on standard error, and it is served all the same."""
    node = opening.open_node(str(node_dir))
    lines = node.paths.events.read_bytes().splitlines(keepends=True)
    node.paths.events.write_bytes(b"".join(lines[:-1]))
    node.close()
    words = [sys.executable, "-m", "strongroom", "serve", "--port", "0", "--no-backgrounder"]
    words += ["--data-dir", str(node_dir)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as one:
        assert one.stdout is not None
        assert one.stdout.readline().startswith("ready: ")
        one.terminate()
        told = one.communicate(timeout=LIMIT_S)[1]
    assert "event log: it was changed: the event log had " in told
    assert "signed lines, and does not go on from them: it was put back, or cut" in told


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
    paths = opening.open_node(str(node_dir)).paths
    running.note_path(paths).write_bytes(b"nonsense")
    assert running.find(paths) is None
    with running.sole_server(paths):
        found = running.find(paths)
    assert found == running.Running("", 0, 0)


def apply_level(node: opening.Node, service: str, level: str | None) -> None:
    """Bring a log level into force; None resets it to its default."""
    key = f"{service}.log.level"
    if level is None:
        node.configuration.reset(key, actor="os:tester")
    else:
        node.configuration.set(key, level, actor="os:tester")
    node.configuration.apply(actor="os:tester")


def test_an_applied_log_level_is_in_force_without_a_restart(node_dir: Path) -> None:
    """`<service>.log.level` are dynamic keys, each of one service."""
    with served(node_dir) as process, closing(opening.open_node(str(node_dir))) as node:
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
        until(lambda: "GET '/healthz' 200" in told())
        assert child_of(process) == child


def test_the_backgrounder_follows_the_level_of_its_log(node_dir: Path) -> None:
    """A-17's log; a job tells of itself at info, and of being taken at debug."""
    with served(node_dir) as process, closing(opening.open_node(str(node_dir))) as node:
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
