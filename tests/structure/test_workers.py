"""Tests that forks run (`tests.support.workers`) are told as if one process had run them, whatever becomes of a fork."""

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from tests.support import unmeasured
from tests.support.servers import ROOT
from tests.support.waiting import in_the_end
from tests.support.workers import Kind, Plan, Scope, scopes

CONFTEST = """
import os
from pathlib import Path
import pytest
from tests.support import costs, worker_process, workers

OUT = Path(__file__).parent

def pytest_addoption(parser):
    workers.add_option(parser.getgroup("workers"))
    costs.add_option(parser.getgroup("costs"))

def pytest_configure(config):
    config.pluginmanager.add_hookspecs(worker_process.Hooks)
    config.pluginmanager.register(workers, "workers")
    if config.option.costs is not None:
        config.pluginmanager.register(costs.Plugin.for_run(config), "costs")

def note(word):
    with (OUT / "notes").open("a") as file:
        file.write(f"{word} {os.getpid()}\\n")

@pytest.fixture(scope="session")
def whole():
    note("begin session")
    yield
    note("end session")

@pytest.fixture(scope="module")
def part(request, whole):
    note(f"begin {request.module.__name__}")
    yield
    note(f"end {request.module.__name__}")
"""
ONE = """
import warnings
import pytest

def test_a(part, tmp_path, capfd):
    (tmp_path / "x").write_text("a")
    print("to nobody")
    assert capfd.readouterr().out == "to nobody\\n"

def test_b(part, tmp_path):
    print("said before it failed")
    assert tmp_path.name == "of another"

def test_c(part, recwarn):
    pass

def test_d(part):
    warnings.warn("look out")
"""
TWO = """
import os
import pytest

def test_a(part): pass

@pytest.mark.parametrize("number", [1, 2, 3])
def test_dies(part, number):
    if number == 2:
        os.kill(os.getpid(), 11)

def test_z(part): pass
"""
WAITS = """
import time

def test_waits(part):
    time.sleep(600)
"""
THREE = """
import signal
import time
import pytest

@pytest.mark.timeout(1)
def test_hangs(part):
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGALRM})
    time.sleep(600)

def test_z(part): pass
"""
IMPATIENT = """
from tests.support import workers

workers._SILENT_S, workers._LOOK_S = 1.0, 0.2
"""


def _command(folder: Path, *words: str) -> tuple[list[str], dict[str, str]]:
    (folder / "conftest.py").write_text(CONFTEST)
    (folder / "pytest.ini").write_text("[pytest]\n")
    outer = unmeasured.environment()  # without what this pytest tells itself
    environment = {name: value for name, value in outer.items() if not name.startswith("PYTEST")}
    options = ["-p", "no:cacheprovider", "-p", "no:randomly", "--color=no"]
    command = [sys.executable, "-m", "pytest", *options, "--workers=2", *words, "."]
    return command, {**environment, "PYTHONPATH": str(ROOT)}


