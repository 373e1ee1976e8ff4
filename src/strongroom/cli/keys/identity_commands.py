"""`tsm security identity`: the identity of the installation, by whose fingerprint people know it again."""

import argparse

from strongroom.cli.terminal import asking
from strongroom.cli.terminal.session import Session


def add(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """The commands below `identity`."""
    show = commands.add_parser("show", help="the fingerprint of the installation")
    show.add_argument("--json", action="store_true", help="print it as JSON")
    show.set_defaults(run=_show)
    renew = commands.add_parser(
        "renew", help="make another identity: what is printed of the present one is of no use then"
    )
    asking.add_option(renew)
    renew.set_defaults(run=_renew)


def _show(arguments: argparse.Namespace, session: Session) -> int:
    identity = session.node.identity.key().identity
    if arguments.json:
        installation_id = identity.origin.installation_id
        session.out_json({"installation": installation_id, "fingerprint": identity.fingerprint})
    else:
        session.out(f"Installation: {identity.origin.installation_id}")
        session.out(f"Fingerprint: {identity.fingerprint}")
    return 0


def _renew(arguments: argparse.Namespace, session: Session) -> int:
    node = session.node
    node.identity.key()
    asking.require_of_person(
        arguments,
        session,
        "shares, notes, backups and files for nodes name the present fingerprint, and another one is made: go on?",
    )
    done = node.identity.renew(session.actor)
    session.out(f"Old fingerprint: {done.old}")
    session.out(f"Fingerprint: {done.new}")
    session.note(
        "shares that are printed name the old one: make a new kit, and note the new fingerprint;"
        " backups from before are told by --manifest"
    )
    return 0
