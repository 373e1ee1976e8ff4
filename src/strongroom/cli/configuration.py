"""`tsm configuration`: get, set and list configuration keys (C-25, requirements 3.3)."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from strongroom.cli.session import Session
from strongroom.config import catalog
from strongroom.errors import StateError, StorageError, UsageError
from strongroom.secrets import catalog as secrets

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

    from strongroom.config.views import PendingView

_MAX_VALUE_BYTES = 4 << 20
_HELP_WIDTH = 100


def _formatter(prog: str) -> "argparse.HelpFormatter":
    """The default would ask for the terminal's width with every option: 3 ms (F13)."""
    import argparse

    return argparse.HelpFormatter(prog, width=_HELP_WIDTH)


def quick(words: list[str]) -> "Callable[[Session], int] | None":
    """What to run for `get -k KEY`, the command of every script; it needs no parser (F13)."""
    match words:
        case ["get", "-k" | "--key", key] if not key.startswith("-"):
            return lambda session: _print_value(session, key)
    return None


def build_parser(prog: str, verb: str) -> "argparse.ArgumentParser":
    """The parser of `configuration`."""
    import argparse

    del verb
    parser = argparse.ArgumentParser(
        prog=prog, description="configuration keys and secrets", formatter_class=_formatter
    )
    verbs = parser.add_subparsers(required=True, metavar="VERB", prog=prog)
    for name, text, add_options in (
        ("get", "print the applied value of a key", _add_get),
        ("set", "set a key: a pending change until it is applied", _add_set),
        ("list", "all keys and their values, secrets masked", _add_list),
        ("list-dynamic-keys", "keys that change without a restart", _add_list_dynamic),
    ):
        add_options(verbs.add_parser(name, help=text, description=text, formatter_class=_formatter))
    return parser


def _add_get(parser: "argparse.ArgumentParser") -> None:
    parser.add_argument("-k", "--key", required=True, help="name of the key; case matters")
    parser.add_argument(
        "--reveal-key-material", action="store_true", help="print keys and the KMS store, too"
    )
    parser.add_argument("--reason", default="", help="why a secret is read; kept in the event log")
    parser.set_defaults(run=_get)


def _add_set(parser: "argparse.ArgumentParser") -> None:
    parser.add_argument("-k", "--key", required=True, help="name of the key; case matters")
    source = parser.add_mutually_exclusive_group()
    source.add_argument("-v", "--value", help="the value; better not for a secret")
    source.add_argument(
        "--value-file", metavar="FILE", help="read the value from a file; - is stdin"
    )
    source.add_argument("-d", "--default", action="store_true", help="reset the key to its default")
    parser.add_argument(
        "-frc", "--force-keys", action="store_true", help="take a key that nobody knows"
    )
    parser.set_defaults(run=_set)


def _add_list(parser: "argparse.ArgumentParser") -> None:
    parser.add_argument("--json", action="store_true", help="as JSON, with what each key is for")
    parser.set_defaults(run=_list)


def _add_list_dynamic(parser: "argparse.ArgumentParser") -> None:
    parser.add_argument("--json", action="store_true", help="as JSON")
    parser.set_defaults(run=_list_dynamic)


def _get(arguments: "argparse.Namespace", session: Session) -> int:
    return _print_value(
        session, arguments.key, reveal=arguments.reveal_key_material, reason=arguments.reason
    )


def _print_value(session: Session, key: str, *, reveal: bool = False, reason: str = "") -> int:
    service = session.node.configuration
    value = service.get(key, actor=session.actor, reveal_key_material=reveal, reason=reason)
    if value is None:
        ours = secrets.is_key_hierarchy(key)
        raise StateError(
            f"{key!r} is a known key, but it is not set and has no default",
            hint="the key management sets it"
            if ours
            else f"set it with 'tsm configuration set -k {key}'",
        )
    session.out(value)
    return 0


def _set(arguments: "argparse.Namespace", session: Session) -> int:
    service = session.node.configuration
    key: str = arguments.key
    if arguments.default:
        pending = service.reset(key, actor=session.actor)
    else:
        value = _value(arguments, session)
        pending = service.set(key, value, actor=session.actor, force=arguments.force_keys)
    if catalog.is_known(key) and not catalog.has_effect(key):
        session.note(f"{key} is {catalog.NO_EFFECT}")
    _say_pending(pending, session)
    return 0


def _value(arguments: "argparse.Namespace", session: Session) -> str:
    secret = secrets.is_secret(arguments.key)
    if arguments.value is not None:
        if secret:
            session.note(
                "warning: a value on the command line can be read by other users and stays in the"
                " shell's history; leave -v out to be asked, or use --value-file"
            )
        given: str = arguments.value
        return given
    if arguments.value_file is not None:
        return _from_file(arguments.key, arguments.value_file)
    return _asked(arguments.key, secret=secret)


def _from_file(key: str, name: str) -> str:
    try:
        if name == "-":
            data = sys.stdin.buffer.read(_MAX_VALUE_BYTES + 1)
        else:
            # one sequential read: the file may be a named pipe
            with Path(name).open("rb") as file:
                data = file.read(_MAX_VALUE_BYTES + 1)
    except OSError as error:
        raise StorageError(f"cannot read {name}: {error.strerror}") from error
    if len(data) > _MAX_VALUE_BYTES:
        raise UsageError(f"the value in {name} is longer than {_MAX_VALUE_BYTES} bytes")
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        raise UsageError(
            f"the value in {name} is not text in UTF-8", hint="give certificates and keys as PEM"
        ) from error
    if secrets.is_multiline(key):
        return text
    # what an editor or echo put behind a password is no part of it; one line break, not all blanks
    return text.removesuffix("\n").removesuffix("\r")


def _asked(key: str, *, secret: bool) -> str:
    if not sys.stdin.isatty():
        raise UsageError(
            f"there is no value for {key!r}, and nobody to ask",
            hint="give it with --value-file FILE, with --value-file - from stdin, or with -v",
        )
    if not secret:
        sys.stderr.write(f"value of {key}: ")
        sys.stderr.flush()
        return sys.stdin.readline().removesuffix("\n")
    import getpass

    first = getpass.getpass(f"value of {key}: ")
    if getpass.getpass("once more: ") != first:
        raise UsageError("the two values are not the same", hint="nothing was changed; try again")
    return first


def _say_pending(pending: "PendingView", session: Session) -> None:
    count = len(pending.changes)
    session.note(
        f"{count} pending change{'' if count == 1 else 's'};"
        " run 'tsm pending-changes apply' to bring them into force"
    )


def _list(arguments: "argparse.Namespace", session: Session) -> int:
    rows = session.node.configuration.list()
    if arguments.json:
        from dataclasses import asdict

        session.out_json([asdict(row) for row in rows])
        return 0
    width = max(len(row.key) for row in rows)
    for row in rows:
        shown = "-" if row.value is None else row.value.replace("\n", "\\n")
        session.out(f"{row.key:<{width}}  {row.state:<7}  {shown}")
    return 0


def _list_dynamic(arguments: "argparse.Namespace", session: Session) -> int:
    rows = session.node.configuration.list()
    names = [row.key for row in rows if row.dynamic and row.has_effect]
    if arguments.json:
        session.out_json(names)
        return 0
    for name in names:
        session.out(name)
    return 0
