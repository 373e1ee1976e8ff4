"""Nothing is skipped: a component that is missing fails the run, with a sentence (CONTRIBUTING.md, "Tests")."""

import ast
from collections.abc import Iterator

import pytest

from tests.structure.test_repository import ROOT, relative
from tests.support.no_skips import no_skip

_WAYS = {"skip", "skipif", "skipTest", "SkipTest", "importorskip", "xfail", "skip_module_level"}


def _ways(code: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(code)):
        name = getattr(node, "attr", getattr(node, "id", ""))
        if isinstance(node, ast.Attribute | ast.Name) and name in _WAYS:
            yield f"{node.lineno}: {ast.unparse(node)}"
        if isinstance(node, ast.ImportFrom):
            yield from (f"{node.lineno}: {one.name}" for one in node.names if one.name in _WAYS)


def test_no_test_can_be_skipped() -> None:
    files = sorted((ROOT / "tests").rglob("*.py"))
    found = [f"{relative(path)}:{way}" for path in files for way in _ways(path.read_text())]
    assert len(files) > 300
    assert found == []


@pytest.mark.parametrize(
    ("code", "count"),
    [
        ("pytest.skip('x')", 1),
        ("@pytest.mark.skipif(True, reason='x')\ndef f(): ...", 1),
        ("x = pytest.importorskip('x')", 1),
        ("from pytest import skip", 1),
        ("pytest.param(1, marks=pytest.mark.xfail)", 1),
        ("raise unittest.SkipTest", 1),
        ("pytest.fail('it needs x')\nitertools.islice(x, 1)", 0),
    ],
)
def test_that_it_is_seen(code: str, count: int) -> None:
    assert len(list(_ways(code))) == count


@pytest.mark.parametrize("outcome", ["skipped", "passed", "failed"])
def test_a_skip_that_comes_from_elsewhere_fails(outcome: str) -> None:
    """A plugin, or a list of parameters that is empty, skips as well."""
    report = pytest.TestReport("x", ("x", 1, "x"), {}, outcome, ("x", 1, "why"), "call")  # type: ignore[arg-type]
    no_skip(report)
    assert report.failed is (outcome != "passed")
    assert (report.longrepr == "skipped, which no test may be: why") is (outcome == "skipped")
