"""All parsers at once: nothing is abbreviated, and `--data-dir` is nobody's value (issue 9 C; findings F6)."""

import argparse
import ast
import importlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from strongroom.cli import dispatch
from strongroom.cli.terminal import parsing
from strongroom.cli.terminal.ended import Ended
from strongroom.cli.terminal.session import SessionOptions
from strongroom.errors import UsageError

ROOT = Path(__file__).parents[3]
Output = pytest.CaptureFixture[str]
COMMANDS = [
    (tool, verb, module)
    for tool, verbs in dispatch.COMMANDS.items()
    for verb, (module, _) in verbs.items()
]


def built(tool: str, verb: str, module: str) -> argparse.ArgumentParser:
    found = importlib.import_module(f"strongroom.cli.{module}")
    parser: argparse.ArgumentParser = found.build_parser(f"{tool} {verb}".strip(), verb)
    return parser


def all_parsers(
    parser: argparse.ArgumentParser, way: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], argparse.ArgumentParser]]:
    parsing.complete(parser)
    yield way, parser
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for name, inner in action.choices.items():
                yield from all_parsers(inner, (*way, name))


def long_options(parser: argparse.ArgumentParser) -> set[str]:
    return {one for one in parser._option_string_actions if one.startswith("--") and len(one) > 4}


@pytest.mark.parametrize(("tool", "verb", "module"), COMMANDS)
def test_no_option_of_any_command_is_abbreviated(
    tool: str, verb: str, module: str, capsys: Output
) -> None:
    """What `--over` is short for today may be another option tomorrow."""
    tried = 0
    for way, one in all_parsers(built(tool, verb, module)):
        options = long_options(one)
        for option in sorted(options):
            short = option[:-1]
            if short in options:
                continue
            tried += 1
            with pytest.raises(Ended) as ended:
                parsing.parse(built(tool, verb, module), [*way, short])
            assert ended.value.code == 2, (way, short)
    assert tried or module == "version", "this command has no option"
    del capsys


def test_every_other_parser_says_so_itself() -> None:
    """Those of commands are made by `build_parser` and told by `parsing.parse`, which nobody goes around."""
    wrong, seen = [], 0
    for folder in ("src", "scripts", "benchmarks", "demo"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            is_command = ROOT / "src" / "strongroom" / "cli" in path.parents
            for one in ast.walk(ast.parse(path.read_text())):
                if not isinstance(one, ast.Call):
                    continue
                called = ast.unparse(one.func)
                if called.endswith("ArgumentParser"):
                    seen += 1
                    said = {key.arg: ast.unparse(key.value) for key in one.keywords}
                    if not is_command and said.get("allow_abbrev") != "False":
                        wrong.append(f"{path}:{one.lineno}")
                elif called.endswith((".parse_args", ".parse_known_args")) and is_command:
                    assert path.name == "parsing.py", path
    assert seen > 25
    assert wrong == []


@pytest.mark.parametrize(
    ("line", "option"),
    [
        ("configuration set -k gateway.timeout -v --data-dir /node", "-v"),
        ("configuration set -k gateway.timeout --value --data-dir /node 5", "--value"),
        ("configuration set -k --data-dir /node gateway.timeout -v 5", "-k"),
        ("configuration get -k --data-dir=/node gateway.timeout", "-k"),
    ],
)
def test_the_data_directory_is_not_the_value_of_an_option(
    line: str, option: str, capsys: Output
) -> None:
    """It was taken out of the line, and the option took the word behind it for its value."""
    assert dispatch.main("tsm", line.split()) == 2
    said = capsys.readouterr().err
    assert f"{option} needs a value before --data-dir" in said
    assert "--option=--value" in said


def test_a_value_that_is_the_option_s_own_name_is_joined() -> None:
    options, rest = SessionOptions.take_from(
        ["configuration", "set", "-k", "x", "--value=--data-dir", "--data-dir", "/node"]
    )
    assert options.data_dir == "/node"
    assert rest == ["configuration", "set", "-k", "x", "--value=--data-dir"]
    parsed = parsing.parse(built("tsm", "configuration", "secrets.configuration"), rest[1:])
    assert parsed.value == "--data-dir"


def test_a_line_that_ends_with_it_says_how_such_a_value_is_written() -> None:
    with pytest.raises(UsageError, match="--data-dir needs a directory") as caught:
        SessionOptions.take_from(["configuration", "set", "-k", "x", "-v", "--data-dir"])
    assert "joined to its option" in caught.value.hint


def test_behind_a_flag_it_is_an_option_like_any_other() -> None:
    options, rest = SessionOptions.take_from(["status", "-v", "--data-dir", "/node"])
    assert (options.data_dir, options.behind, rest) == ("/node", "-v", ["status", "-v"])
    for one, words in (("status", ["-v"]), ("configuration", ["list", "--json"])):
        module = dispatch.COMMANDS["tsm"][one][0]
        parsing.check_has_value(built("tsm", one, module), words, words[-1])


def test_behind_two_dashes_it_is_a_word() -> None:
    options, rest = SessionOptions.take_from(["x", "--", "--data-dir", "/node"])
    assert (options, rest) == (SessionOptions(), ["x", "--", "--data-dir", "/node"])
