"""What the system answered reaches people through one door, `strongroom.system.disk` (findings R11).

An error that is put together by hand says "no space left on device" without saying what to do, or with a hint that is
right for another cause.
"""

import ast
from collections.abc import Iterator

import pytest

from tests.structure.test_repository import relative, sources

DOOR = "src/strongroom/system/disk.py"
#: Classes that hold any answer of the system. Those below them say one thing, and their handlers know which.
_ANY = {"OSError", "IOError", "EnvironmentError"}


def _names(node: ast.AST | None) -> set[str]:
    return {one.id for one in ast.walk(node) if isinstance(one, ast.Name)} if node else set()


def _blocks(tree: ast.AST) -> Iterator[tuple[str, ast.AST]]:
    """Code that holds an answer of the system, by the name that the answer has there."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ExceptHandler) and _names(node.type) & _ANY:
            yield node.name or "", node
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            for one in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs):
                if _names(one.annotation) & _ANY:
                    yield one.arg, node


def by_hand(code: str) -> list[str]:
    """Where a `StorageError` is made from an answer of the system, or the answer's words are taken."""
    tree, found = ast.parse(code), set()
    for _, block in _blocks(tree):
        for node in ast.walk(block):
            if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("StorageError"):
                found.add((node.lineno, "StorageError"))
    for node in ast.walk(tree):
        if not isinstance(node, ast.Attribute) or node.attr != "strerror":
            continue
        if ast.unparse(node) != "os.strerror":  # that one only makes words of a number
            found.add((node.lineno, "strerror"))
    return [f"{line}: {what}" for line, what in sorted(found)]


def test_no_answer_of_the_system_is_told_by_hand() -> None:
    told = {
        relative(path): by_hand(path.read_text())
        for path in sources()
        if relative(path).startswith("src/") and relative(path) != DOOR
    }
    assert len(told) > 300
    assert {name: found for name, found in told.items() if found} == {}


def test_the_door_is_where_it_is_looked_for() -> None:
    (door,) = [path for path in sources() if relative(path) == DOOR]
    assert len(by_hand(door.read_text())) >= 2


@pytest.mark.parametrize(
    ("code", "count"),
    [
        ("try: f()\nexcept OSError as e: raise StorageError(f'no: {e}')", 1),
        ("try: f()\nexcept (ValueError, OSError) as e: raise errors.StorageError('no')", 1),
        ("def told(e: OSError): return StorageError('no')", 1),
        ("def told(*, e: ValueError | OSError): return StorageError('no')", 1),
        ("def told(e): return KeystoreError(e.strerror)", 1),
        ("try: f()\nexcept OSError as e: raise disk.problem('no', e)", 0),
        ("try: f()\nexcept BrokenPipeError as e: raise StorageError('nobody reads it')", 0),
        ("raise OSError(1, os.strerror(1))", 0),
        ("raise StorageError('no')", 0),
    ],
)
def test_that_it_is_seen(code: str, count: int) -> None:
    assert len(by_hand(code)) == count
