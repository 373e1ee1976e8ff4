"""`tsm security keystore`: shows the keystore of the master keys, verifies its replicas and repairs them."""

import argparse

from strongroom.cli.terminal import columns, shown_paths
from strongroom.cli.terminal.session import Session
from strongroom.errors import IntegrityError, StrongroomError


def add(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the commands of `keystore` to its parser."""
    show = commands.add_parser("show", help="where the keystore is, and what is in it")
    show.add_argument("--json", action="store_true", help="print the result as JSON")
    show.set_defaults(run=_show)
    verify = commands.add_parser("verify", help="open and compare every replica of the key files")
    verify.add_argument("--json", action="store_true", help="print the result as JSON")
    columns.add_options(verify)
    shown_paths.add_option(verify)
    verify.set_defaults(run=_verify)
    repair = commands.add_parser(
        "repair",
        help="replace replicas that do not open the configuration by one that does; what is replaced is kept beside it",
    )
    repair.set_defaults(run=_repair)


def _show(arguments: argparse.Namespace, session: Session) -> int:
    keystore = session.node.key_files.keystore()
    shown = {
        "path": str(keystore.path),
        "password_file": str(keystore.password_file),
        "aliases": list(keystore.aliases),
    }
    if arguments.json:
        session.out_json(shown)
    else:
        session.out(f"path:          {shown['path']}")
        session.out(f"password file: {shown['password_file']}")
        session.out(f"aliases:       {', '.join(keystore.aliases)}")
    return 0


def _verify(arguments: argparse.Namespace, session: Session) -> int:
    states = session.node.key_files.verify()
    if arguments.json:
        rows = [(str(state.path), state.condition.value, state.detail) for state in states]
        session.out_json(
            [dict(zip(("path", "condition", "detail"), row, strict=True)) for row in rows]
        )
    else:
        short = shown_paths.shortening(arguments, session)
        cells = [(state.condition.value, short(str(state.path)), state.detail) for state in states]
        columns.show(session, arguments, ("CONDITION", "PATH", "DETAIL"), cells)
    _check_state(session)
    return 0 if all(state.condition.value == "intact" for state in states) else 1


def _check_state(session: Session) -> None:
    """Compare keys and configuration with their anchors: key files that open each other may all be older ones.

    Raises:
        IntegrityError: Something was put back.
    """
    try:
        found = session.node.state_faults()
    except StrongroomError:
        return  # the replicas were told, and why nothing opens by them
    for words in found:
        session.note(words)
    if found:
        raise IntegrityError(
            f"the state was put back or changed: {found[0]}", hint="see 'strongroom anchor verify'"
        )


def _repair(arguments: argparse.Namespace, session: Session) -> int:
    del arguments
    repaired = session.node.key_files.repair(session.actor)
    for path in repaired.kept:
        session.note(f"kept what was replaced: {path}")
    for path in repaired.written:
        session.out(f"repaired {path}")
    if not repaired.written:
        session.out("Every replica is intact; nothing was changed.")
    return 0
