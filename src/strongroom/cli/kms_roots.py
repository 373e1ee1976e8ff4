"""`tsm security kms roots` and `kms adopt`: the wraps of the RMK beside that of the mode, and closed key rings."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from strongroom.cli import columns, kms_modes
from strongroom.cli.session import Session

if TYPE_CHECKING:
    from strongroom.roots.settings import RootSettings

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
        parser.set_defaults(run=_show, verb=f"kms.roots.{name}")
    add = verbs.add_parser("add", help="wrap the RMK by one root more")
    kinds = add.add_subparsers(required=True, metavar="KIND")
    kms_modes.add_modes(kinds, kms_modes.EXTERNAL, lambda parser: parser.set_defaults(run=_add))
    _add_recipients(kinds)
    remove = verbs.add_parser("remove", help="take a recovery root away")
    remove.add_argument("wrap_id", metavar="WRAP_ID", help="its id, from 'roots list'")
    remove.set_defaults(run=_remove)
    repair = verbs.add_parser(
        "repair", help="wrap the configuration keys for the recovery recipients that the RMK has"
    )
    repair.set_defaults(run=_repair)
    adopt = commands.add_parser("adopt", help="take back MEKs left behind, if their root answers")
    adopt.set_defaults(run=_adopt)


def _add_recipients(kinds: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """The kinds that only wrap, and stand beside a mode's root alone."""
    age = kinds.add_parser("age", help="an age recipient, whose identity is kept apart")
    age.add_argument("--recipient", required=True, metavar="R", help="age1…, see age-keygen -y")
    age.set_defaults(run=_add, to_settings=_age)
    shares = kinds.add_parser("shares", help="a new identity, split into shares of words")
    shares.add_argument("--threshold", type=int, required=True, metavar="K", help="how many open")
    shares.add_argument("--shares", type=int, required=True, metavar="N", help="how many are made")
    shares.add_argument(
        "--output", required=True, metavar="DIR", help="a new or empty folder for their files"
    )
    shares.set_defaults(run=_add_shares)
    for parser in (age, shares):
        parser.add_argument("--label", default="", metavar="TEXT", help="whose it is, for people")


def _age(arguments: argparse.Namespace) -> "RootSettings":
    from strongroom import bootstrap_roots

    made: RootSettings = bootstrap_roots.root_module("age").settings(
        arguments.recipient, label=arguments.label
    )
    return made


def _show(arguments: argparse.Namespace, session: Session) -> int:
    roots = [_row(root) for root in session.perform(arguments.verb, {}, session.note)]
    if arguments.json:
        session.out_json(roots)
    else:
        heads = [field.replace("_", " ").upper() for field in _FIELDS]
        rows = [[root[field] or "never" for field in _FIELDS] for root in roots]
        columns.show(session, heads, rows)
        for root in roots:
            if root["problem"]:
                session.note(f"{root['kind']} {root['root_key_id']}: {root['problem']}")
    return 1 if any(root["problem"] for root in roots) else 0


def _row(root: dict[str, Any]) -> dict[str, Any]:
    state = "error" if root["problem"] else "ok" if root["online"] else "offline"
    return {"id": root["wrap_id"], **root, "state": state}


def _add(arguments: argparse.Namespace, session: Session) -> int:
    from strongroom.control.verbs import settings_to_plain

    asked = {"settings": settings_to_plain(arguments.to_settings(arguments))}
    wrap_id = session.perform("kms.roots.add", asked, session.note)
    session.out(f"The RMK is wrapped by one root more: {wrap_id}")
    return 0


def _add_shares(arguments: argparse.Namespace, session: Session) -> int:
    from strongroom.cli import recovery_kit

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
    session.perform("kms.roots.remove", {"wrap_id": arguments.wrap_id}, session.note)
    session.out(f"The wrap {arguments.wrap_id} was removed.")
    return 0


def _adopt(arguments: argparse.Namespace, session: Session) -> int:
    del arguments
    mek_ids = session.perform("kms.adopt", {}, session.note)
    for mek_id in mek_ids:
        session.out(f"available again: {mek_id}")
    if not mek_ids:
        session.out("Nothing that was left behind can be opened now; nothing was changed.")
    return 0
