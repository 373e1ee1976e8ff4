"""The kinds of roots on the command line: the same for `kms set-mode` and for `kms roots add`.

What options a kind has, it says itself (`roots.kinds`); its module is imported when a line names it.
"""

import argparse
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from strongroom.cli.named_files import small_files
from strongroom.cli.terminal import parsing, streams
from strongroom.errors import UsageError
from strongroom.roots import registry

if TYPE_CHECKING:
    from strongroom.crypto.secret import SecretBytes
    from strongroom.roots.registry import Row
    from strongroom.roots.settings import RootSettings

_LONGEST_CREDENTIAL = 4096
Finish = Callable[[argparse.ArgumentParser], None]

#: The kinds of roots that `set-mode` accepts.
MODES = tuple(row for row in registry.ROWS if not row.only_wraps)
#: The kinds of roots that `roots add` accepts.
BESIDE = tuple(row for row in registry.ROWS if row.kind != registry.LOCAL)


def add_kinds(
    commands: "argparse._SubParsersAction[parsing.LateParser]",
    rows: "Iterable[Row]",
    finish: Finish,
) -> None:
    """Add a subcommand for each kind; `finish` adds the options that they share, and the function to run."""
    for row in rows:
        parser = commands.add_parser(row.kind, help=row.help)
        parser.when_complete(add_options)
        parser.when_complete(finish)
        parser.set_defaults(kind=row.kind)


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options of the kind that a parser has as its default."""
    for one in registry.find(parser.get_default("kind")).options:
        if one.metavar:
            parser.add_argument(
                one.name,
                required=one.required,
                default=one.default or None,
                metavar=one.metavar,
                help=one.help,
            )
        else:
            parser.add_argument(one.name, action="store_true", help=one.help)


def to_settings(arguments: argparse.Namespace) -> "RootSettings | None":
    """The settings from parsed options, checked; sends no request. None for the local root.

    Raises:
        UsageError: The options are not proper settings.
        StorageError: The file of a credential cannot be read.
    """
    of_options = registry.find(arguments.kind).of_options
    return of_options(_Given(arguments)) if of_options else None


class _Given:
    """The options of a line; implements `roots.kinds.Given`."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        self._arguments = arguments

    def text(self, option: str) -> str:
        return self._value(option) or ""

    def flag(self, option: str) -> bool:
        return self._value(option) not in {None, False}

    def file(self, option: str) -> str:
        # the process that reads it has another working directory
        name = self.text(option)
        path = Path(name).absolute()
        if name and not path.is_file():
            raise UsageError(f"there is no file {name}")
        return str(path) if name else ""

    def certificates(self, option: str) -> str:
        path = self.file(option)
        if path:  # TLS would read it only from behind a byte order mark
            small_files.check_text_file(path, "a certificate")
        return path

    def credential(self, option: str, what: str, *, lines: bool = False) -> "SecretBytes | None":
        file = self._value(option)
        if file is None:
            return None
        if lines:
            found = small_files.read_lines(file, what, limit=_LONGEST_CREDENTIAL).strip(b"\r\n")
        else:
            found = small_files.read_value(file, what, limit=_LONGEST_CREDENTIAL)
        return _checked(found, what)

    def needed(self, option: str, what: str) -> "SecretBytes":
        given = self.credential(option, what)
        if given is not None:
            return given
        if not streams.can_ask():
            raise UsageError(f"{what} is needed", hint=f"give it with {option}")
        return _checked(streams.ask_hidden(f"{what}: ").encode(), what)

    def _value(self, option: str) -> Any:
        return getattr(self._arguments, option.lstrip("-").replace("-", "_"))


def _checked(found: bytes, what: str) -> "SecretBytes":
    from strongroom.crypto.secret import SecretBytes

    if not 0 < len(found) <= _LONGEST_CREDENTIAL or not found.isascii():
        raise UsageError(f"{what} has 1 to {_LONGEST_CREDENTIAL} characters of ASCII")
    return SecretBytes(found)
