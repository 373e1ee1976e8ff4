"""`tsm configuration`: get, set and list configuration keys (C-25)."""

from typing import TYPE_CHECKING

from strongroom.cli.named_files import small_files
from strongroom.cli.terminal import streams
from strongroom.cli.terminal.session import Session
from strongroom.config import catalog
from strongroom.errors import NotFoundError, StateError, UsageError
from strongroom.secrets import catalog as secrets
from strongroom.system.plural import counted

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

    from strongroom.config.views import PendingView

_HELP_WIDTH = 100


def _formatter(prog: str) -> "argparse.HelpFormatter":
    """The default would ask for the terminal's width with every option: 3 ms (F13)."""
    import argparse

    return argparse.HelpFormatter(prog, width=_HELP_WIDTH)


def quick(words: list[str]) -> "Callable[[Session], int] | None":
    """The action for `get -k KEY`, which scripts run most, and which so needs no parser (F13)."""
    match words:
        case ["get", "-k" | "--key", key] | ["get", key] if not key.startswith("-"):
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
    _add_key(parser)
    parser.add_argument(
        "--reveal-key-material", action="store_true", help="print keys and the KMS store, too"
    )
    parser.add_argument("--reason", default="", help="why a secret is read; kept in the event log")
    parser.set_defaults(run=_get)


def _add_key(parser: "argparse.ArgumentParser") -> None:
    """The name of a key: as an option, as scripts give it, or alone, as people do (findings F6)."""
    key = parser.add_mutually_exclusive_group(required=True)
    key.add_argument("-k", "--key", help="name of the key; case matters")
    key.add_argument("name", nargs="?", metavar="KEY", help="the same without -k")


def _add_set(parser: "argparse.ArgumentParser") -> None:
    _add_key(parser)
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
    parser.add_argument(
        "part", nargs="?", default="", metavar="PART", help="only keys whose names hold this"
    )
    from strongroom.cli.terminal import columns

    parser.add_argument("--json", action="store_true", help="as JSON, with what each key is for")
    columns.add_options(parser)
    parser.set_defaults(run=_list)


def _add_list_dynamic(parser: "argparse.ArgumentParser") -> None:
    from strongroom.cli.terminal import columns

    parser.add_argument("--json", action="store_true", help="as JSON")
    columns.add_option_of_names(parser)
    parser.set_defaults(run=_list_dynamic)


def _get(arguments: "argparse.Namespace", session: Session) -> int:
    return _print_value(
        session,
        arguments.key or arguments.name,
        reveal=arguments.reveal_key_material,
        reason=arguments.reason,
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
    session.out_value(_shown(session, key, value))
    return 0


def _shown(session: Session, key: str, value: str) -> str:
    """A value as scripts can use it: a folder seen from the data directory is shown from the root (findings K12)."""
    if not catalog.is_seen_from_data(key):
        return value
    return str(session.node.paths.root.absolute() / value)


def _set(arguments: "argparse.Namespace", session: Session) -> int:
    service = session.node.configuration
    key: str = arguments.key or arguments.name
    if arguments.default:
        pending = service.reset(key, actor=session.actor)
    else:
        value = value_of(key, arguments, session)
        pending = service.set(key, value, actor=session.actor, force=arguments.force_keys)
    if catalog.is_known(key) and not catalog.has_effect(key):
        session.note(f"{key} is {catalog.NO_EFFECT}")
    _say_pending(pending, session)
    return 0


def value_of(key: str, arguments: "argparse.Namespace", session: Session) -> str:
    """The value that a command line brings: from the line, from a file, or asked for.

    Raises:
        UsageError: There is no value, and nobody to ask.
        StorageError: The file cannot be read.
    """
    if session.given is not None:
        return session.given
    secret = secrets.is_secret(key)
    if arguments.value is not None:
        if secret:
            session.note(
                "warning: a value on the command line can be read by other users and stays in the"
                " shell's history; leave -v out to be asked, or use --value-file"
            )
        given: str = arguments.value
        return given
    if arguments.value_file is not None:
        return _from_file(key, arguments.value_file)
    return _asked(key, secret=secret)


def _from_file(key: str, name: str) -> str:
    lines = secrets.is_multiline(key)
    return small_files.read_setting(name, f"the value of {key}", lines=lines).decode()


def _asked(key: str, *, secret: bool) -> str:
    if not streams.can_ask():
        raise UsageError(
            f"there is no value for {key!r}, and nobody to ask",
            hint="give it with --value-file FILE, with --value-file - from stdin, or with -v",
        )
    if not secret:
        return streams.ask(f"value of {key}: ")
    first = streams.ask_hidden(f"value of {key}: ")
    if not first:
        raise UsageError(f"nothing was typed for {key}", hint="nothing was changed; try again")
    if streams.ask_hidden("once more: ") != first:
        raise UsageError("the two values are not the same", hint="nothing was changed; try again")
    return first


def _say_pending(pending: "PendingView", session: Session) -> None:
    count = len(pending.changes)
    session.note(
        f"{counted(count, 'pending change')};"
        " run 'tsm pending-changes apply' to bring them into force"
    )


def _list(arguments: "argparse.Namespace", session: Session) -> int:
    from dataclasses import asdict, replace

    from strongroom.cli.terminal import columns

    rows = [
        row if row.value is None else replace(row, value=_shown(session, row.key, row.value))
        for row in session.node.configuration.list()
        if arguments.part.lower() in row.key.lower()
    ]
    if arguments.json:
        session.out_json([asdict(row) for row in rows])
        return 0
    if not rows:
        raise NotFoundError(
            f"no key's name holds {arguments.part!r}", hint="leave it out to see all keys"
        )
    shown = [
        (row.key, row.state, "-" if row.value is None else row.value.replace("\n", "\\n"))
        for row in rows
    ]
    columns.show(session, arguments, ("KEY", "STATE", "VALUE"), shown)
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
