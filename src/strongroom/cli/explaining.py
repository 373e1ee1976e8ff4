"""Help for people: `--help` with an example and a page of the documentation, and a guess at the meaning of a wrong word.

The sentence about a command is the same in its group's help and in the reference, from a single place (findings D9,
F2).
"""

import argparse
import difflib
import importlib
from collections.abc import Iterator, Mapping
from typing import Final

from strongroom.cli import examples
from strongroom.cli.terminal import parsing
from strongroom.system.compat import override

Commands = Mapping[str, Mapping[str, tuple[str, str]]]
"""By tool and verb: module and sentence, as the dispatcher has them."""

_PACKAGE: Final = "strongroom.cli."
_LIKELY: Final = 0.6
_MOST: Final = 3


def explain(parser: argparse.ArgumentParser, sentence: str = "") -> None:
    """Give a parser and all below it their sentences, and each command its example and its page."""
    said = parser.description or sentence
    if said:
        parser.description = f"{said[0].upper()}{said[1:].removesuffix('.')}."
    groups = groups_of(parser)
    if not groups:
        parsing.when_complete(parser, _show_example)
    for group in groups:
        sentences = {one.dest: one.help or "" for one in group._choices_actions}  # noqa: SLF001 no other way
        for name, child in group.choices.items():
            explain(child, sentences.get(name, ""))


def wrong_line(
    parser: argparse.ArgumentParser,
    sentence: str,
    words: list[str],
    message: str,
    commands: Commands,
) -> str:
    """The message of argparse about a wrong command line, with more help.

    Of a group without its verb, the verbs; of a word that is no verb, what was probably meant; of a value that begins
    with a dash, which looks like an option to it, how to give it (findings D9, F2, K14).
    """
    if "expected one argument" in message:
        return f"{message}hint: a value that begins with '-' is joined to its option: --value=-…\n"
    place = deepest(parser, words)
    if groups_of(place) and "required: " in message:
        explain(parser, sentence)
        return place.format_help()
    if groups_of(place) and "invalid choice: " in message:
        found = meant([*parser.prog.split()[1:], *words], commands)
        return message + (f"hint: did you mean {' or '.join(map(repr, found))}?\n" if found else "")
    return message


def groups_of(
    parser: argparse.ArgumentParser,
) -> list["argparse._SubParsersAction[argparse.ArgumentParser]"]:
    """The choices of verbs of a parser; a command has none."""
    return [one for one in parser._actions if isinstance(one, argparse._SubParsersAction)]  # noqa: SLF001


def deepest(parser: argparse.ArgumentParser, words: list[str]) -> argparse.ArgumentParser:
    """The group or command that the words of a command line lead to."""
    for word in words:
        for group in groups_of(parser):
            if word in group.choices:
                return deepest(group.choices[word], words[words.index(word) + 1 :])
    return parser


def meant(words: list[str], commands: Commands) -> list[str]:
    """The commands of any tool that a line of unknown words probably means, the likeliest first."""
    wanted = [word for word in words if not word.startswith("-")]
    ranked = sorted(
        ((_likeness(wanted, name.split()[1:]), name) for name in every_command(commands)),
        key=lambda one: (-one[0], one[1]),
    )
    best = ranked[0][0] if ranked else 0.0
    return [name for score, name in ranked[:_MOST] if score >= max(_LIKELY, best - 0.05)]


def every_command(commands: Commands) -> Iterator[str]:
    """Tool and verbs of every command; imports all their modules."""
    for tool, verbs in commands.items():
        for verb, (module, _) in verbs.items():
            built = importlib.import_module(_PACKAGE + module).build_parser(
                f"{tool} {verb}".strip(), verb
            )
            yield from _progs(built)


def _progs(parser: argparse.ArgumentParser) -> Iterator[str]:
    groups = groups_of(parser)
    if not groups:
        yield parser.prog
    for group in groups:
        for child in group.choices.values():
            yield from _progs(child)


def _likeness(wanted: list[str], verbs: list[str]) -> float:
    """How well the first words fit a command's verbs: as one text, and by the words that they share."""
    given = wanted[: len(verbs)] or [""]
    text = difflib.SequenceMatcher(None, " ".join(given), " ".join(verbs)).ratio()
    shared = sum(bool(difflib.get_close_matches(word, verbs, 1, 0.75)) for word in given) / len(
        given
    )
    return (text + 2 * shared) / 3


def _show_example(parser: argparse.ArgumentParser) -> None:
    prog, example = parser.prog, examples.of(parser.prog)
    line = f"{prog} {example.words}".rstrip()
    parser.epilog = f"example:  {line}\nexplained in:  docs/howto/{example.page}.md"
    parser.formatter_class = _Formatter


class _Formatter(argparse.HelpFormatter):
    """Wraps a description, and leaves the lines of the epilog as they are."""

    @override
    def _fill_text(self, text: str, width: int, indent: str) -> str:
        if text.startswith("example:  "):
            return "".join(indent + line for line in text.splitlines(keepends=True))
        return super()._fill_text(text, width, indent)
