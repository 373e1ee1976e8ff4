"""The benchmark in its smallest size, with whatever peers are here: every figure is measured, or its absence is told."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks.goals import GOALS, Goal, Verdict
from benchmarks.report import Findings, Table

ROOT = Path(__file__).resolve().parent.parent.parent
# what a goal's figure needs beside the product: (word of the figure, word of who is absent)
_PEERS = (
    ("gocryptfs", "gocryptfs"),
    ("bao", "bao"),
    ("age", "age"),
    ("gpg", "gpg"),
    ("openssl", "openssl"),
    ("Tink", "Tink"),
    ("AWS", "AWS"),
    ("peak", "memory"),
)


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("bench")
    words = ["--size", "1M", "--rounds", "1", "--folder", folder, "--json", folder / "found.json"]
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.run", *map(str, words)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "### Goals" in done.stdout
    assert [path.name for path in folder.iterdir()] == ["found.json"]
    result: dict[str, Any] = json.loads((folder / "found.json").read_text())
    return result


@pytest.mark.interop
@pytest.mark.slow
def test_every_goal_has_a_figure_or_somebody_is_told_to_be_absent(found: dict[str, Any]) -> None:
    absent = " ".join(found["absent"]).lower()
    silent = [
        goal.text
        for goal in GOALS
        if goal.figure not in found["figures"]
        and not any(word in goal.figure and name.lower() in absent for word, name in _PEERS)
    ]
    assert silent == []


@pytest.mark.interop
@pytest.mark.slow
def test_all_suites_leave_a_table_and_none_failed(found: dict[str, Any]) -> None:
    assert found["failed"] == {}
    assert all(table["rows"] for table in found["tables"])
    assert len(found["tables"]) >= 7
    assert all(value >= 0 for value in found["figures"].values())


def test_a_goal_is_met_missed_or_not_measured() -> None:
    least, most = Goal("X", "", "a", 0.8), Goal("X", "", "a", 1.2, at_most=True)
    assert least.verdict({"a": 0.8}) is Verdict.MET
    assert least.verdict({"a": 0.79}) is Verdict.MISSED
    assert most.verdict({"a": 1.2}) is Verdict.MET
    assert most.verdict({"a": 1.21}) is Verdict.MISSED
    assert most.verdict({}) is Verdict.UNKNOWN


def test_tables_are_markdown_and_findings_json(tmp_path: Path) -> None:
    findings = Findings()
    findings.table("T", "who", "how much").add("a", "1")
    findings.save(tmp_path / "f.json", {"about": ["x"]})
    saved = json.loads((tmp_path / "f.json").read_text())
    assert saved["tables"][0]["rows"] == [["a", "1"]]
    assert Table("T", ("who",), [("ours",)]).markdown().startswith("### T\n\n| who  |\n| ---- |")
