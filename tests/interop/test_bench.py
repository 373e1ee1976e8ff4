"""The benchmark in its smallest size, with whatever peers are here: every figure is measured, or its absence is told."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks import releases
from benchmarks.goals import GOALS, Goal, Verdict
from benchmarks.report import Findings, Table

# all suites, with every peer: minutes on a machine that does other things as well
pytestmark = pytest.mark.timeout(900)
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
    ("store ", "object store"),
)


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return _bench(tmp_path_factory.mktemp("bench"))


def _bench(folder: Path) -> dict[str, Any]:
    """A run of all suites in the smallest size: each figure comes from the fewest files, rows and calls that give one."""
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


GROWING = (
    "start of the server",
    "first page of 80",
    "last page of 80",
    "one item",
    "probe",
    "sign-in",
    "job for one extract",
    "all: rewrap with nothing to do",
)


@pytest.mark.interop
@pytest.mark.slow
def test_growth_is_measured_at_four_sizes(found: dict[str, Any]) -> None:
    """F15 of performance: each thing has a figure at each size; what the figures are, nobody asserts here."""
    (table,) = (one for one in found["tables"] if one["title"].startswith("Growth"))
    sizes = [int(word.split()[0].replace(",", "")) for word in table["head"][1:-1]]
    assert sizes == sorted(set(sizes))
    assert len(sizes) == 4
    assert tuple(row[0] for row in table["rows"]) == GROWING
    assert all(float(cell) >= 0 for row in table["rows"] for cell in row[1:-1])
    assert found["figures"]["growth"] >= 0


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


def test_figures_of_releases_stand_side_by_side(tmp_path: Path) -> None:
    """A later run replaces what it measured, and leaves the rest with the run that it is of."""
    whole, part, older = Findings(), Findings(), Findings()
    whole.figures |= {"encrypt/cp": 0.5, "get/pass": 5.8, "no goal's": 1.0}
    part.figures |= {"get/pass": 3.9}
    older.figures |= {"encrypt/cp": 0.25}
    releases.keep(whole, ["whole"], "0.10.0", tmp_path)
    releases.keep(part, ["part"], "0.10.0", tmp_path)
    releases.keep(older, ["older"], "0.9.0", tmp_path)
    kept = json.loads((tmp_path / "0.10.0.json").read_text())
    assert kept["runs"] == [["whole"], ["part"]]
    assert kept["figures"]["encrypt/cp"] == {"value": 0.5, "run": 0}
    assert kept["figures"]["get/pass"] == {"value": 3.9, "run": 1}
    table = releases.table(tmp_path)
    assert list(table.head[3:]) == ["0.9.0", "0.10.0"]
    rows = {row[1]: list(row[3:]) for row in table.rows}
    assert rows["encrypt, whole process / cp"] == ["0.25", "0.50"]
    assert rows["configuration get of a secret / python -c pass"] == ["–", "3.90"]
    assert len(rows) == 2

    again = Findings()
    again.figures |= {"encrypt/cp": 0.6, "get/pass": 3.0, "no goal's": 1.0}
    releases.keep(again, ["again"], "0.10.0", tmp_path)
    assert json.loads((tmp_path / "0.10.0.json").read_text())["runs"] == [["again"]]
