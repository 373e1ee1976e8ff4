"""`tsm security`: key management, the keystore, regeneration of internal tokens."""

import argparse
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from strongroom.cli.keys import (
    identity_commands,
    keystore_commands,
    kms_closed,
    kms_modes,
    kms_roots,
    node_states,
    other_nodes,
)
from strongroom.cli.secrets import rotation, secret_inventory
from strongroom.cli.terminal import asking, columns, parsing, short_ids, sizes
from strongroom.cli.terminal.session import Session
from strongroom.system.plural import counted

if TYPE_CHECKING:
    from collections.abc import Mapping

    from strongroom.services.keys.mek_use import MekUse
    from strongroom.services.keys.meks import UsageReport


_LONGEST_DAYS = 3650


def build_parser(prog: str, verb: str) -> argparse.ArgumentParser:
    """The parser of `security`."""
    parser = argparse.ArgumentParser(prog=prog, description=f"{verb}: keys and their roots")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    kms = commands.add_parser("kms", help="the key management system of extracts")
    _add_kms(kms.add_subparsers(required=True, metavar="COMMAND"))
    keystore = commands.add_parser("keystore", help="the keystore of the master keys")
    keystore_commands.add(keystore.add_subparsers(required=True, metavar="COMMAND"))
    identity = commands.add_parser("identity", help="the identity of the installation")
    identity_commands.add(identity.add_subparsers(required=True, metavar="COMMAND"))
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
    node_states.add_option(status)
    form = status.add_mutually_exclusive_group()
    form.add_argument(
        "--brief",
        action="store_true",
        help="three lines: state, root and keys, without the list of MEKs",
    )
    form.add_argument(
        "-v",
        "--verbose",
        action="store_true",
        help="also what every root answered, the RMK in memory, epoch and time of the proof",
    )
    status.set_defaults(run=_status)
    mode = commands.add_parser("set-mode", help="choose the root that protects the RMK")
    modes = mode.add_subparsers(required=True, metavar="MODE", parser_class=parsing.LateParser)
    kms_modes.add_kinds(modes, kms_modes.MODES, _add_change)
    rotate = commands.add_parser("rotate", help="new RMK and new active MEK")
    _add_drop_root(rotate)
    other_nodes.add_options(rotate)
    asking.add_option(rotate, "do not ask before a root is given up")
    rotate.set_defaults(run=_rotate)
    usage = commands.add_parser("usage", help="extracts and bytes per MEK")
    usage.add_argument("--json", action="store_true", help="print the result as JSON")
    columns.add_options(usage)
    short_ids.add_option(usage)
    sizes.add_option(usage)
    usage.set_defaults(run=_usage)
    retire = commands.add_parser("retire", help="remove a decrypt-only MEK that nothing uses")
    retire.add_argument(
        "mek_id", metavar="MEK_ID", help="its id, or its first digits, from 'kms usage'"
    )
    other_nodes.add_options(retire)
    when = retire.add_mutually_exclusive_group()
    when.add_argument(
        "--after",
        type=parsing.number(1, _LONGEST_DAYS),
        metavar="DAYS",
        help="not now: for so many days it opens nothing, stays in the store, and can be taken back",
    )
    when.add_argument(
        "--take-back", action="store_true", help="take such a retirement back: it opens again"
    )
    asking.add_option(
        retire,
        "do not ask; files and backups outside the store that the event log knows under it are given up",
    )
    retire.set_defaults(run=_retire)
    kms_roots.add_commands(commands)
    kms_closed.add_commands(commands)


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
    other_nodes.add_options(parser)
    asking.add_option(parser, "do not ask before keys or roots are given up")
    parser.set_defaults(run=_set_mode)


def _status(arguments: argparse.Namespace, session: Session) -> int:
    # first: without ZooKeeper nothing that this node remembers is shown as if it were all; a stored result asks nobody
    asked = node_states.Asked() if arguments.cached else node_states.ask(arguments, session)
    status = session.perform("kms.status", {"cached": arguments.cached}, session.note)
    told, bad = status["json"], asked.problems
    is_ok = told["status"] == "OK" and not bad
    if arguments.json:
        states = [node_states.as_json(one) for one in asked.nodes]
        alone = [node_states.of_one(session.node.paths.node_id, told)]
        word, problems = "OK" if is_ok else "ERROR", [*told["problems"], *bad]
        whole = {"status": word, "problems": problems, "nodes": states or alone}
        session.out_json({**told, **whole})
    else:
        form = "brief" if arguments.brief else "whole" if arguments.verbose else "text"
        # a server that was started before an upgrade says less
        text, own = status.get(form, status["text"]), len(told["problems"])
        session.out(node_states.with_nodes(text, own, asked, is_brief=arguments.brief))
    return 0 if is_ok else 1


