"""Every rule of a format that says MUST is cited by the code or the test that keeps it (style rule 32)."""

import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
FORMATS = sorted((ROOT / "docs/format").glob("*.md"))
_CLAUSE = re.compile(r"^\W*(?:§)?(\d+(?:\.\d+)?)\.?[\s*]", re.MULTILINE)
_SECTION = re.compile(r"^## (\d+)\. ")
_ID = re.compile(r"\b[CKEAQ]-\d\d\b|\b[PF]1\d\b")


def clauses_with_must(path: Path) -> set[str]:
    """Numbers of the clauses that hold the word MUST: `2.1`, or `2` where a section's items are numbered by themselves."""
    section, clause, found = "", "", set()
    for line in path.read_text().splitlines():
        heading = _SECTION.match(line)
        if heading:
            section = clause = heading.group(1)
        elif number := _CLAUSE.match(line):
            text = number.group(1)
            clause = text if "." in text else f"{section}.{text}"
        if re.search(r"\bMUST\b", line) and clause:
            found.add(clause)
    return found


def cited(path: Path) -> set[str]:
    """Numbers that any code or test cites of a format: behind its name, or behind § or a bracket in a file that names it."""
    behind = re.compile(re.escape(path.name) + r"((?:[,;]?\s*(?:and |to )?§?\d+(?:\.\d+)?)+)")
    numbers: set[str] = set()
    for source, text in texts().items():
        if path.name in text and source != Path(__file__):
            runs = [*behind.findall(text), *re.findall(r"[§(](?:\d+\.\d+(?:, )?)+|§\d+", text)]
            numbers |= {number for run in runs for number in re.findall(r"\d+(?:\.\d+)?", run)}
    return numbers


@cache
def texts() -> dict[Path, str]:
    """All code and all tests: forty formats are looked for in them."""
    found = [path for folder in ("src", "tests") for path in (ROOT / folder).rglob("*.py")]
    return {path: path.read_text() for path in found}


@pytest.mark.parametrize("path", FORMATS, ids=lambda path: path.stem)
def test_every_must_is_cited(path: Path) -> None:
    numbers = cited(path)
    uncited = {one for one in clauses_with_must(path) if not numbers & {one, one.split(".")[0]}}
    assert uncited == set()


def test_every_requirement_that_is_cited_is_explained() -> None:
    listed = set(_ID.findall((ROOT / "docs/reference/requirements.md").read_text()))
    found = {
        identifier
        for folder in ("src", "tests")
        for source in (ROOT / folder).rglob("*.py")
        for identifier in _ID.findall(source.read_text())
    }
    assert found - listed == set()


def test_every_document_that_is_cited_is_there() -> None:
    there = {path.name for path in [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]}
    cited_names = {
        name
        for source in (ROOT / "src").rglob("*.py")
        for name in re.findall(r"[\w-]+\.md\b", source.read_text())
    }
    assert cited_names - there == set()
