"""A count is put into words by the piece that knows one from many (findings D15: "1 extracts")."""

import ast
import re
from collections.abc import Iterator

import pytest

from tests.structure.test_repository import relative, sources

_THINGS = re.compile(
    r" (?:[a-z]+ed )?(extracts|bytes|files|events|users|secrets|settings|tokens|jobs|MEKs|credentials|sites|keys|changes)\b"
)
_PLACES = ("src/strongroom/cli/", "src/strongroom/services/", "src/strongroom/filestore/")


def _is_a_bound(value: ast.expr) -> bool:
    """A constant, or what only a bound is called: they are never one."""
    text = ast.unparse(value)
    return text.rpartition(".")[2].lstrip("_").isupper() or text in {"limit", "count"}


def _bare(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            for value, after in zip(node.values, node.values[1:], strict=False):
                if (
                    isinstance(value, ast.FormattedValue)
                    and isinstance(after, ast.Constant)
                    and _THINGS.match(str(after.value))
                    and not _is_a_bound(value.value)
                ):
                    yield f"{node.lineno}: {ast.unparse(node)[:80]}"


def test_counts_are_put_into_words_by_one_piece() -> None:
    found = [
        f"{relative(path)}:{what}"
        for path in sources()
        if relative(path).startswith(_PLACES)
        for what in _bare(ast.parse(path.read_text()))
    ]
    assert found == []


@pytest.mark.parametrize(
    ("code", "count"),
    [
        ('f"{n} extracts"', 1),
        ('f"{n:>8} encrypted extracts"', 1),
        ("f\"{counted(n, 'extract')}\"", 0),
        ('f"{_MAX_BYTES} bytes"', 0),
    ],
)
def test_that_it_is_seen(code: str, count: int) -> None:
    assert len(list(_bare(ast.parse(code)))) == count
