"""Parses a command line by argparse, whose words go through the same streams as all others.

An option that takes one value is given once: which of two counts would be a guess. Numbers have bounds.
"""

import argparse
import contextlib
import io
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from strongroom.cli.terminal import streams
from strongroom.cli.terminal.ended import Ended
from strongroom.cli.terminal.session import JOINED
from strongroom.errors import UsageError
from strongroom.system.compat import override

LARGEST = (1 << 53) - 1
"""The largest whole number that JSON carries everywhere."""
LONGEST_WAIT_S = 366 * 24 * 3600
"""A year: what waits longer is no wait, and threads cannot."""
_SEEN = "_options_seen"


Step = Callable[[argparse.ArgumentParser], None]


class LateParser(argparse.ArgumentParser):
    """A parser whose options a provider says: it asks for them when it is used, so that no other's module is imported."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """As `ArgumentParser`; a line or a help is what completes it."""
        super().__init__(*args, **kwargs)
        self._steps: list[Step] = []

    def when_complete(self, step: Step) -> None:
        """Do something to it when it is used, in the order of the calls."""
        self._steps.append(step)

    def complete(self) -> None:
        """Do now what was put off."""
        while self._steps:
            self._steps.pop(0)(self)

    @override
    def parse_known_args(self, *args: Any, **kwargs: Any) -> Any:
        """As the class above, when it is complete."""
        self.complete()
        return super().parse_known_args(*args, **kwargs)

    @override
    def format_help(self) -> str:
        """As the class above, when it is complete."""
        self.complete()
        return super().format_help()


def complete(parser: argparse.ArgumentParser) -> None:
    """Let a parser have all its options, for whoever looks at them."""
    if isinstance(parser, LateParser):
        parser.complete()


def when_complete(parser: argparse.ArgumentParser, step: Step) -> None:
    """Do something to a parser now; to a late one when it is used."""
    if isinstance(parser, LateParser):
        parser.when_complete(step)
    else:
        step(parser)


def parse(
    parser: argparse.ArgumentParser,
    words: Sequence[str],
    explained: Callable[[str], str] = lambda message: message,
) -> argparse.Namespace:
    """The options and arguments of a command line.

    Options cannot be shortened: a later version may have another option that begins with the same letters.

    Args:
        parser: The parser of the command, or of the group of commands.
        words: The words behind the command's name.
        explained: Adds help to the message of argparse about a wrong line.

    Raises:
        Ended: The line asks for help, or is wrong, and the message has been printed.
    """
    for one in _parsers(parser):
        when_complete(one, _take_once)
    results, messages = io.StringIO(), io.StringIO()
    try:
        with contextlib.redirect_stdout(results), contextlib.redirect_stderr(messages):
            return parser.parse_args(words)
    except SystemExit as ended:
        streams.note_lines(explained(messages.getvalue()) if ended.code else messages.getvalue())
        if results.getvalue():
            streams.check_output()
            streams.out(results.getvalue())
        raise Ended(ended.code if isinstance(ended.code, int) else 1) from None


def check_has_value(parser: argparse.ArgumentParser, words: Sequence[str], option: str) -> None:
    """Refuse a line in which `--data-dir` stood in the place of an option's value.

    `--data-dir` and its directory are removed before the parser sees the line. So the option would take a word as its
    value that was never meant as that.

    Args:
        parser: The parser of the command, or of the group of commands.
        words: The words behind the command's name, without `--data-dir`.
        option: The word that `--data-dir` stood behind.

    Raises:
        UsageError: The option takes a value, and has none.
    """
    for one in _chosen(parser, words):
        action = one._option_string_actions.get(option)  # noqa: SLF001 argparse offers no other way
        if action is not None and action.nargs is None:
            raise UsageError(f"{option} needs a value before --data-dir", hint=JOINED)


def _chosen(
    parser: argparse.ArgumentParser, words: Sequence[str]
) -> Iterator[argparse.ArgumentParser]:
    """The parser, and those of the commands that the words name."""
    complete(parser)
    yield parser
    for position, word in enumerate(words):
        for group in parser._actions:  # noqa: SLF001 as above
            if isinstance(group, argparse._SubParsersAction) and word in group.choices:  # noqa: SLF001
                yield from _chosen(group.choices[word], words[position + 1 :])
                return


def number(least: int, most: int) -> Callable[[str], int]:
    """The type of an option that is a whole number between two bounds."""

    def whole_number(text: str) -> int:
        # isascii: int() takes the digits of every script, and underscores
        digits = text.removeprefix("-")
        if not (digits.isascii() and digits.isdecimal() and len(digits) <= len(str(most)) + 1):
            raise argparse.ArgumentTypeError(f"{text[:80]!r} is no number from {least} to {most}")
        value = int(text)
        if not least <= value <= most:
            raise argparse.ArgumentTypeError(f"{text} is not between {least} and {most}")
        return value

    return whole_number


def seconds(text: str) -> float:
    """The type of an option that is a time to wait."""
    # float() takes the digits of every script, underscores, infinity and what is no number
    value = float(text) if re.fullmatch(r"[0-9]{1,12}([.][0-9]{0,9})?", text) else -1.0
    if not 0 <= value <= LONGEST_WAIT_S:
        raise argparse.ArgumentTypeError(
            f"{text[:80]!r} is no number of seconds from 0 to {LONGEST_WAIT_S}"
        )
    return value


class _StoreOnce(argparse._StoreAction):  # noqa: SLF001
    """Refuses an option's second value instead of forgetting its first."""

    @override
    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        # a subcommand's namespace is a new one, and so is its list of what was seen
        seen: tuple[str, ...] = getattr(namespace, _SEEN, ())
        if self.dest in seen:
            parser.error(f"{'/'.join(self.option_strings)} is given twice: give it once")
        setattr(namespace, _SEEN, (*seen, self.dest))
        super().__call__(parser, namespace, values, option_string)


def _take_once(parser: argparse.ArgumentParser) -> None:
    parser.allow_abbrev = False
    for action in parser._actions:  # noqa: SLF001 argparse offers no other way to all of them
        if type(action) is argparse._StoreAction and action.option_strings:  # noqa: SLF001
            action.__class__ = _StoreOnce


def _parsers(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    """A parser and all below it."""
    yield parser
    for action in parser._actions:  # noqa: SLF001
        if isinstance(action, argparse._SubParsersAction):  # noqa: SLF001
            for child in set(action.choices.values()):
                yield from _parsers(child)
