"""Every command of the three tools, from their parsers, as a line with all that it needs: for tests that are made of a list.

A command, an option or a setting that is added is in these lists without anybody's thinking of it.
"""

import argparse
import importlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from strongroom.cli import dispatch
from strongroom.cli.terminal import parsing


@dataclass(frozen=True)
class Line:
    """One command.

    Attributes:
        tool: `strongroom`, `tsm` or `initialize-tsm`.
        verbs: The words that name it.
        parser: Its own parser.
    """

    tool: str
    verbs: tuple[str, ...]
    parser: argparse.ArgumentParser

    @property
    def name(self) -> str:
        return " ".join((self.tool, *self.verbs))

    @property
    def options(self) -> list[argparse.Action]:
        """All that it takes, positional arguments too, without `--help`."""
        return [one for one in self.parser._actions if one.dest != "help"]

    def words(self, values: Mapping[str, str] | None = None) -> list[str]:
        """The verbs and all required arguments.

        Args:
            values: Words for arguments, by the name that they have in the parsed result; any word will do for others.
        """
        given = values or {}
        words = list(self.verbs)
        for option in self.options:
            if option.dest in given or option.required:
                value = given.get(option.dest, _any_word(option))
                words += [*option.option_strings[-1:], *([] if option.nargs == 0 else [value])]
        groups = self.parser._mutually_exclusive_groups
        for group in (one for one in groups if one.required):
            if not any(option.dest in given for option in group._group_actions):
                option = group._group_actions[0]
                words += [option.option_strings[-1], _any_word(option)]
        return words


def lines() -> Iterator[Line]:
    """Every command."""
    for tool, verbs in dispatch.COMMANDS.items():
        for verb, (module, _) in verbs.items():
            built = importlib.import_module(f"strongroom.cli.{module}")
            parser = built.build_parser(f"{tool} {verb}".strip(), verb)
            yield from _below(tool, tuple(verb.split()), parser)


def _below(tool: str, verbs: tuple[str, ...], parser: argparse.ArgumentParser) -> Iterator[Line]:
    parsing.complete(parser)  # a kind of root adds its options when it is used
    groups = [one for one in parser._actions if isinstance(one, argparse._SubParsersAction)]
    if not groups:
        yield Line(tool, verbs, parser)
    for group in groups:
        for word, child in group.choices.items():
            yield from _below(tool, (*verbs, word), child)


def _any_word(option: argparse.Action) -> str:
    if option.choices:
        return str(next(iter(option.choices)))
    return "1" if option.type is not None else "nothing"
