"""The helpers that tests share lie in one package, whose table is whole and true (issue 9, part E)."""

import ast
import re

from tests.structure.test_repository import ROOT, relative, tracked

SUPPORT = ROOT / "tests" / "support"
_ROW = re.compile(r"^\| `([a-z_.]+)` \| [^|]+ \| ([^|]+) \|$", re.MULTILINE)
ROWS = dict(_ROW.findall((SUPPORT / "README.md").read_text()))


def modules() -> dict[str, str]:
    """The text of each helper, by the name that the table gives it."""
    return {
        ".".join(path.relative_to(SUPPORT).with_suffix("").parts): path.read_text()
        for path in sorted(SUPPORT.rglob("*.py"))
    }


def test_each_helper_has_a_row_and_each_row_a_helper() -> None:
    assert len(ROWS) > 20
    assert sorted(ROWS) == sorted(modules())


def test_what_a_row_names_is_there() -> None:
    wrong = []
    for name, text in modules().items():
        defined = {
            node.name
            for node in ast.parse(text).body
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
        }
        named = re.findall(r"`([A-Za-z_]+)`", ROWS.get(name, ""))
        assert named, name
        wrong += [f"{name}: {one}" for one in named if one not in defined]
    assert wrong == []


def test_no_helper_lies_beside_the_folders_of_tests() -> None:
    beside = [path.name for path in tracked(".py") if path.parent == ROOT / "tests"]
    assert beside == ["conftest.py"]


def test_no_name_of_the_tests_says_bench_where_nothing_is_measured() -> None:
    """The same within the files: names, and the texts that stand for them."""
    measuring = {"tests/interop/test_bench.py", "tests/structure/test_support.py"}
    ours = [path for path in tracked(".py") if path.is_relative_to(ROOT / "tests")]
    named = re.compile(r"bench(?!marks?\b)", re.IGNORECASE)
    found = {relative(path) for path in ours if named.search(path.read_text())}
    assert found - measuring == set()


def test_a_helper_is_not_called_after_a_bench() -> None:
    """To pytest and to `make bench` a benchmark measures; what tests work with is a lab."""
    names = [relative(path) for path in tracked(".py") if path.is_relative_to(ROOT / "tests")]
    wrong = [name for name in names if re.search(r"(^|/|_)bench(es)?(_|\.)", name)]
    assert wrong == ["tests/interop/test_bench.py"]
