"""What a run's tests took is measured with all that they started, told by workers, and written down for each test."""

import subprocess
import sys
import time
from pathlib import Path
from typing import Literal

import pytest

from tests.support import inner_runs
from tests.support.costs import Costs, Meter

CONFTEST = """
from tests.support import costs

def pytest_addoption(parser):
    costs.add_option(parser.getgroup("costs"))

def pytest_configure(config):
    if config.option.costs is not None:
        config.pluginmanager.register(costs.Plugin.for_run(config), "costs")
"""
TESTS = """
import subprocess, sys

def test_that_computes_in_a_process_of_its_own():
    code = "import time\\nwhile time.process_time() < 0.3: pass"
    subprocess.run([sys.executable, "-c", code], check=True)

def test_that_waits():
    import time
    time.sleep(0.3)
"""
_BUSY = (
    "import sys, time\nwhile time.process_time() < 0.3: pass\nprint(flush=True)\nsys.stdin.read()"
)


def test_a_run_with_workers_writes_down_what_computes_and_what_waits(tmp_path: Path) -> None:
    done = inner_runs.run(tmp_path, CONFTEST, TESTS, "--costs=build/costs.tsv")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 tests took" in done.stdout
    assert "the workers ended after" in done.stdout
    head, *lines = (tmp_path / "build" / "costs.tsv").read_text().splitlines()
    rows = {line.rpartition("::")[2]: line.split("\t") for line in lines}
    assert head.split("\t")[4:6] == ["call wall", "call cpu"]
    assert float(rows["test_that_computes_in_a_process_of_its_own"][5]) >= 0.3
    assert float(rows["test_that_waits"][4]) >= 0.3
    assert float(rows["test_that_waits"][5]) < 0.3


def test_a_process_that_goes_on_is_counted_and_only_once() -> None:
    meter = Meter()
    busy = subprocess.Popen(
        [sys.executable, "-c", _BUSY], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert busy.stdout is not None
    busy.stdout.readline()
    assert meter.since(1.0) >= 0.29
    busy.communicate()
    # its end hands the same seconds to the process that waited for it
    assert meter.since(1.0) < 0.29


def test_what_the_run_says_is_of_folders_and_of_tests() -> None:
    costs = Costs()
    phases: tuple[tuple[str, Literal["setup", "call"], float, float], ...] = (
        ("tests/contract/cluster/test_node.py::test_b", "setup", 2.0, 0.5),
        ("tests/contract/cluster/test_node.py::test_b", "call", 3.0, 0.25),
        ("tests/structure/test_costs.py::test_d", "call", 1.0, 1.0),
    )
    for name, when, wall, cpu in phases:
        now = time.time()
        report = pytest.TestReport(
            name, (name, 0, name), {}, "passed", None, when, duration=wall, start=now, stop=now
        )
        vars(report)["cpu_s"] = cpu
        costs.take(report)
    said = costs.told()
    assert said[0].startswith("2 tests took 6 s by the clock, 2 s of a processor")
    assert said[1:4] == [
        "    wall      cpu  folder",
        "     5.0      0.8  tests/contract/cluster",
        "     1.0      1.0  tests/structure",
    ]
    assert said[5] == "     5.0      0.8  tests/contract/cluster/test_node.py::test_b"
