"""Everything of uvicorn's private parts that the web service leans on, by name (ADR 23); a release without one fails here.

The lists are compared with the source of `web/protocol` and `web/server`: what is used and not listed fails as well.
"""

import ast
import inspect
import tomllib
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from packaging.requirements import Requirement
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from strongroom.doors.http import protocol, server

ROOT = Path(__file__).parents[4]
#: Methods of the base that are overridden: uvicorn and httptools call them under these names.
OVERRIDDEN = {
    "connection_made": ("self", "transport"),
    "connection_lost": ("self", "exc"),
    "data_received": ("self", "data"),
    "on_message_begin": ("self",),
    "on_url": ("self", "url"),
    "on_header": ("self", "name", "value"),
    "on_headers_complete": ("self",),
    "on_body": ("self", "body"),
    "on_message_complete": ("self",),
    "on_response_complete": ("self",),
    "timeout_keep_alive_handler": ("self",),
    "pause_writing": ("self",),
    "resume_writing": ("self",),
}
#: Attributes and methods of the base that are read, called or set.
READ = {
    "access_log",
    "client",
    "cycle",
    "flow",
    "headers",
    "loop",
    "parser",
    "pipeline",
    "scope",
    "send_400_response",
    "timeout_keep_alive",
    "transport",
}
#: What httptools calls, and uvicorn's class does not have.
OF_THE_PARSER = {"on_chunk_header"}
#: The same of the server's class.
SERVER_OVERRIDDEN = {
    "startup": ("self", "sockets"),
    "capture_signals": ("self",),
    "handle_exit": ("self", "sig", "frame"),
    "on_tick": ("self", "counter"),
}
SERVER_READ = {"config", "lifespan", "server_state", "servers", "should_exit"}


def class_of(module: Any, name: str) -> ast.ClassDef:
    tree = ast.parse(inspect.getsource(module))
    return next(one for one in tree.body if isinstance(one, ast.ClassDef) and one.name == name)


def own_names(found: ast.ClassDef) -> set[str]:
    """What a class defines by itself: methods, class variables, and what its methods set."""
    names: set[str] = set()
    for one in found.body:
        if isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef):
            names.add(one.name)
        elif isinstance(one, ast.AnnAssign) and isinstance(one.target, ast.Name):
            names.add(one.target.id)
        elif isinstance(one, ast.Assign):
            names |= {target.id for target in one.targets if isinstance(target, ast.Name)}
    return names


def set_privately(found: ast.ClassDef) -> set[str]:
    """What a class sets on itself under a name with an underscore."""
    return {
        target.attr
        for one in ast.walk(found)
        if isinstance(one, ast.Assign)
        for target in one.targets
        if isinstance(target, ast.Attribute)
        and ast.unparse(target.value) == "self"
        and target.attr.startswith("_")
    }


def used_names(found: ast.ClassDef, *of: str) -> set[str]:
    """Every `self.…` and `super().…` of a class, or every attribute of these expressions."""
    objects = set(of or ("self", "super()"))
    return {
        one.attr
        for one in ast.walk(found)
        if isinstance(one, ast.Attribute) and ast.unparse(one.value) in objects
    }


@pytest.fixture(scope="module")
def base() -> HttpToolsProtocol:
    async def nothing(scope: object, receive: object, send: object) -> None:
        raise AssertionError("no request is made")

    config = uvicorn.Config(nothing, lifespan="off", log_config=None)
    config.load()
    # the loop is taken, and not run
    loop: Any = object()
    return HttpToolsProtocol(config=config, server_state=ServerState(), app_state={}, _loop=loop)


def test_every_part_that_is_named_is_there(base: HttpToolsProtocol) -> None:
    missing = {name for name in READ | OVERRIDDEN.keys() if not hasattr(base, name)}
    assert missing == set()
    assert not any(hasattr(base, name) for name in OF_THE_PARSER), "it is overridden now"


@pytest.mark.parametrize(("name", "parameters"), OVERRIDDEN.items(), ids=OVERRIDDEN)
def test_what_is_overridden_takes_what_it_took(name: str, parameters: tuple[str, ...]) -> None:
    method = getattr(HttpToolsProtocol, name)
    assert tuple(inspect.signature(method).parameters) == parameters
    ours = getattr(protocol.BoundedProtocol, name)
    assert tuple(inspect.signature(ours).parameters) == parameters


@pytest.mark.parametrize("name", ["on_response_complete", "timeout_keep_alive_handler"])
def test_uvicorn_still_calls_what_is_not_called_by_the_parser_or_the_loop(name: str) -> None:
    """An overridden method that nobody calls any more would be silence without an end (findings S7)."""
    module = inspect.getmodule(HttpToolsProtocol)
    assert module is not None
    assert inspect.getsource(module).count(name) >= 2


def test_the_parts_of_its_parts() -> None:
    assert {"resume_reading", "pause_reading"} <= set(dir(FlowControl))
    cycle = inspect.getsource(RequestResponseCycle)
    for name in ("disconnected", "response_complete", "message_event"):
        assert f"self.{name}" in cycle, name
    wanted = {"config", "server_state", "app_state"}
    assert wanted <= set(inspect.signature(HttpToolsProtocol.__init__).parameters)


def test_the_lists_name_what_the_protocol_uses_and_nothing_else() -> None:
    found = class_of(protocol, "BoundedProtocol")
    own = own_names(found)
    mine = own | set_privately(found)
    by_the_tap = used_names(class_of(protocol, "BodyTap"), "self._protocol")
    assert (used_names(found) | by_the_tap) - mine - {"__init__"} == READ
    overridden = {name for name in own if name in vars(HttpToolsProtocol)} - {"__init__"}
    assert overridden == OVERRIDDEN.keys()


def test_the_server_s_parts() -> None:
    async def nothing(scope: object, receive: object, send: object) -> None:
        raise AssertionError("no request is made")

    config = uvicorn.Config(nothing, lifespan="off", log_config=None)
    config.load()
    made = uvicorn.Server(config)
    assert config.http_protocol_class
    # these two come to be when it starts
    started = inspect.getsource(uvicorn.Server)
    assert "self.lifespan =" in started
    assert "self.servers" in started
    for name in SERVER_READ - {"lifespan", "servers"}:
        assert hasattr(made, name), name
    for name, parameters in SERVER_OVERRIDDEN.items():
        assert tuple(inspect.signature(getattr(uvicorn.Server, name)).parameters) == parameters
    found = class_of(server, "BoundedServer")
    mine = own_names(found) | set_privately(found)
    assert used_names(found) - mine - {"__init__"} | {"should_exit"} == SERVER_READ


def test_an_untried_release_is_not_taken() -> None:
    """The upper version stands in pyproject, and every lock is within it."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    (wanted,) = [one for one in map(Requirement, project["dependencies"]) if one.name == "uvicorn"]
    assert any(one.operator in {"<", "<=", "=="} for one in wanted.specifier)
    locked = [
        (path.name, line.split("==")[1].split()[0])
        for path in sorted((ROOT / "requirements").glob("*.txt"))
        for line in path.read_text().splitlines()
        if line.startswith("uvicorn==")
    ]
    assert len(locked) >= 3
    assert [name for name, version in locked if version not in wanted.specifier] == []
    assert uvicorn.__version__ in wanted.specifier
