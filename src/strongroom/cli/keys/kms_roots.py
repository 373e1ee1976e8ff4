"""`tsm security kms roots` and `kms adopt`: the wraps of the RMK beside that of the mode, and closed key rings."""

import argparse
from pathlib import Path
from typing import Any

from strongroom.cli.keys import kms_modes, other_nodes
from strongroom.cli.terminal import asking, columns, parsing, short_ids
from strongroom.cli.terminal.session import Session
from strongroom.roots import registry

_FIELDS = ("wrap_id", "kind", "role", "state", "last_verified", "root_key_id")


def add_commands(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """The commands below `kms` that this module has."""
    roots = commands.add_parser(
        "roots", help="every wrap of the RMK: the mode's and recovery roots"
    )
    verbs = roots.add_subparsers(required=True, metavar="COMMAND")
    for name, help_text in (
        ("list", "all roots, asked now"),
        ("verify", "ask all roots now, and remember which opened the RMK"),
    ):
        parser = verbs.add_parser(name, help=help_text)
        parser.add_argument("--json", action="store_true", help="print the result as JSON")
        columns.add_options(parser)
        short_ids.add_option(parser)
        if name == "verify":
            other_nodes.add_options(parser)
        parser.set_defaults(run=_show, verb=f"kms.roots.{name}")
    add = verbs.add_parser("add", help="wrap the RMK by one root more")
    kinds = add.add_subparsers(required=True, metavar="KIND", parser_class=parsing.LateParser)
    kms_modes.add_kinds(kinds, kms_modes.BESIDE, _add_run)
    remove = verbs.add_parser("remove", help="take a recovery root away")
    remove.add_argument("wrap_id", metavar="WRAP_ID", help="its id, from 'roots list'")
    other_nodes.add_options(remove)
    asking.add_option(remove)
    remove.set_defaults(run=_remove)
    repair = verbs.add_parser(
        "repair", help="wrap the configuration keys for the recovery recipients that the RMK has"
    )
    repair.set_defaults(run=_repair)
    adopt = commands.add_parser("adopt", help="take back MEKs left behind, if their root answers")
    other_nodes.add_options(adopt)
    adopt.set_defaults(run=_adopt)


def _add_run(parser: argparse.ArgumentParser) -> None:
    other_nodes.add_options(parser)
    if parser.get_default("kind") == registry.SHARES:
        _add_kit(parser)
        parser.set_defaults(run=_add_shares)
    else:
        parser.set_defaults(run=_add)


def _add_kit(parser: argparse.ArgumentParser) -> None:
    """Add the options for a new kit of shares, whose recipient then wraps like any other."""
    parser.add_argument(
        "--threshold", type=parsing.number(0, 99), required=True, metavar="K", help="how many open"
    )
    parser.add_argument(
        "--shares", type=parsing.number(0, 99), required=True, metavar="N", help="how many are made"
    )
    parser.add_argument(
        "--output", required=True, metavar="DIR", help="a new or empty folder for their files"
    )
    parser.add_argument("--label", default="", metavar="TEXT", help="whose it is, for people")


def _show(arguments: argparse.Namespace, session: Session) -> int:
    asked = {} if arguments.verb.endswith("list") else other_nodes.asked(arguments)
    roots = [_row(root) for root in session.perform(arguments.verb, asked, session.note)]
    if arguments.json:
        session.out_json(roots)
    else:
        heads = [field.replace("_", " ").upper() for field in _FIELDS]
        short = short_ids.shortening(arguments, lambda: (root["wrap_id"] for root in roots))
        rows = [
            [short(root["wrap_id"]), *(root[field] or "never" for field in _FIELDS[1:])]
            for root in roots
        ]
        columns.show(session, arguments, heads, rows)
        for root in roots:
            if root["problem"]:
                session.note(f"{root['kind']} {root['root_key_id']}: {root['problem']}")
    return 1 if any(root["problem"] for root in roots) else 0


def _row(root: dict[str, Any]) -> dict[str, Any]:
    state = "error" if root["problem"] else "ok" if root["online"] else "offline"
    return {"id": root["wrap_id"], **root, "state": state}


def _add(arguments: argparse.Namespace, session: Session) -> int:
    from strongroom.doors.control.verbs import settings_to_plain

    settings = settings_to_plain(kms_modes.to_settings(arguments))
    asked = {"settings": settings, **other_nodes.asked(arguments)}
    wrap_id = session.perform("kms.roots.add", asked, session.note)
    if wrap_id:
        session.out(f"The RMK is wrapped by one root more: {wrap_id}")
        if arguments.kind == registry.AGE:
            _tell_fingerprint(session)
    return 0


def _tell_fingerprint(session: Session) -> None:
    """The keeper of the identity needs the fingerprint too, by which people know the installation again."""
    session.out(f"Fingerprint of the installation: {session.node.identity.fingerprint() or '-'}")
    session.note("note it where the identity is kept")


def _add_shares(arguments: argparse.Namespace, session: Session) -> int:
    from strongroom.cli.keys import recovery_kit

    folder = Path(arguments.output).absolute()
    recovery_kit.add_kit(
        session, arguments.threshold, arguments.shares, folder, label=arguments.label
    )
    return 0


def _repair(arguments: argparse.Namespace, session: Session) -> int:
    del arguments
    found = session.perform("kms.roots.repair", {}, session.note)
    for line in found:
        session.out(f"repaired: {line}")
    if not found:
        session.out("Every configuration key is wrapped as the RMK is; nothing was changed.")
    return 0


def _remove(arguments: argparse.Namespace, session: Session) -> int:
    wrap_id = short_ids.wrap(session, arguments.wrap_id)
    asking.require_of_person(
        arguments, session, f"the wrap {wrap_id} will open the keys no more; go on?"
    )
    asked = {"wrap_id": wrap_id, **other_nodes.asked(arguments)}
    session.perform("kms.roots.remove", asked, session.note)
    session.out(f"The wrap {wrap_id} was removed.")
    return 0


def _adopt(arguments: argparse.Namespace, session: Session) -> int:
    mek_ids = session.perform("kms.adopt", other_nodes.asked(arguments), session.note)
    for mek_id in mek_ids:
        session.out(f"available again: {mek_id}")
    if not mek_ids:
        session.out("Nothing that was left behind can be opened now; nothing was changed.")
    return 0
