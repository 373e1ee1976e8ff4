"""The pages of faults name tests that are there, and leave no row of their lists out."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted((ROOT / "docs").glob("faults*.md"))
_TEST = re.compile(r"`(tests/[\w/]+\.py)(?:::(test_\w+))?`")
_ROW = re.compile(r"^\| (E?\d+) \|", re.MULTILINE)
#: What docs/faults-cluster.md has to have.
CLUSTER = [
    *(str(number) for number in (*range(1, 13), *range(26, 32), *range(37, 48))),
    *(f"E{number}" for number in (1, 2, 3, 4, 6, 7, 8, 11, 12, 13, 14, 17, 18, 19, 20, 21)),
]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_test_that_is_named_is_there(page: Path) -> None:
    missing = []
    for path, name in _TEST.findall(page.read_text()):
        file = ROOT / path
        if not file.exists() or (name and f"\ndef {name}(" not in file.read_text()):
            missing.append(f"{path}::{name}")
    assert missing == []


def test_every_row_is_there_and_has_a_test() -> None:
    text = (ROOT / "docs/faults-cluster.md").read_text()
    assert _ROW.findall(text) == CLUSTER
    bare = [line for line in text.splitlines() if _ROW.match(line) and not _TEST.search(line)]
    assert [line[:6] for line in bare] == ["| E18 "]
