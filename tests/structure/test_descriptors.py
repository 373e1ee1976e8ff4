"""An object forgets a descriptor before it closes it (findings F5, R17).

Ctrl-C may strike between a close and the note of it. The clean-up that follows would close the number a second time: an
error for the user if it is free, and a stranger's file if another thread opened one meanwhile.
"""

import ast

import pytest

from tests.structure.test_repository import relative, sources


def held_at_their_close(code: str) -> list[int]:
    """The lines where `os.close` gets a descriptor that an object still holds, directly or by a loop over them."""
    tree, found = ast.parse(code), set[int]()
    for node in ast.walk(tree):
        if isinstance(node, ast.For) and _is_held(node.iter):
            looped = {one.id for one in ast.walk(node.target) if isinstance(one, ast.Name)}
            found |= {call.lineno for call in _closes(node) if ast.unparse(call.args[0]) in looped}
    return sorted(found | {call.lineno for call in _closes(tree) if _is_held(call.args[0])})


def _closes(tree: ast.AST) -> list[ast.Call]:
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    return [call for call in calls if ast.unparse(call.func) == "os.close"]


def _is_held(node: ast.AST) -> bool:
    """Whether an attribute is handed on as it is, not as the argument of a call that makes a new descriptor."""
    if isinstance(node, ast.Tuple | ast.List):
        return any(_is_held(one) for one in node.elts)
    return isinstance(node, ast.Attribute)


def test_no_descriptor_is_closed_while_it_is_held() -> None:
    code = {relative(path): path.read_text() for path in sources()}
    product = {name: text for name, text in code.items() if name.startswith("src/")}
    assert sum("os.close(" in text for text in product.values()) > 15
    found = {name: held_at_their_close(text) for name, text in product.items()}
    assert {name: lines for name, lines in found.items() if lines} == {}


@pytest.mark.parametrize(
    ("code", "lines"),
    [
        pytest.param("os.close(self._fd)\nself._fd = -1", [1], id="held"),
        pytest.param("for fd in (self._fd, self._folder):\n    os.close(fd)", [2], id="looped"),
        pytest.param("fd, self._fd = self._fd, -1\nos.close(fd)", [], id="forgotten"),
        pytest.param("os.close(self._prepared(path))", [], id="made"),
    ],
)
def test_what_is_found(code: str, lines: list[int]) -> None:
    assert held_at_their_close(code) == lines
