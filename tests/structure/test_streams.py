"""Only one piece speaks on the standard streams, only one reads the small files that options name (findings K2, K10, P1)."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.structure.test_repository import relative, sources

#: Who may touch a standard stream: the piece itself, and one that says that a log cannot be written.
_STREAMS = {
    "src/strongroom/cli/terminal/streams.py",
    "src/strongroom/runtime/service_logs.py",
}
_NAMES = {
    ("sys", "stdin"),
    ("sys", "stdout"),
    ("sys", "stderr"),
    ("sys", "__stdout__"),
    ("sys", "__stderr__"),
    ("getpass", "getpass"),
}
_CALLS = {"print", "input"}
_READS = {"read_text", "read_bytes", "open"}
_OTHER_CALLS = {"os.open", "small_files.read_bytes"}
_READERS = {"src/strongroom/cli/named_files/small_files.py"}


def _touched(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            if (node.value.id, node.attr) in _NAMES:
                yield f"{node.lineno}: {node.value.id}.{node.attr}"
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            if node.func.id in _CALLS:
                yield f"{node.lineno}: {node.func.id}()"
        elif isinstance(node, ast.ImportFrom) and node.module in {"sys", "getpass"}:
            yield f"{node.lineno}: from {node.module}"


def _opened(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            name = getattr(node.func, "attr", getattr(node.func, "id", ""))
            if name in _READS and ast.unparse(node.func) not in _OTHER_CALLS:
                yield f"{node.lineno}: {ast.unparse(node.func)}()"


def _trees(folder: str, allowed: set[str]) -> Iterator[tuple[str, ast.Module]]:
    for path in sources():
        name = relative(path)
        if name.startswith(folder) and name not in allowed:
            yield name, ast.parse(path.read_text())


def test_nothing_but_the_streams_speaks_on_a_standard_stream() -> None:
    """Findings P1: a second way to print has a buffer of its own, and the order is lost."""
    found = [
        f"{name}:{what}"
        for name, tree in _trees("src/strongroom/", _STREAMS)
        for what in _touched(tree)
    ]
    assert found == []


def test_no_command_opens_a_file_that_an_option_names_by_itself() -> None:
    """Findings K10: a second reader has a rule of its own."""
    found = [
        f"{name}:{what}"
        for name, tree in _trees("src/strongroom/cli/", _READERS)
        for what in _opened(tree)
    ]
    assert found == []


@pytest.mark.parametrize(
    ("code", "count"),
    [
        ("import sys\nsys.stdout.write('')", 1),
        ("print('x')", 1),
        ("from sys import stderr", 1),
        ("input()", 1),
        ("import getpass\ngetpass.getpass()", 1),
        ("session.out('x')", 0),
    ],
)
def test_that_it_is_seen(code: str, count: int) -> None:
    assert len(list(_touched(ast.parse(code)))) == count


def test_that_an_opening_is_seen() -> None:
    assert len(list(_opened(ast.parse("open(x)\nPath(x).open('rb')\nPath(x).read_text()")))) == 3
    assert Path(__file__).name not in _READERS
