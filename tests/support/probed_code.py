"""Python code with probes: an assignment before each statement, and at each way out of a branch, that marks one byte.

CPython calls a tracer at each call, line and return of every function, ours or not, and runs none of its quicker
instructions meanwhile: a test that is traced takes nearly twice its time. A probe costs its own assignment, in the
product's modules alone.

A probe stands for arcs in the sense of coverage.py, pairs of line numbers:

- `(ENTRY, line)`: the statement of the line was reached.
- `(line, target)`: a branch was taken.
- `(line, body, OTHER)`: a branch was not taken; where its line goes to but its body is not written in the source, and
  coverage.py's own reading of it says so (`probes`).

What has more than one way out to coverage.py is `if`, `for`, `while` and `case`. The line of an `except` counts when its
body is entered, as all those above it do.
"""

import ast
from collections.abc import Sequence
from types import CodeType

HITS = "__hits__"
ENTRY = -1
OTHER = 1

Arc = tuple[int, ...]


class Prober:
    """Puts probes into modules, numbered one after the other.

    Attributes:
        probes: The arcs of each probe.
    """

    def __init__(self) -> None:
        self.probes: list[list[Arc]] = []

    def compiled(self, text: bytes, path: str) -> CodeType:
        """The code of a module, which finds the bytes to mark by the name `HITS` among its globals."""
        tree = ast.parse(text, path)
        tree.body = self._block(tree.body)
        code: CodeType = compile(ast.fix_missing_locations(tree), path, "exec", dont_inherit=True)
        return code

    def _block(self, block: Sequence[ast.stmt], arcs: Sequence[Arc] = ()) -> list[ast.stmt]:
        """Statements, each behind its probe.

        Args:
            block: The statements.
            arcs: What else is true when the first of them is reached.
        """
        made: list[ast.stmt] = []
        waiting = list(arcs)
        for one in block:
            waiting += [(ENTRY, line) for line in _lines(one)]
            # a docstring and what must stand at the start of a module keep their place; they cannot fail
            if not _is_text(one) and not _is_of_the_future(one):
                made.append(self._probe(one, waiting))
                waiting = []
            self._open(one)
            made.append(one)
        if (
            waiting
        ):  # CPython gives the end of a module or function the line of a text that stands there
            made.append(self._probe(block[-1], waiting))
        return made

    def _open(self, one: ast.stmt) -> None:
        """Put probes into the blocks of a statement."""
        match one:
            case ast.If() | ast.While() | ast.For() | ast.AsyncFor():
                taken = _first(one.body)
                one.body = self._block(one.body, [(one.lineno, taken)])
                not_taken = self._probe(one, [(one.lineno, taken, OTHER)])
                one.orelse = [not_taken, *self._block(one.orelse)]
            case ast.Match():
                self._open_cases(one)
            case ast.Try():
                one.body = self._block(one.body)
                reached: list[Arc] = []
                for handler in one.handlers:
                    reached.append((ENTRY, handler.lineno))
                    handler.body = self._block(handler.body, reached)
                one.orelse = self._block(one.orelse)
                one.finalbody = self._block(one.finalbody)
            case ast.With() | ast.AsyncWith():
                one.body = self._block(one.body)
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                one.body = self._block(one.body)
            case _:
                return

    def _open_cases(self, one: ast.Match) -> None:
        passed: list[Arc] = []
        for case in one.cases:
            line, body = case.pattern.lineno, _first(case.body)
            case.body = self._block(case.body, [*passed, (ENTRY, line), (line, body)])
            passed += [(ENTRY, line), (line, body, OTHER)]
        if not _takes_all(one.cases[-1]):
            one.cases.append(ast.match_case(ast.MatchAs(), None, [self._probe(one, passed)]))

    def _probe(self, where: ast.stmt, arcs: Sequence[Arc]) -> ast.stmt:
        number = ast.Constant(len(self.probes))
        self.probes.append(list(arcs))
        byte = ast.Subscript(ast.Name(HITS, ast.Load()), number, ast.Store())
        made = ast.Assign([byte], ast.Constant(1))
        for node in ast.walk(made):
            ast.copy_location(node, where)
        return made


def _lines(one: ast.stmt) -> list[int]:
    """The lines that count as reached with a statement: its own, and those of its decorators."""
    above = getattr(one, "decorator_list", [])
    return [*(decorator.lineno for decorator in above), one.lineno]


def _first(block: Sequence[ast.stmt]) -> int:
    return _lines(block[0])[0]


def _is_text(one: ast.stmt) -> bool:
    return (
        isinstance(one, ast.Expr)
        and isinstance(one.value, ast.Constant)
        and isinstance(one.value.value, str)
    )


def _is_of_the_future(one: ast.stmt) -> bool:
    return isinstance(one, ast.ImportFrom) and one.module == "__future__"


def _takes_all(case: ast.match_case) -> bool:
    """Whether a case matches whatever comes: nothing may stand behind it."""
    pattern = case.pattern
    while isinstance(pattern, ast.MatchOr | ast.MatchAs):
        if isinstance(pattern, ast.MatchOr):
            pattern = pattern.patterns[-1]
        elif pattern.pattern is None:
            return case.guard is None
        else:
            pattern = pattern.pattern
    return False
