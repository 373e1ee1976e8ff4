"""Writes `docs/reference/`, and the table of labels of the formats, from the code that defines them.

Without `--write` it only says whether the files are as they should be. It does not copy argparse's help text, whose line breaks
differ between versions of Python, but reads the parsers themselves.
"""

import argparse
import importlib
import inspect
import sys
from collections.abc import Iterator
from pathlib import Path

from strongroom import errors
from strongroom.cli import dispatch
from strongroom.cli.terminal import parsing
from strongroom.config import catalog
from strongroom.crypto import labels
from strongroom.eventlog.base import Event
from strongroom.eventlog.events import catalogue
from strongroom.secrets import catalog as secrets

FOLDER = Path(__file__).resolve().parent.parent / "docs" / "reference"
_NOTE = "<!-- written by `make docs` from the code; do not edit -->\n\n"


def pages() -> dict[str, str]:
    """Every page of the reference by its file name."""
    return {
        "cli.md": _NOTE + cli_page(),
        "configuration-keys.md": _NOTE + configuration_keys_page(),
        "exit-codes.md": _NOTE + exit_codes_page(),
        "events.md": _NOTE + events_page(),
        "../format/primitives.md": with_labels((FOLDER / "../format/primitives.md").read_text()),
    }


def cli_page() -> str:
    """All commands with their options."""
    head = (
        "# Commands\n\n"
        "Every command takes `--data-dir DIR` anywhere on its line; without it the data directory is `STRONGROOM_HOME`, "
        "else `/var/opt/strongroom` for root and `~/.local/share/strongroom` for everybody else. Results go to standard "
        "output, everything else to standard error. [Exit codes](exit-codes.md).\n\n"
        "A list has its heading on standard output with its rows; `--no-header` leaves it out. Lists show ids by as many "
        "first digits as tell them apart, eight at least, paths as seen from the data directory, and sizes in KiB, MiB and "
        "GiB: `--full-ids`, `--full-paths` and `--bytes` show them whole, and `--json` always does. A command that takes an "
        "id takes its first digits, too, eight at least, if they are those of one id only; a name comes first.\n\n"
        "Whatever takes something away for good asks a person at a terminal. `--yes` (`-y`, or `--ignore-prompt` as scripts "
        "for the other product have it) takes the question away, on every command that asks. A command by which something is "
        "known to be lost, such as `sites delete`, needs an answer without a terminal, too: `y` on standard input, or "
        "`--yes`.\n\n"
        "`WORD […]` takes one word or several, `[WORD …]` also none; `[--option WORD]…` may be given again.\n"
    )
    parts = [head]
    for tool, verbs in dispatch.COMMANDS.items():
        for verb in sorted(verbs):
            parser = _parser(tool, verb)
            parts.extend(_sections(parser, parser.description or verbs[verb][1]))
    return "\n".join(parts)


def configuration_keys_page() -> str:
    """All keys of the configuration, from both catalogues."""
    used = [key for key in catalog.KEYS.values() if key.has_effect]
    unused = [key for key in catalog.KEYS.values() if not key.has_effect]
    rows = [
        f"| `{key.name}` | {_default(key)} | {'dynamic' if key.dynamic else 'restart'} | {_cell(key.summary)} |"
        for key in used
    ]
    idle = [
        f"| `{key.name}` | {_default(key)} | {_cell(key.summary.removesuffix(f'; {catalog.NO_EFFECT}'))} |"
        for key in unused
    ]
    kept = [
        f"| `{name}` | {one.origin.value} | {_cell(catalog.summary_of(name))} |"
        for name, one in secrets.SECRETS.items()
    ]
    head = (
        "# Configuration keys\n\n"
        "`tsm configuration set` puts a new value among the pending changes; `tsm pending-changes apply` brings it into force. "
        "A change of a *dynamic* key needs no restart. One of a *restart* key makes a running server start its background worker "
        "anew and forget the keys in its memory, while it goes on serving; the apply asks before. "
        "`tsm configuration list --json` shows this table with the present values. A key of no table is refused unless it is "
        "forced (`--force-keys`).\n"
    )
    without_effect = (
        "\n## Accepted without effect\n\n"
        "Scripts written for the other product set these. They are checked, stored and read back; nothing here uses them, and "
        "`tsm configuration set` says so.\n"
    )
    encrypted = (
        "\n## Secret parameters\n\n"
        "Stored encrypted, and masked in lists: [secrets](../howto/manage-secrets.md). Those of origin *generated* are made "
        "here; *admin* means that you set them. A change is one of a *restart* key. Not all are used by this program: some "
        "are only kept, for whoever fetches them with `tsm configuration get`.\n"
    )
    return "\n".join(
        [
            head,
            _table("key", "default", "change", "what it does", rows=rows),
            without_effect,
            _table("key", "default", "what it is elsewhere", rows=idle),
            encrypted,
            _table("key", "origin", "what it is", rows=kept),
            "",
        ]
    )


