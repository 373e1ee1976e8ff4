"""Finds, in the text of a module, where words of another one's library get out without the filter (findings K5).

Foreign is whatever an `except` catches that is not an error of ours, and each parameter of a function of the module that
such a value is handed to. It may be looked at by type, handed on, and given to `foreign_words`; of its attributes only
those are free that hold no words.
"""

import ast
from collections.abc import Iterator
from dataclasses import dataclass, field

#: Attributes of foreign errors that hold a number, a flag or an object to be handed on, and no words.
WORDLESS = {
    "__cause__",
    "__traceback__",
    "code",
    "diag",
    "errno",
    "error",
    "fmt1",
    "pgconn",
    "response",
    "retryable",
    "smtp_code",
    "sqlstate",
    "status_code",
    "used_password",
}
#: What may be asked of a foreign value: the answer is a type, a number or a yes.
_HARMLESS_CALLS = {"isinstance", "type", "int", "float", "bool", "len", "issubclass"}
#: What comes out of these is no text.
_NUMBERS = {"int", "float", "bool", "len"}
_FILTER = "foreign_words"
#: It chooses a sentence of ours by the number of the error.
_CHOOSER = ("disk", "hint_for")
_Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass
class _Module:
    own_errors: set[str]
    functions: dict[str, _Function]
    #: Function → its parameters that are given foreign values.
    given: dict[str, set[str]] = field(default_factory=dict)
    found: list[str] = field(default_factory=list)


def violations(source: str, own_errors: set[str]) -> list[str]:
    """Each place as `line: what`.

    Args:
        source: Of the module.
        own_errors: Names of the classes of `errors.py`.
    """
    tree = ast.parse(source)
    _link(tree)
    local = {
        node.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef) and node.name.endswith("Error")
    }
    functions = {node.name: node for node in ast.walk(tree) if isinstance(node, _Function)}
    module = _Module(own_errors | local, functions)
    todo: list[tuple[str, ast.AST]] = [
        (handler.name, handler)
        for handler in ast.walk(tree)
        if isinstance(handler, ast.ExceptHandler)
        and handler.name
        and _is_foreign(handler, module.own_errors)
    ]
    while todo:
        name, scope = todo.pop()
        for use in _uses(name, scope):
            todo += _judge(use, module)
    return sorted(set(module.found), key=lambda line: int(line.partition(":")[0]))


def _link(tree: ast.AST) -> None:
    for parent in ast.walk(tree):
        for child in ast.iter_child_nodes(parent):
            child.parent = parent  # type: ignore[attr-defined]


def _parent(node: ast.AST) -> ast.AST:
    found: ast.AST = node.parent  # type: ignore[attr-defined]
    return found


def _is_foreign(handler: ast.ExceptHandler, own: set[str]) -> bool:
    caught = handler.type
    names = caught.elts if isinstance(caught, ast.Tuple) else [caught]
    return not all(_name(one) in own for one in names)


def _name(caught: ast.AST | None) -> str:
    if isinstance(caught, ast.Attribute):
        return caught.attr
    return caught.id if isinstance(caught, ast.Name) else ""


def _uses(name: str, scope: ast.AST) -> Iterator[ast.Name]:
    for node in ast.walk(scope):
        if isinstance(node, ast.Name) and node.id == name and isinstance(node.ctx, ast.Load):
            yield node


def _judge(use: ast.Name, module: _Module) -> list[tuple[str, ast.AST]]:
    """Judge one use of a foreign value; gives the parameters that become foreign by it."""
    node: ast.AST = use
    while isinstance(parent := _parent(node), ast.Attribute) and parent.value is node:
        if parent.attr not in WORDLESS:
            if not _within_filter(use):
                _report(module, use, f"{use.id}.{parent.attr}")
            return []
        node = parent
    if _within_filter(use) or isinstance(parent, ast.Compare | ast.BoolOp | ast.UnaryOp | ast.If):
        return []
    if isinstance(parent, ast.IfExp | ast.BoolOp) and parent.__class__ is ast.IfExp:
        return [] if parent.test is node else _refuse(module, use, parent)
    if isinstance(parent, ast.Raise):
        return [] if parent.exc is node else _refuse(module, use, parent)
    if isinstance(parent, ast.Call) and node in parent.args:
        return _handed_on(use, node, parent, module)
    return _refuse(module, use, parent)


def _handed_on(
    use: ast.Name, node: ast.AST, call: ast.Call, module: _Module
) -> list[tuple[str, ast.AST]]:
    name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
    is_local = isinstance(call.func, ast.Name) or (
        isinstance(call.func.value, ast.Name) and call.func.value.id in {"self", "cls"}
        if isinstance(call.func, ast.Attribute)
        else False
    )
    if isinstance(call.func, ast.Name) and (name in _HARMLESS_CALLS or _asks_wordless(call)):
        return []
    function = module.functions.get(name)
    if not is_local or function is None:
        return _refuse(module, use, call)
    parameters = [one.arg for one in (*function.args.posonlyargs, *function.args.args)]
    if isinstance(call.func, ast.Attribute):
        parameters = parameters[1:]
    parameter = parameters[next(at for at, one in enumerate(call.args) if one is node)]
    known = module.given.setdefault(name, set())
    if parameter in known:
        return []
    known.add(parameter)
    return [(parameter, function)]


def _asks_wordless(call: ast.Call) -> bool:
    """`getattr(error, "status_code", None)`: an attribute that holds no words, if there is one."""
    return (
        ast.unparse(call.func) == "getattr"
        and len(call.args) > 1
        and isinstance(call.args[1], ast.Constant)
        and call.args[1].value in WORDLESS
    )


def _within_filter(node: ast.AST) -> bool:
    while not isinstance(node, ast.stmt):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            if node.func.id in _NUMBERS:
                return True
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            owner = node.func.value
            name = owner.id if isinstance(owner, ast.Name) else ""
            if name == _FILTER or (name, node.func.attr) == _CHOOSER:
                return True
        node = _parent(node)
    return False


def _refuse(module: _Module, use: ast.Name, parent: ast.AST) -> list[tuple[str, ast.AST]]:
    _report(module, use, f"{use.id} in {ast.unparse(parent)[:60]}")
    return []


def _report(module: _Module, node: ast.Name, what: str) -> None:
    module.found.append(f"{node.lineno}: {what}")
