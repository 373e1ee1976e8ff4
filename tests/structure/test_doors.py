"""What somebody at a door may reach of a node: the services of its Protocol, and no store behind them (ADR 28)."""

import ast
import functools
import importlib
import typing
from collections.abc import Iterator

import grimp
import pytest

from tests.structure.test_repository import relative, sources

_STORES = ("repository", "filestore", "keystore", "coordination")
_DOORS = ("doors",)
# whatever opens keys is a service's
_HIDDEN = tuple(f"strongroom.{name}" for name in (*_STORES, "node", "kms", "crypto", "roots"))


def ports() -> list[str]:
    """The modules that say what a door may use."""
    found = [relative(path).removeprefix("src/").removesuffix(".py") for path in sources()]
    doors = tuple(f"strongroom/{name}/" for name in (*_DOORS, "cli"))
    return [
        name.replace("/", ".")
        for name in found
        if name.startswith(doors) and (name.endswith("/ports") or "/ports/" in name)
    ]


def members(module: str) -> Iterator[tuple[str, object]]:
    """Each member of each Protocol of a module, with its type."""
    for protocol in vars(importlib.import_module(module)).values():
        if isinstance(protocol, type) and protocol.__module__ == module:
            for name, type_ in typing.get_type_hints(protocol).items():
                yield f"{protocol.__name__}.{name}", type_
            for name, member in vars(protocol).items():
                if isinstance(member, functools.cached_property):
                    yield (
                        f"{protocol.__name__}.{name}",
                        typing.get_type_hints(member.func)["return"],
                    )


def test_that_members_are_found() -> None:
    found = {name for module in ports() for name, _ in members(module)}
    assert {"TableauServices.content", "ControlServices.meks", "NodeCommands.paths"} <= found


def test_no_protocol_of_a_door_gives_a_store_or_a_key() -> None:
    found = [
        f"{module}: {name}"
        for module in ports()
        for name, type_ in members(module)
        if getattr(type_, "__module__", "").startswith(_HIDDEN)
    ]
    assert found == []


def test_no_door_imports_the_node_or_a_store_not_even_for_types() -> None:
    """import-linter's contracts leave out what only the type checker imports."""
    graph = grimp.build_graph("strongroom", exclude_type_checking_imports=False, cache_dir=None)
    found = [
        f"{importer} -> {imported}"
        for importer in graph.modules
        if importer.startswith(tuple(f"strongroom.{name}." for name in _DOORS))
        for imported in graph.find_modules_directly_imported_by(importer)
        if imported.startswith(_HIDDEN[: len(_STORES) + 1])
        and imported not in {"strongroom.repository.rows", "strongroom.repository.service_rows"}
    ]
    assert found == []


def is_whole(value: ast.expr | None) -> bool:
    """`session.whole_node`."""
    return isinstance(value, ast.Attribute) and value.attr == "whole_node"


def looked_into(tree: ast.AST) -> Iterator[str]:
    """Where a node that should be handed on is asked for something."""
    for function in ast.walk(tree):
        if not isinstance(function, ast.FunctionDef):
            continue
        whole = {
            argument.arg
            for argument in (*function.args.args, *function.args.kwonlyargs)
            if argument.annotation is not None
            and ast.unparse(argument.annotation).strip("'").split(" | ")[0] == "Node"
        }
        for one in ast.walk(function):
            if isinstance(one, ast.Assign) and is_whole(one.value):
                whole |= {name.id for name in one.targets if isinstance(name, ast.Name)}
        for one in ast.walk(function):
            if isinstance(one, ast.Attribute) and (
                is_whole(one.value) or (isinstance(one.value, ast.Name) and one.value.id in whole)
            ):
                yield f"{one.lineno}: {ast.unparse(one)}"


def test_a_command_hands_a_whole_node_on_and_asks_it_nothing() -> None:
    commands = [path for path in sources() if relative(path).startswith("src/strongroom/cli/")]
    found = [
        f"{path.name}:{where}"
        for path in commands
        if path.name != "session.py"
        for where in looked_into(ast.parse(path.read_text()))
    ]
    assert found == []


@pytest.mark.parametrize(
    ("code", "count"),
    [
        ("def a(session):\n    backup.folder(session.whole_node)", 0),
        ("def a(session):\n    session.whole_node.keystore", 1),
        ("def a(session):\n    node = session.whole_node\n    node.keystore.load()", 1),
        ("def a(node: 'Node | None'):\n    return node.repository", 1),
        ("def a(node: 'CommandServices'):\n    return node.sites", 0),
    ],
)
def test_that_it_is_seen(code: str, count: int) -> None:
    assert len(list(looked_into(ast.parse(code)))) == count