def _set_mode(arguments: argparse.Namespace, session: Session) -> int:
    from strongroom.doors.control.verbs import settings_to_plain

    asked = {
        "settings": settings_to_plain(kms_modes.to_settings(arguments)),
        "dry_run": arguments.dry_run,
        "abandon": arguments.abandon_external_keys,
        "drop_roots": _given_up(arguments, session),
        **other_nodes.asked(arguments),
    }
    if arguments.abandon_external_keys and not arguments.dry_run:
        asking.require_of_person(
            arguments,
            session,
            "if nothing opens the present keys, the extracts under them stay unreadable; go on?",
        )
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


def _given_up(arguments: argparse.Namespace, session: Session) -> list[str]:
    """The whole ids of `--drop-root`; a person is asked."""
    found = [short_ids.wrap(session, wrap_id) for wrap_id in arguments.drop_root]
    if found and not getattr(arguments, "dry_run", False):
        asking.require_of_person(
            arguments, session, f"{', '.join(found)} will open the keys no more; go on?"
        )
    return found


def _tell_left(change: "Mapping[str, Any]", session: Session) -> None:
    """Print the things that the operator must know after a change of the mode (Q-05, Q-20)."""
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
    asked = {"drop_roots": _given_up(arguments, session), **other_nodes.asked(arguments)}
    made = session.perform("kms.rotate", asked, session.note)
    session.out(f"New RMK: {made['rmk']}")
    session.out(f"New MEK that encrypts: {made['mek']}")
    session.note(
        "extracts stay under their MEKs until they are brought to the new one:"
        " strongroom extracts rewrap --site SITE --wait"
    )
    return 0


def _usage(arguments: argparse.Namespace, session: Session) -> int:
    report = session.node.meks.usage()
    if arguments.json:
        session.out_json(
            {
                "active": report.active,
                "meks": {mek: asdict(use) for mek, use in report.by_mek.items()},
                "missing": {mek: asdict(use) for mek, use in report.missing.items()},
                "unused": list(report.unused),
                "outside": {mek: asdict(found) for mek, found in report.outside.items()},
                "unreadable": list(report.unreadable),
            }
        )
    else:
        _print_usage(session, arguments, report)
    return 1 if report.missing or report.unreadable else 0


def _print_usage(session: Session, arguments: argparse.Namespace, report: "UsageReport") -> None:
    from strongroom.services.keys.meks import what_is_outside

    every = {**report.by_mek, **report.missing}
    short = short_ids.shortening(arguments, lambda: every)

    def row(mek: str, use: "MekUse", word: str) -> tuple[str, ...]:
        return short(mek), str(use.extracts), sizes.cell(arguments, use.bytes), word

    rows = [row(mek, use, _state(report, mek)) for mek, use in report.by_mek.items()]
    rows += [row(mek, use, "KEY MISSING") for mek, use in report.missing.items()]
    columns.show(session, arguments, ("MEK", "EXTRACTS", sizes.heading(arguments), "STATE"), rows)
    for mek, use in every.items():
        if use.services:
            session.note(
                f"MEK {mek}: {counted(use.services, 'version')} of service keys and secrets"
            )
    for mek, found in report.outside.items():
        session.note(f"MEK {mek}: {what_is_outside(found)}")
    for path in report.unreadable:
        session.note(f"cannot be read: {path}")


def _state(report: "UsageReport", mek: str) -> str:
    if mek == report.active:
        return "encrypts"
    if mek in report.unused:
        return "unused"
    return "in use" if report.by_mek[mek].is_needed or report.unreadable else "unused here"


def _retire(arguments: argparse.Namespace, session: Session) -> int:
    from strongroom.services.keys.meks import NOTHING, OUTSIDE_HINT, what_is_outside

    report = session.node.meks.usage()
    mek_id = short_ids.whole(arguments.mek_id, lambda: report.by_mek, "MEK")
    others = other_nodes.asked(arguments)
    if arguments.take_back:
        asked: dict[str, object] = {"mek_id": mek_id, "take_back": True}
        session.perform("kms.retire", {**asked, **others}, session.note)
        session.out(f"MEK {mek_id} opens again what it sealed.")
        return 0
    if arguments.after is not None:
        asked = {"mek_id": mek_id, "after_days": arguments.after, **others}
        at = session.perform("kms.retire", asked, session.note)
        session.out(f"MEK {mek_id} opens nothing from now on, and can be retired from {at} on.")
        session.note("if something still needs it: --take-back")
        return 0
    found = report.outside.get(mek_id, NOTHING)
    is_free = mek_id in report.by_mek and not report.by_mek[mek_id].is_needed
    if is_free and mek_id != report.active and not report.unreadable:
        if found:
            session.note(f"MEK {mek_id}: {what_is_outside(found)}; {OUTSIDE_HINT}")
            question = f"what still needs the MEK {mek_id} will be lost; go on?"
            asking.require(arguments, session, question)
        else:
            question = f"the MEK {mek_id} will be removed for good; go on?"
            asking.require_of_person(arguments, session, question)
    asked = {"mek_id": mek_id, "gives_up": asdict(found), **others}
    session.perform("kms.retire", asked, session.note)
    session.out(f"MEK {mek_id} was removed from the KMS store.")
    return 0