def _table(*columns: str, rows: list[str]) -> str:
    return "\n".join([f"| {' | '.join(columns)} |", "|" + " --- |" * len(columns), *rows])


def _default(key: catalog.ConfigKey) -> str:
    return "–" if key.default is None else f"`{key.default}`"


def exit_codes_page() -> str:
    """The tree of errors as a table."""
    rows = ["| code | HTTP | name | when |", "| --- | --- | --- | --- |", "| 0 | 2xx | – | done |"]
    classes = [
        kind
        for _, kind in inspect.getmembers(errors, inspect.isclass)
        if issubclass(kind, errors.StrongroomError) and kind is not errors.StrongroomError
    ]
    for kind in sorted(classes, key=lambda each: (each.exit_code, each.__name__)):
        name = kind.__name__.removesuffix("Error")
        rows.append(f"| {kind.exit_code} | {kind.http_status} | {name} | {_first_line(kind)} |")
    rows.append("| 130 | – | – | interrupted from the keyboard |")
    foot = (
        "\nAnything that is not foreseen ends with 1, and with 500 over HTTP. Towards tabcmd and TSC the 503 of this "
        "table is a 4xx, because they show the body of a 5xx as raw bytes.\n"
    )
    return "# Exit codes\n\n" + "\n".join(rows) + "\n" + foot


def events_page() -> str:
    """What can happen, from the factories of events."""
    rows = ["| id | when | details |", "| --- | --- | --- |", *_event_rows()]
    head = (
        "# Events\n\nOne JSON line each in the event log ([format](../format/events.md)); "
        "`strongroom events` shows and verifies it.\n\n"
    )
    return head + "\n".join(rows) + "\n"


def labels_table() -> str:
    """All labels with what follows each, from the module that has them."""
    parts = []
    for title, uses, key in (
        ("Subkeys: `info` of HKDF.", labels.SUBKEYS, "of the key"),
        (
            "Single-shot seals of format 2 (a zero byte, the number of fields, and each field behind its length).",
            labels.SEALS,
            "of the key",
        ),
        ("AADs of AES-GCM.", labels.BOUND, "under the subkey, or key"),
        ("Digests: SHA-256, no key.", labels.DIGESTS, "of"),
        ("What is sealed to a recipient, or signed.", labels.OTHERS, "by"),
    ):
        rows = [_label_row(use) for use in uses]
        parts.append(f"{title}\n\n{_table('label', key, 'then', 'page', rows=rows)}\n")
    return "\n".join(parts)


def _label_row(use: labels.Use) -> str:
    text = use.label.decode("ascii").replace("\0", "\\0")
    then = [str(field) for field in use.fields]
    if use.framed and use in labels.SUBKEYS:
        then[0] = f"framed: {then[0]}"
    if use.salted:
        then.append("salted")
    cells = (
        f"`{text}`" if text else "none",
        use.key,
        " ‖ ".join(then) or "nothing",
        f"[{use.page.removesuffix('.md')}]({use.page})",
    )
    return f"| {' | '.join(cells)} |"


def with_labels(page: str) -> str:
    """A page whose table of labels is what the code says."""
    begin, end = "edit -->\n", "<!-- labels end -->"
    head, rest = page.split(begin)
    return f"{head}{begin}\n{labels_table()}\n{end}{rest.split(end)[1]}"


def _parser(tool: str, verb: str) -> argparse.ArgumentParser:
    module = importlib.import_module("strongroom.cli." + dispatch.COMMANDS[tool][verb][0])
    parser: argparse.ArgumentParser = module.build_parser(f"{tool} {verb}".strip(), verb)
    return parser


def _sections(parser: argparse.ArgumentParser, summary: str) -> Iterator[str]:
    nested = [one for one in parser._actions if isinstance(one, argparse._SubParsersAction)]  # noqa: SLF001 - argparse offers no public way to walk its parsers
    if not nested:
        yield _leaf(parser, summary)
    for group in nested:
        helps = {choice.dest: choice.help or "" for choice in group._choices_actions}  # noqa: SLF001
        for name, child in group.choices.items():
            yield from _sections(child, helps.get(name) or child.description or "")


