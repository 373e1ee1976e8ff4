"""Every command explains every argument; the reference is made of these texts (P11)."""

import argparse
import importlib
import re
import shlex
from collections.abc import Iterator

import pytest

from strongroom.cli import dispatch, examples
from strongroom.cli.terminal import parsing
from tests.support.servers import ROOT

pytestmark = pytest.mark.table

HOWTO = ROOT / "docs/howto"
Output = pytest.CaptureFixture[str]


def leaves(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    """The commands below a parser that have no commands below them."""
    parsing.complete(parser)
    groups = [one for one in parser._actions if isinstance(one, argparse._SubParsersAction)]
    if not groups:
        yield parser
    for group in groups:
        for child in group.choices.values():
            yield from leaves(child)


def commands() -> Iterator[argparse.ArgumentParser]:
    for tool, verbs in dispatch.COMMANDS.items():
        for verb, (module, _) in verbs.items():
            built = importlib.import_module(f"strongroom.cli.{module}")
            yield from leaves(built.build_parser(f"{tool} {verb}".strip(), verb))


COMMANDS = list(commands())


@pytest.mark.parametrize("parser", COMMANDS, ids=lambda parser: parser.prog.replace(" ", "-"))
def test_every_argument_has_a_help_text(parser: argparse.ArgumentParser) -> None:
    assert [one.dest for one in parser._actions if not one.help] == []
    assert parser.format_help()  # the placeholders in the texts are known ones


@pytest.mark.parametrize("parser", COMMANDS, ids=lambda parser: parser.prog.replace(" ", "-"))
def test_a_default_value_is_told(parser: argparse.ArgumentParser) -> None:
    values = [
        one
        for one in parser._actions
        if one.option_strings and one.nargs is None and isinstance(one.default, int | float | str)
    ]
    told = {one.dest: one.help or "" for one in values if one.default not in {"", "==SUPPRESS=="}}
    assert [dest for dest, text in told.items() if not re.search(r"\bdefault\b", text)] == []


@pytest.mark.parametrize("parser", COMMANDS, ids=lambda parser: parser.prog.replace(" ", "-"))
def test_every_command_has_an_example_that_it_takes_and_a_page(
    parser: argparse.ArgumentParser,
) -> None:
    """Findings D9: what a command does, one line that works, and where it is explained."""
    example = examples.of(parser.prog)
    assert (HOWTO / f"{example.page}.md").is_file()
    parser.parse_args(shlex.split(example.words))


def test_there_is_no_example_of_a_command_that_is_gone() -> None:
    assert examples.names() == {parser.prog for parser in COMMANDS}


@pytest.mark.parametrize("name", [parser.prog for parser in COMMANDS])
def test_help_says_what_the_command_does(name: str, capsys: Output) -> None:
    tool, *words = name.split()
    assert dispatch.main(tool, [*words, "--help"]) == 0
    said = capsys.readouterr().out
    assert re.match(rf"usage: {re.escape(name)}\b.*\n\n[A-Z]", said, re.DOTALL)
    assert f"example:  {name}" in said
    assert "explained in:  docs/howto/" in said


def groups() -> Iterator[str]:
    """Every group of commands, as it is typed."""
    for parser in COMMANDS:
        words = parser.prog.split()
        yield from (" ".join(words[:length]) for length in range(2, len(words)))


@pytest.mark.parametrize("name", sorted(set(groups())))
def test_a_group_without_its_verb_lists_its_verbs(name: str, capsys: Output) -> None:
    tool, *words = name.split()
    assert dispatch.main(tool, words) == 2
    said = capsys.readouterr().err
    below = {
        one.prog.split()[len(words) + 1] for one in COMMANDS if one.prog.startswith(f"{name} ")
    }
    assert all(re.search(rf"^ +{re.escape(verb)}\b", said, re.MULTILINE) for verb in below), said


@pytest.mark.parametrize(
    ("line", "meant"),
    [
        ("strongroom kms status", "tsm security kms status"),
        ("strongroom backup mak", "strongroom backup make"),
        ("tsm backup", "strongroom backup make"),
        ("tsm restore", "tsm maintenance restore"),
        ("strongroom maintenance restore", "tsm maintenance restore"),
        ("tsm backup verify", "strongroom backup verify"),
        ("tsm sites list", "strongroom sites list"),
        ("strongroom sites lst", "strongroom sites list"),
        ("tsm security kms rotat", "tsm security kms rotate"),
        ("strongroom extract list", "strongroom extracts list"),
        ("tsm configuration show", "tsm configuration"),
    ],
)
def test_a_wrong_verb_is_told_what_was_meant_across_the_tools(
    line: str, meant: str, capsys: Output
) -> None:
    """Findings F2."""
    tool, *words = line.split()
    assert dispatch.main(tool, words) == 2
    said = capsys.readouterr().err
    assert f"'{meant}" in said, said


def test_options_are_written_out(capsys: Output) -> None:
    """Findings F6: an abbreviation means another option when one more is added."""
    assert dispatch.main("tsm", ["maintenance", "backup", "--fil", "x"]) == 2
    assert "required: -f/--file" in capsys.readouterr().err
