"""Every command explains every argument; the reference is made of these texts (P11)."""

import argparse
import importlib
import re
from collections.abc import Iterator

import pytest

from strongroom.cli import dispatch


def leaves(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    """The commands below a parser that have no commands below them."""
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