def _run(folder: Path, *words: str) -> tuple[int, str]:
    command, environment = _command(folder, f"--basetemp={folder / 'tmp'}", *words)
    done = subprocess.run(
        command,
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


def _notes(folder: Path) -> list[list[str]]:
    return [line.rsplit(" ", 1) for line in (folder / "notes").read_text().splitlines()]


def test_what_forks_found_is_told_as_ever(tmp_path: Path) -> None:
    (tmp_path / "test_one.py").write_text(ONE)
    (tmp_path / "test_two.py").write_text(ONE)
    code, said = _run(tmp_path, "--costs=costs.tsv")
    assert code == 1, said
    assert "2 failed, 6 passed, 2 warnings" in said
    assert said.count("UserWarning: look out") == 2
    assert "FAILED test_one.py::test_b - AssertionError: assert 'test_b0' == 'of another'" in said
    assert said.count("\nsaid before it failed\n") == 2
    assert "to nobody" not in said.replace('print("to nobody")', "")
    assert len((tmp_path / "costs.tsv").read_text().splitlines()) == 1 + 8
    # each had its fixtures, once, in a process of its own, and folders of its own
    notes = _notes(tmp_path)
    for process in {one for _, one in notes}:
        words = [word for word, one in notes if one == process]
        assert len(words) == 4
        assert (words[0], words[-1]) == ("begin session", "end session")
    assert len(notes) == 8
    assert len(list((tmp_path / "tmp").glob("worker*/test_a0/x"))) == 2


def test_a_fork_that_dies_fails_the_test_that_it_ran_and_no_other(tmp_path: Path) -> None:
    (tmp_path / "test_two.py").write_text(TWO)
    code, said = _run(tmp_path)
    assert code == 1, said
    assert "1 failed, 4 passed" in said
    assert "FAILED test_two.py::test_dies[2] - worker 0 died while it ran this test" in said
    assert "signal SIGSEGV" in said
    assert [word for word, _ in _notes(tmp_path)][-1] == "end session"


def test_a_fork_that_no_limit_ends_is_ended_by_the_process_that_collected(tmp_path: Path) -> None:
    """A lock in a library in C, that another thread held at the fork, is one that no signal's handler comes behind."""
    (tmp_path / "test_two.py").write_text(THREE)
    (tmp_path / "impatient.py").write_text(IMPATIENT)
    code, said = _run(tmp_path, "-p", "impatient")
    assert code == 1, said
    assert "1 failed, 1 passed" in said
    assert "FAILED test_two.py::test_hangs - worker 0 died while it ran this te" in said
    assert "\nworker 0 died while it ran this test: nothing was heard of it for" in said


def test_the_most_failures_that_are_borne(tmp_path: Path) -> None:
    (tmp_path / "test_one.py").write_text(ONE.replace("def test_c", "def test_b2"))
    code, said = _run(tmp_path, "-x")
    assert code == 1, said
    assert "1 failed, 1 passed" in said
    assert "stopping after 1 failures" in said
    assert [word for word, _ in _notes(tmp_path)][-1] == "end session"


def test_ctrl_c_takes_down_what_is_set_up(tmp_path: Path) -> None:
    (tmp_path / "test_waits.py").write_text(WAITS)
    command, environment = _command(tmp_path)
    with subprocess.Popen(
        command,
        cwd=tmp_path,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        in_the_end(lambda: (tmp_path / "notes").exists() and len(_notes(tmp_path)) == 2)
        time.sleep(0.2)
        process.send_signal(signal.SIGINT)
        assert process.stdout is not None
        said = process.stdout.read()
        assert process.wait(120) == 2, said
    assert "KeyboardInterrupt" in said
    notes = _notes(tmp_path)
    assert [word for word, _ in notes][-1] == "end session"
    with pytest.raises(ProcessLookupError):
        os.kill(int(notes[0][1]), 0)


_KINDS = {"d": Kind.DEAR, "u": Kind.UNCOUNTED, "p": Kind.PLAIN}


def _plan(kinds: str, workers: int) -> Plan:
    return Plan([Scope(_KINDS[kind], (number,)) for number, kind in enumerate(kinds)], workers)


@pytest.mark.parametrize(
    ("kinds", "workers", "running", "kind"),
    [
        ("dddppu", 4, "", "d"),
        ("dddppu", 4, "d", "d"),
        ("dddppu", 4, "dd", "u"),
        ("dddppu", 4, "ddu", "p"),
        ("dddpp", 4, "dd", "p"),
        ("dppp", 4, "d", "p"),
        ("uuu", 4, "uuu", "u"),
        ("ddd", 4, "ddd", "d"),
        ("d", 4, "", "d"),
        ("d", 4, "d", ""),
        ("dup", 1, "", "d"),
        ("up", 1, "", "u"),
        ("", 4, "", ""),
    ],
)
def test_a_part_of_the_workers_has_what_is_dear_and_one_what_is_long(
    kinds: str, workers: int, running: str, kind: str
) -> None:
    found = _plan(kinds, workers).kind_of_next(Counter(_KINDS[one] for one in running))
    assert found is _KINDS.get(kind)


def test_what_a_module_has_decides_which_workers_do_it(request: pytest.FixtureRequest) -> None:
    ours = [item for item in request.session.items if item.path == request.path]
    assert {scope.kind for scope in scopes(ours)} == {Kind.UNCOUNTED}


def test_every_scope_is_taken_once_in_its_order_and_comes_again_if_it_is_put_back() -> None:
    plan = _plan("dpd", 2)
    first = plan.take(Kind.DEAR)
    assert first == Scope(Kind.DEAR, (0,))
    plan.put_back(first)
    plan.put_back(Scope(Kind.DEAR, ()))
    assert [plan.take(Kind.DEAR), plan.take(Kind.DEAR)] == [first, Scope(Kind.DEAR, (2,))]
    assert plan.take(Kind.DEAR) is None
    assert plan.take(Kind.PLAIN) == Scope(Kind.PLAIN, (1,))
    plan.put_back(first)
    plan.stop()
    assert plan.take(Kind.DEAR) is None
