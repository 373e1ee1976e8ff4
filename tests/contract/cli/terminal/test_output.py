"""Where results cannot be written: a full disk, a reader that went away."""

import subprocess
from pathlib import Path

from strongroom.clock import SystemClock
from strongroom.eventlog.events import secret_events
from strongroom.node.opening import Node
from strongroom.runtime.paths import DataPaths
from tests.contract.cli.readers import read_a_little
from tests.support.servers import BIN


def _command(home: Path) -> list[str]:
    return [str(BIN / "strongroom"), "--data-dir", str(home), "events", "list"]


def _node(home: Path, count: int) -> None:
    node = Node(DataPaths(home), SystemClock())
    node.paths.coordination.parent.mkdir(parents=True)
    node.paths.coordination.touch()
    node.events.append([secret_events.secret_revealed("os:ada", "x" * 500)] * count)


def test_a_result_that_does_not_fit_on_the_disk_is_no_success(tmp_path: Path) -> None:
    _node(tmp_path, 2)
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            _command(tmp_path), stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    assert done.returncode == 41
    assert done.stderr.startswith("strongroom: standard output cannot be written: ")
    assert "Traceback" not in done.stderr
    assert done.stderr.count("\n") == 2


def test_what_cannot_be_said_on_stderr_is_said_by_the_exit_code(tmp_path: Path) -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(_command(tmp_path / "missing"), stderr=full, check=False)
    assert done.returncode == 5


def test_a_reader_that_goes_away_is_no_error_message(tmp_path: Path) -> None:
    _node(tmp_path, 1000)
    assert read_a_little(_command(tmp_path)) == (1, b"")
