"""docs/faults.md has every row, and the tests and mutants that it names are there (issue 12 F)."""

import ast
import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "faults.md"
ROWS = [*(f"R{n}" for n in range(1, 24)), *map(str, [*range(13, 26), *range(32, 37)])]
COLUMNS = ("id", "fault", "tried", "must hold", "shown by", "broken on purpose", "not shown")
_NAMED = re.compile(r"`([^`]+)`")


def rows(text: str) -> list[dict[str, str]]:
    """The rows of both tables, by their columns."""
    cut = [
        [cell.strip() for cell in line.strip("|\n ").split(" | ")]
        for line in text.splitlines()
        if line[:1] == "|"
    ]
    found = [one for one in cut if not set(one[0]) <= {"-"} and one[0] != "id"]
    return [dict(zip(COLUMNS, one, strict=True)) for one in found]


def wrong(named: str, mutants: set[str]) -> str:
    """What is wrong with a name: a test by its module, or with the function in it, or a mutant."""
    if not named.startswith("tests/"):
        return "" if named in mutants else "no mutant"
    module, _, function = named.partition("::")
    if not (ROOT / module).is_file():
        return "no module"
    if not function:
        return ""
    tree = ast.parse((ROOT / module).read_text())
    there = {one.name for one in tree.body if isinstance(one, ast.FunctionDef)}
    return "" if function in there else "no test in it"


@pytest.fixture(scope="module")
def mutants() -> set[str]:
    told = tomllib.loads((ROOT / "tests" / "mutants.toml").read_text())
    return {one["name"] for one in told["mutant"]}


def test_every_row_is_there_once_and_in_order() -> None:
    assert [one["id"] for one in rows(PAGE.read_text())] == ROWS


def test_every_test_and_every_mutant_that_is_named_is_there(mutants: set[str]) -> None:
    found = []
    for row in rows(PAGE.read_text()):
        names = [
            one
            for column in ("shown by", "broken on purpose")
            for one in _NAMED.findall(row[column])
            if "/" in one or ":" in one
        ]
        found += [f"{row['id']}: {one}: {why}" for one in names if (why := wrong(one, mutants))]
    assert found == []


def test_a_row_shows_something_or_says_what_is_missing() -> None:
    silent = [
        row["id"]
        for row in rows(PAGE.read_text())
        if not _NAMED.search(row["shown by"]) and row["not shown"] == "–"
    ]
    assert silent == []


@pytest.mark.parametrize(
    ("named", "why"),
    [
        ("tests/torture/" + "test_nobody.py", "no module"),
        ("tests/structure/test_faults.py::test_nobody", "no test in it"),
        ("services: nobody", "no mutant"),
        ("tests/structure/test_faults.py::rows", ""),
    ],
)
def test_a_name_that_leads_nowhere_is_found(named: str, why: str, mutants: set[str]) -> None:
    assert wrong(named, mutants) == why