def _leaf(parser: argparse.ArgumentParser, summary: str) -> str:
    parsing.complete(parser)
    shown = [one for one in parser._actions if one.dest != "help"]  # noqa: SLF001
    usage = " ".join([parser.prog, *_usages(parser, shown)])
    lines = [
        f"## {parser.prog}\n",
        f"{_sentence(parser.description or summary)}\n",
        f"```\n{usage}\n```\n",
    ]
    table = [
        f"| `{_cell(_name(one))}` | {_help(one)} |"
        for one in shown
        if one.help != argparse.SUPPRESS
    ]
    if table:
        lines.append("\n".join(["| argument | meaning |", "| --- | --- |", *table]) + "\n")
    return "\n".join(lines)


def _sentence(text: str) -> str:
    flat = " ".join(text.split())
    flat = flat[:1].upper() + flat[1:]
    return flat if flat.endswith(".") else flat + "."


def _help(action: argparse.Action) -> str:
    text = " ".join((action.help or "").split()).replace("%(default)s", str(action.default))
    return _cell(text.replace("%%", "%"))


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _name(action: argparse.Action) -> str:
    value = _words(action)
    if not action.option_strings:
        return _value(action)
    return ", ".join(f"{flag} {value}".strip() for flag in action.option_strings)


def _usages(parser: argparse.ArgumentParser, shown: list[argparse.Action]) -> Iterator[str]:
    """The arguments as one writes them; options of which one is given at most stand together."""
    told: set[argparse.Action] = set()
    for one in shown:
        if one in told or one.help == argparse.SUPPRESS:
            continue
        either = [
            group
            for group in parser._mutually_exclusive_groups  # noqa: SLF001
            if one in group._group_actions  # noqa: SLF001
        ]
        if not either:
            yield _usage(one)
            continue
        actions = either[0]._group_actions  # noqa: SLF001
        told.update(actions)
        choice = " | ".join(_option(each) for each in actions)
        yield f"({choice})" if either[0].required else f"[{choice}]"


def _usage(action: argparse.Action) -> str:
    word = _value(action)
    if not action.option_strings:
        many = {"*": f"[{word} …]", "+": f"{word} […]", "?": f"[{word}]"}
        return many.get(str(action.nargs), word)
    option = f"{action.option_strings[-1]} {_words(action)}".strip()
    if action.required:
        return _option(action)
    return f"[{option}]…" if _is_repeated(action) else f"[{option}]"


def _option(action: argparse.Action) -> str:
    if not action.option_strings:
        return _value(action)
    option = f"{action.option_strings[-1]} {_words(action)}".strip()
    return f"({option})…" if _is_repeated(action) else option


def _is_repeated(action: argparse.Action) -> bool:
    return isinstance(action, argparse._AppendAction) and action.nargs is None  # noqa: SLF001


def _words(action: argparse.Action) -> str:
    """What stands behind an option: nothing, a word, or several."""
    word = _value(action)
    many = {"0": "", "*": f"[{word} …]", "+": f"{word} […]", "?": f"[{word}]"}
    return many.get(str(action.nargs), word)


def _value(action: argparse.Action) -> str:
    if action.choices is not None:
        return "{" + ",".join(str(one) for one in action.choices) + "}"
    if isinstance(action.metavar, tuple):
        return " ".join(action.metavar)
    return action.metavar or (action.dest.upper() if action.option_strings else action.dest)


def _first_line(kind: type) -> str:
    return (inspect.getdoc(kind) or "").splitlines()[0]


def _event_rows() -> Iterator[str]:
    """Each factory of the catalogues of events: the id and the details of what it makes, its docstring's first line."""
    for factory in catalogue.factories().values():
        given = inspect.get_annotations(factory).items()
        made = factory(**{name: _example(kind) for name, kind in given if name != "return"})
        event = made if isinstance(made, Event) else made[0]
        details = ", ".join(f"`{detail}`" for detail in event.details)
        text = (inspect.getdoc(factory) or "").splitlines()[0]
        yield f"| `{event.id}` | {text} | {details} |"


def _example(kind: type) -> object:
    return kind() if kind in {str, int, bool} else []


def main() -> int:
    """Write or compare; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--write", action="store_true")
    write = parser.parse_args().write
    stale = []
    for name, text in pages().items():
        path = FOLDER / name
        if path.is_file() and path.read_text() == text:
            continue
        stale.append(name)
        if write:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
    print(f"{'written' if write else 'stale'}: {', '.join(stale) or 'nothing'}")
    return 0 if write or not stale else 1


if __name__ == "__main__":
    sys.exit(main())
