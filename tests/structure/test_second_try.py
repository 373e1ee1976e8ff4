"""Which failures of a whole run are tried again, and that one which fails again has failed (ADR 45)."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from scripts import second_try

ROOT = Path(__file__).resolve().parents[2]
_FAILS_ONCE = """
from pathlib import Path

def test_once(): assert not drop("once")
def test_ever(): assert False

def drop(name):
    path = Path(name)
    there = path.exists()
    path.unlink(missing_ok=True)
    return there
"""


def _in(folder: str, *, test: str = "::one") -> str:
    return f"tests/{folder}/a.py{test}"


@pytest.mark.parametrize(
    ("names", "said"),
    [
        ([], "no test is on record"),
        ([_in(f"unit/{place}") for place in "abcd"], "tests of 4 modules failed"),
        # one fixture of the module
        ([_in("docs", test=f"::test_{number}") for number in range(20)], ""),
        ([_in("unit"), _in("torture")], "torture"),
        ([_in("structure")], "is not tried again"),
        ([_in("unit", test="")], "is not tried again"),  # a module that cannot be imported
        ([_in("unit", test="::one[::]"), _in("contract"), _in("docs")], ""),
    ],
)
def test_few_failures_that_draw_nothing(names: list[str], said: str) -> None:
    found = second_try.refusal(names)
    assert said in found if said else not found


@pytest.mark.parametrize("name", ["test_once", "test_ever"])
def test_the_second_try_decides(tmp_path: Path, name: str) -> None:
    """The record of the first run is pytest's own."""
    folder = tmp_path / "tests" / "unit"
    whole = f"{folder.relative_to(tmp_path)}/test_it.py::{name}"
    folder.mkdir(parents=True)
    (folder / "test_it.py").write_text(_FAILS_ONCE)
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    (tmp_path / "once").touch()
    words = [sys.executable, "-m", "pytest", "-q", "-p", "no:randomly", "-k", name]
    first = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert first.returncode == 1, first.stdout
    assert second_try.failed(tmp_path / second_try.CACHE) == [whole]
    found = subprocess.run(
        [sys.executable, "-m", "scripts.second_try", "-q"],
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )
    passed = f"passed only when it ran alone, to be explained: {whole}"
    assert (found.returncode == 0, passed in found.stdout) == ((name == "test_once",) * 2)


def test_the_record_of_a_run_that_never_was(tmp_path: Path) -> None:
    assert second_try.failed(tmp_path / "none") == []
    (tmp_path / "some").write_text(json.dumps({"b": True, "a": True}))
    assert second_try.failed(tmp_path / "some") == ["a", "b"]
