"""`tsm security`: key management, the keystore, regeneration of internal tokens."""

import argparse
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from strongroom.cli import kms_modes, kms_roots, rotation, secret_inventory
from strongroom.cli.session import Session

if TYPE_CHECKING:
    from collections.abc import Mapping

    from strongroom.services.kms import UsageReport


def build_parser(prog: str, verb: str) -> argparse.ArgumentParser:
    """The parser of `security`."""
    parser = argparse.ArgumentParser(prog=prog, description=f"{verb}: keys and their roots")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    kms = commands.add_parser("kms", help="the key management system of extracts")
    _add_kms(kms.add_subparsers(required=True, metavar="COMMAND"))
    keystore = commands.add_parser("keystore", help="the keystore of the master keys")
    _add_keystore(keystore.add_subparsers(required=True, metavar="COMMAND"))
    secrets = commands.add_parser("secrets", help="the secret parameters: rotation and inventory")
    kept = secrets.add_subparsers(required=True, metavar="COMMAND")
    secret_inventory.add_commands(kept)
    rotation.add_rotate(kept)
    rotation.add_verify(kept)
    rotation.add_regenerate(commands)
    return parser


def _add_kms(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    status = commands.add_parser("status", help="prove the keys now, and show them")
    status.add_argument("--json", action="store_true", help="print the result as JSON")
    status.add_argument(
        "--cached", action="store_true", help="show the last result and its time; asks no root"
    )
    status.set_defaults(run=_status)
    mode = commands.add_parser("set-mode", help="choose the root that protects the RMK")
    kms_modes.add_modes(
        mode.add_subparsers(required=True, metavar="MODE"), kms_modes.MODES, _add_change
    )
    rotate = commands.add_parser("rotate", help="new RMK and new active MEK")
    _add_drop_root(rotate)
    rotate.set_defaults(run=_rotate)
    usage = commands.add_parser("usage", help="extracts and bytes per MEK")
    usage.add_argument("--json", action="store_true", help="print the result as JSON")
    usage.set_defaults(run=_usage)
    retire = commands.add_parser("retire", help="remove a decrypt-only MEK that nothing uses")
    retire.add_argument("mek_id", metavar="MEK_ID", help="its id, from 'kms usage'")
    retire.set_defaults(run=_retire)
    kms_roots.add_commands(commands)


def _add_drop_root(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--drop-root",
        action="append",
        default=[],
        metavar="WRAP_ID",
        help="give up a recovery root that cannot be reached; may be repeated",
    )


def _add_change(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--dry-run", action="store_true", help="try the new root, show the plan, change nothing"
    )
    parser.add_argument(
        "--abandon-external-keys",
        action="store_true",
        help="if nothing opens the present keys, leave them behind: their extracts stay"
        " unreadable until one of their roots answers again",
    )
    _add_drop_root(parser)
    parser.set_defaults(run=_set_mode)


def _add_keystore(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    show = commands.add_parser("show", help="where the keystore is, and what is in it")
    show.add_argument("--json", action="store_true", help="print the result as JSON")
    show.set_defaults(run=_keystore_show)
    verify = commands.add_parser("verify", help="open and compare every replica")
    verify.add_argument("--json", action="store_true", help="print the result as JSON")
    verify.set_defaults(run=_keystore_verify)
    repair = commands.add_parser("repair", help="replace damaged replicas by an intact one")
    repair.set_defaults(run=_keystore_repair)


def _status(arguments: argparse.Namespace, session: Session) -> int:
    status = session.perform("kms.status", {"cached": arguments.cached}, session.note)
    if arguments.json:
        session.out_json(status["json"])
    else:
        session.out(status["text"])
    return 0 if status["json"]["status"] == "OK" else 1


def _set_mode(arguments: argparse.Namespace, session: Session) -> int:
    from strongroom.control.verbs import settings_to_plain

    asked = {
        "settings": settings_to_plain(arguments.to_settings(arguments)),
        "dry_run": arguments.dry_run,
        "abandon": arguments.abandon_external_keys,
        "drop_roots": arguments.drop_root,
    }
    change = session.perform("kms.set-mode", asked, session.note)
    if change["done"]:
        session.out(f"KMS mode set to {change['after']}: {change['root_key_id']}")
        _tell_left(change, session)
    elif change["plan"]:
        for number, step in enumerate(change["plan"], start=1):
            session.out(f"{number}. {step}")
        session.note("the new root was tried and works; nothing was changed (--dry-run)")
    else:
        session.out(f"KMS mode is {change['after']} already; nothing was changed.")
    return 0


def _tell_left(change: "Mapping[str, Any]", session: Session) -> None:
    """What the operator must know after a change of the mode (Q-05, Q-20)."""
    if change["abandoned"]:
        for mek_id in change["abandoned"]:
            session.out(f"unavailable MEK: {mek_id}")
        session.note(
            "extracts under these MEKs cannot be read until their root answers again;"
            " keep that root"
        )
        return
    session.note(
        "extracts stay under their MEKs until they are brought to the new one:"
        " strongroom extracts rewrap --site SITE --wait"
    )


def _rotate(arguments: argparse.Namespace, session: Session) -> int:
    made = session.perform("kms.rotate", {"drop_roots": arguments.drop_root}, session.note)
    session.out(f"New RMK: {made['rmk']}")
    session.out(f"New MEK that encrypts: {made['mek']}")
    session.note(
        "extracts stay under their MEKs until they are brought to the new one:"
        " strongroom extracts rewrap --site SITE --wait"
    )
    return 0


def _usage(arguments: argparse.Namespace, session: Session) -> int:
    report = session.node.kms.usage()
    if arguments.json:
        session.out_json(
            {
                "active": report.active,
                "meks": {mek: asdict(use) for mek, use in report.by_mek.items()},
                "missing": {mek: asdict(use) for mek, use in report.missing.items()},
                "unused": list(report.unused),
                "unreadable": list(report.unreadable),
            }
        )
    else:
        _print_usage(session, report)
    return 1 if report.missing or report.unreadable else 0


def _print_usage(session: Session, report: "UsageReport") -> None:
    for mek, use in report.by_mek.items():
        idle = "unused" if mek in report.unused else "in use"
        word = "encrypts" if mek == report.active else idle
        session.out(f"{mek}  {use.extracts:>8} extracts  {use.bytes:>16} bytes  {word}")
    for mek, use in report.missing.items():
        session.out(f"{mek}  {use.extracts:>8} extracts  {use.bytes:>16} bytes  KEY MISSING")
    for path in report.unreadable:
        session.note(f"cannot be read: {path}")


def _retire(arguments: argparse.Namespace, session: Session) -> int:
    session.perform("kms.retire", {"mek_id": arguments.mek_id}, session.note)
    session.out(f"MEK {arguments.mek_id} was removed from the KMS store.")
    return 0


def _keystore_show(arguments: argparse.Namespace, session: Session) -> int:
    directory = session.node.keystore
    keystore = directory.load()
    shown = {
        "path": str(directory.primary),
        "password_file": str(directory.password_file),
        "aliases": list(keystore.aliases),
    }
    if arguments.json:
        session.out_json(shown)
    else:
        session.out(f"path:          {shown['path']}")
        session.out(f"password file: {shown['password_file']}")
        session.out(f"aliases:       {', '.join(keystore.aliases)}")
    return 0


def _keystore_verify(arguments: argparse.Namespace, session: Session) -> int:
    states = session.node.keystore.verify()
    if arguments.json:
        rows = [(str(state.path), state.condition.value, state.detail) for state in states]
        session.out_json(
            [dict(zip(("path", "condition", "detail"), row, strict=True)) for row in rows]
        )
    else:
        for state in states:
            session.out(f"{state.condition.value:<10} {state.path} {state.detail}".rstrip())
    return 0 if all(state.condition.value == "intact" for state in states) else 1


def _keystore_repair(arguments: argparse.Namespace, session: Session) -> int:
    del arguments
    node = session.node
    written = node.keystore.repair()
    installation_id = node.configuration.document().installation_id
    written += node.open_configuration_keys(installation_id).repair()
    for path in written:
        session.out(f"repaired {path}")
    if not written:
        session.out("Every replica is intact; nothing was changed.")
    return 0
