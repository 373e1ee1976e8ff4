"""The figures of each release, side by side: kept in `figures/`, one file a version."""

import json
from pathlib import Path
from typing import Any

from benchmarks.goals import GOALS, number
from benchmarks.report import Findings, Table

FOLDER = Path(__file__).resolve().parent / "figures"


def keep(findings: Findings, about: list[str], version: str, folder: Path = FOLDER) -> Path:
    """Put a run's figures among those of its version; what it did not measure stays as it was.

    Each figure has the run that it comes from: figures of one ratio are of one run, those of two ratios may be of two.
    """
    folder.mkdir(exist_ok=True)
    path = folder / f"{version}.json"
    kept: dict[str, Any] = (
        json.loads(path.read_text()) if path.exists() else {"runs": [], "figures": {}}
    )
    kept["runs"].append(about)
    run = len(kept["runs"]) - 1
    for name, value in findings.figures.items():
        kept["figures"][name] = {"value": round(value, 4), "run": run}
    used = sorted({figure["run"] for figure in kept["figures"].values()})
    kept["runs"] = [kept["runs"][number] for number in used]
    for figure in kept["figures"].values():
        figure["run"] = used.index(figure["run"])
    path.write_text(json.dumps(kept, indent=2, sort_keys=True, ensure_ascii=False) + "\n")
    return path


def table(folder: Path = FOLDER) -> Table:
    """Each goal with its figure in each release, oldest first."""
    paths = sorted(folder.glob("*.json"), key=lambda path: _order(path.stem))
    found = {path.stem: json.loads(path.read_text())["figures"] for path in paths}
    made = Table("Releases", ("id", "what", "goal", *found))
    for goal in GOALS:
        values = [figures.get(goal.figure) for figures in found.values()]
        if any(value is not None for value in values):
            shown = ["–" if value is None else number(value["value"]) for value in values]
            sign = "≤" if goal.at_most else "≥"
            made.add(goal.id, goal.text, f"{sign} {goal.bound:,g}{goal.unit}", *shown)
    return made


def _order(version: str) -> list[tuple[int, str]]:
    return [(int(part), "") if part.isdigit() else (0, part) for part in version.split(".")]
