"""`tsm security kms roots` and `kms adopt`: the wraps of the RMK beside that of the mode, and closed key rings."""

import argparse
from typing import Any

from strongroom.cli import columns, kms_modes
from strongroom.cli.session import Session

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
        parser.add_argument("--json", action="store_true")
        parser.set_defaults(run=_show, verb=f"kms.roots.{name}")
    add = verbs.add_parser("add", help="wrap the RMK by one root more")
    kinds = add.add_subparsers(required=True, metavar="KIND")
    kms_modes.add_modes(kinds, kms_modes.EXTERNAL, lambda parser: parser.set_defaults(run=_add))
    remove = verbs.add_parser("remove", help="take a recovery root away")
    remove.add_argument("wrap_id", metavar="WRAP_ID")
    remove.set_defaults(run=_remove)
    adopt = commands.add_parser("adopt", help="take back MEKs left behind, if their root answers")
    adopt.set_defaults(run=_adopt)


def _show(arguments: argparse.Namespace, session: Session) -> int:
    roots = [_row(root) for root in session.perform(arguments.verb, {}, session.note)]
    if arguments.json:
        session.out_json(roots)
    else:
        heads = [field.replace("_", " ").upper() for field in _FIELDS]
        columns.show(session, heads, [[root[field] for field in _FIELDS] for root in roots])
        for root in roots:
            if root["problem"]:
                session.note(f"{root['kind']} {root['root_key_id']}: {root['problem']}")
    return 1 if any(root["problem"] for root in roots) else 0


def _row(root: dict[str, Any]) -> dict[str, str]:
    state = "error" if root["problem"] else "ok" if root["online"] else "offline"
    return {**root, "online": str(root["online"]).lower(), "state": state}


def _add(arguments: argparse.Namespace, session: Session) -> int:
    from strongroom.control.verbs import settings_to_plain

    asked = {"settings": settings_to_plain(arguments.to_settings(arguments))}
    wrap_id = session.perform("kms.roots.add", asked, session.note)
    session.out(f"The RMK is wrapped by one root more: {wrap_id}")
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
