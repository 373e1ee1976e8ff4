"""docs/faults-cluster.md names tests that are there, and leaves no row out (issue 11)."""

import re
from pathlib import Path

from tests.structure.test_faults import wrong

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "faults-cluster.md"
_TEST = re.compile(r"`(tests/[\w/]+\.py)(?:::(test_\w+))?`")
_ROW = re.compile(r"^\| (E?\d+) \|", re.MULTILINE)
#: What docs/faults-cluster.md has to have.
CLUSTER = [
    *(str(number) for number in (*range(1, 13), *range(26, 32), *range(37, 48))),
    *(f"E{number}" for number in (1, 2, 3, 4, 6, 7, 8, 11, 12, 13, 14, 17, 18, 19, 20, 21)),
]


def test_every_test_that_is_named_is_there() -> None:
    named = [f"{path}::{name}" for path, name in _TEST.findall(PAGE.read_text())]
    assert [(one, why) for one in named if (why := wrong(one.rstrip(":"), set()))] == []


def test_every_row_is_there_and_has_a_test() -> None:
    text = PAGE.read_text()
    assert _ROW.findall(text) == CLUSTER
    bare = [line for line in text.splitlines() if _ROW.match(line) and not _TEST.search(line)]
    assert [line[:6] for line in bare] == ["| E18 "]
